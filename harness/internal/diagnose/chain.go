package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/model"

	"github.com/unwedge/unwedge/harness/result"

	"slices"
	"strconv"

	"github.com/unwedge/unwedge/harness/internal/dump"
)

// maxLinks bounds a wait chain.
const maxLinks = 32

// chain is the wait chain from PID 1 to the task that blocks.
type chain struct {
	tasks []*model.Task
	waits []wait
	notes []string
	// ring is how many tasks at its end wait for each other, because the chain
	// came back to the first of them: a deadlock; 0 for none.
	ring int
	// fromInit says that it starts at PID 1.
	fromInit bool
	// assumed says that some link of it is a guess by descent: nothing but that
	// one is the other's child, and blocked, shows that it is waited for.
	assumed bool
	// torn says that the tasks are known to be incomplete.
	torn bool
}

// end is the last task of the chain and its wait; nil for an empty chain.
func (c *chain) end() (*model.Task, wait) {
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
	if s.old && s.source == sourceState {
		c.notes = append(c.notes, "the task dump is of an earlier look: that of the last one did not come")
	}
	seen := map[int]bool{}
	for t != nil && len(c.tasks) < maxLinks {
		if seen[t.PID] {
			c.ring = len(c.tasks) - slices.IndexFunc(c.tasks, func(o *model.Task) bool { return o.PID == t.PID })
			break
		}
		seen[t.PID] = true
		w, ok := s.waits[t]
		if !ok {
			w = classify(t)
		}
		c.tasks, c.waits = append(c.tasks, t), append(c.waits, w)
		if len(t.Frames) > 0 && !slices.ContainsFunc(t.Frames, func(f model.Frame) bool { return f.Reliable }) {
			c.notes = append(c.notes, "the stack of "+t.String()+" has no frame that is sure")
		}
		next := s.next(t, w, d)
		if next.note != "" {
			c.notes = append(c.notes, next.note)
		}
		c.assumed = c.assumed || next.to != nil && next.assumed
		t = next.to
	}
	if rival := s.rival(c); rival != nil {
		c.notes = append(c.notes, rival.String()+" is blocked as well, in "+orUnknown(s.waits[rival].fn)+": which of them the boot waits for is not known")
	}
	return c
}

// rival is a task of user space that is blocked elsewhere, where the chain came to
// its end by a guess; nil for none. Who waits in the same function waits for the
// same, as likely as not.
func (s *taskSet) rival(c *chain) *model.Task {
	end, w := c.end()
	if !c.assumed || end == nil {
		return nil
	}
	for _, t := range s.all {
		o := s.waits[t]
		if t.KernelThread || t.PID == 0 || o.hard < 60 || o.fn == w.fn || slices.Contains(c.tasks, t) || isThread(t, s.process(end)) {
			continue
		}
		return t
	}
	return nil
}

// step is how a chain goes on.
type step struct {
	to      *model.Task // nil: it ends
	note    string      // where it had to choose
	assumed bool        // see chain
}

// hardest is the task of a dump without PID 1 (sysrq-w, hung tasks, torn) that
// waits hardest.
func (s *taskSet) hardest(c *chain) *model.Task {
	var best *model.Task
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
func (c *chain) links(s *taskSet) []result.Link {
	out := make([]result.Link, 0, len(c.tasks))
	for i, t := range c.tasks {
		out = append(out, s.link(t, c.waits[i]))
	}
	return out
}

func (s *taskSet) link(t *model.Task, w wait) result.Link {
	l := result.Link{Comm: t.Comm, PID: t.PID, State: t.State, Waits: w.what, Func: w.fn, Why: w.why, Source: s.from[t]}
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
