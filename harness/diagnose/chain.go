package diagnose

import (
	"strconv"

	"github.com/unwedge/unwedge/harness/dump"
)

// maxLinks bounds a wait chain.
const maxLinks = 32

// chain is the wait chain from PID 1 to the task that blocks.
type chain struct {
	tasks []*dump.Task
	waits []wait
	notes []string
	// cycle says that the chain came back to a task in it: a deadlock.
	cycle bool
	// fromInit says that it starts at PID 1.
	fromInit bool
	// torn says that the tasks are known to be incomplete.
	torn bool
}

// end is the last task of the chain and its wait; nil for an empty chain.
func (c *chain) end() (*dump.Task, wait) {
	if len(c.tasks) == 0 {
		return nil, wait{}
	}
	n := len(c.tasks) - 1
	return c.tasks[n], c.waits[n]
}

// follow builds the wait chain. Without PID 1 in the dump it starts at the task
// that waits hardest, if there is one that stands out.
func follow(s *taskSet, d *dump.Dump) *chain {
	c := &chain{torn: s.torn}
	t := s.byPID[1]
	if t != nil {
		c.fromInit = true
	} else if t = s.hardest(c); t == nil {
		return c
	}
	seen := map[int]bool{}
	for t != nil && len(c.tasks) < maxLinks {
		if seen[t.PID] {
			c.cycle = true
			break
		}
		seen[t.PID] = true
		w, ok := s.waits[t]
		if !ok {
			w = classify(t)
		}
		c.tasks, c.waits = append(c.tasks, t), append(c.waits, w)
		next, note := s.next(t, w, d)
		if note != "" {
			c.notes = append(c.notes, note)
		}
		t = next
	}
	return c
}

// hardest is the task of a dump without PID 1 (sysrq-w, hung tasks, torn) that
// waits hardest.
func (s *taskSet) hardest(c *chain) *dump.Task {
	var best *dump.Task
	same := 0
	for _, t := range s.all {
		h := s.waits[t].hard
		switch {
		case h < 60:
		case best == nil || h > s.waits[best].hard:
			best, same = t, 0
		case h == s.waits[best].hard:
			same++
		}
	}
	if best != nil {
		c.notes = append(c.notes, "PID 1 is not in the dump, so it is not known that the boot waits for "+best.String())
		if same > 0 {
			c.notes = append(c.notes, plural(same, "other task waits", "other tasks wait")+" as hard as "+best.String())
		}
	}
	return best
}

// links gives the chain in the form of a Diagnosis.
func (c *chain) links(s *taskSet) []Link {
	out := make([]Link, 0, len(c.tasks))
	for i, t := range c.tasks {
		out = append(out, s.link(t, c.waits[i]))
	}
	return out
}

func (s *taskSet) link(t *dump.Task, w wait) Link {
	l := Link{Comm: t.Comm, PID: t.PID, State: t.State, Waits: w.what, Func: w.fn, Why: w.why, Source: s.from[t]}
	if l.Source == "" { // one that is only named as an owner
		l.Source = sourceConsole
		if s.source == sourceMemory {
			l.Source = sourceMemory
		}
	}
	if f := s.fact(t, w); f != nil && f.Object != "" {
		l.Object = f.Name()
	}
	if t.Syscall != nil {
		l.Syscall = t.Syscall.Name
		if (w.mech == onChild || w.mech == onPoll || w.mech == onEntropy) && l.Syscall != "" {
			l.Waits = l.Syscall
		}
	}
	return l
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
