package diagnose

import (
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// maxBeyond bounds how far holders are followed behind the end of the chain.
const maxBeyond = 8

// beyond are the holders behind the end of the chain, as long as memory names
// exactly one for each: nothing that blocks them explains the hang, but a reader
// wants to know them. ring are the tasks that wait for each other, where the
// holders lead back to one of them.
func beyond(f facts) (tasks, ring []*model.Task) {
	t, w := f.end, f.wait
	all := slices.Clone(f.chain.tasks)
	for len(tasks) < maxBeyond {
		switch w.mech {
		case onFutex, onFileLock, onPipe, onSocket:
		default:
			return tasks, nil
		}
		fact := f.tasks.shown(t, w)
		if fact == nil || len(fact.Holders) != 1 {
			return tasks, nil
		}
		next := f.tasks.byPID[fact.Holders[0].PID]
		if next == nil || next == t {
			return tasks, nil
		}
		if i := slices.Index(all, next); i >= 0 {
			return tasks, all[i:]
		}
		tasks, all = append(tasks, next), append(all, next)
		t, w = next, f.tasks.waits[next]
	}
	return tasks, nil
}

// maxWaitFacts bounds the evidence of one Diagnosis on what tasks wait for.
const maxWaitFacts = 6

// addWaitFacts adds what the tasks of the chain wait for, and who holds it, as
// memory shows it.
func addWaitFacts(f facts, out *result.Diagnosis) {
	if f.end == nil || out.Kind != result.KindHang && out.Kind != result.KindUnknown || out.Task == nil {
		return
	}
	more, ring := beyond(f)
	ending := len(out.Chain) > 0 && out.Chain[len(out.Chain)-1].PID == f.end.PID
	if ending {
		for _, t := range more {
			out.Chain = append(out.Chain, f.tasks.link(t, f.tasks.waits[t]))
		}
	}
	n := 0
	for _, t := range append(slices.Clone(f.chain.tasks), more...) {
		fact := f.tasks.shown(t, f.tasks.waits[t])
		if fact == nil || n == maxWaitFacts {
			continue
		}
		n++
		out.Evidence = append(out.Evidence, result.Evidence{What: "what " + t.String() + " waits for", Lines: []string{fact.String()}, Offset: -1, Source: sourceMemory})
	}
	if fact := f.tasks.shown(f.end, f.wait); fact != nil && out.Task.PID == f.end.PID && !isLockWait(f.wait.mech) {
		if selfHeld(f, fact) {
			out.Summary = strings.Replace(out.Summary, otherHolds, "", 1)
			for i := range out.Chain {
				if l := &out.Chain[i]; l.PID == f.end.PID {
					l.Why = strings.Replace(l.Why, otherHolds, "", 1)
				}
			}
		}
		out.Summary += whoHolds(f, fact)
	}
	if len(ring) > 0 {
		out.Summary += "; they wait for each other: " + roundTrip(ring)
	}
}

// watched names the first few things that a poll watches.
func watched(fact *model.Wait) string {
	const most = 4
	n := len(fact.Watches)
	if n == 0 {
		return ""
	}
	s := "; it watches " + strings.Join(fact.Watches[:min(n, most)], ", ")
	if more := n - most + fact.More; n > most {
		s += " (and " + plural(more, "other", "others") + ")"
	}
	return s
}

// otherHolds is what is said of a file lock whose holder is not known.
const otherHolds = " that another process holds"

// selfHeld says that a file lock is held by the process that waits for it.
func selfHeld(f facts, fact *model.Wait) bool {
	if f.wait.mech != onFileLock || len(fact.Holders) != 1 {
		return false
	}
	c := f.tasks.byPID[fact.Holders[0].PID]
	return c != nil && process(c) == process(f.end)
}

// whoHolds says in the summary whom the end of the chain waits for.
func whoHolds(f facts, fact *model.Wait) string {
	object := fact.Name()
	switch fact.Kind {
	case "poll", "select", "epoll":
		return watched(fact)
	case "child", "wait queue":
		return ""
	case "FIFO", "I/O":
		return "; it is " + object
	}
	if len(fact.Holders) == 0 {
		return ""
	}
	h := fact.Holders[0]
	who := h.Comm
	if c := f.tasks.byPID[h.PID]; c != nil {
		who = c.String()
		if process(c) == process(f.end) && f.wait.mech != onFutex {
			who = "the same process"
		}
	}
	if who == "" {
		return ""
	}
	s := "; " + object + ": " + who + " " + h.Role
	if n := len(fact.Holders) - 1 + fact.More; n > 0 {
		s += " (and " + plural(n, "other", "others") + ")"
	}
	return s
}
