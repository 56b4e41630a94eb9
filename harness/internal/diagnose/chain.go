package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// maxLinks bounds a wait chain.
const maxLinks = 32

// chain is the wait chain from PID 1 to the task that blocks.
type chain struct {
	tasks []*model.Task
	waits []wait
	notes []string
	// ring is how many tasks at its end wait for each other, because the chain
	// leads back to the first of them; 0 for none.
	ring int
	// fromInit says that it starts at PID 1.
	fromInit bool
	// assumed says that some link is a guess by descent: all that is known is that
	// one task is the other's child, and blocked.
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
	if f := s.shown(t, w); f != nil && f.Object != "" {
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

// who names the end of the chain and how the boot gets there.
func (c *chain) who() string {
	end, _ := c.end()
	if end == nil {
		return "the boot"
	}
	if len(c.tasks) < 2 || !c.fromInit {
		return end.String()
	}
	tasks := c.tasks
	s := tasks[0].String() + " waits for " + tasks[1].String() + ","
	rest := tasks[2:]
	if len(rest) > 4 {
		s += " and so on,"
		rest = rest[len(rest)-2:]
	}
	for _, t := range rest {
		s += " which waits for " + t.String() + ","
	}
	return s + " which"
}

// where gives " in syscall() → fn" of the last task.
func (c *chain) where() string {
	end, w := c.end()
	s := ""
	if end.Syscall != nil && end.Syscall.Name != "" && w.mech != onStop {
		s = " in " + end.Syscall.Name + "()"
	}
	if w.fn != "" {
		if s == "" {
			return " in " + w.fn
		}
		s += " → " + w.fn
	}
	return s
}
