package diagnose

import "github.com/unwedge/unwedge/harness/internal/model"

// The least score of a holder that the chain is followed to: one that has to do
// something for the waiter, and one that holds a file lock. Only a holder that
// blocks harder than a file lock explains the hang better than the lock does.
const (
	leastAtEnd  = 15
	leastHolder = 71
)

// holder is the task that memory names as the one that t waits for, the hardest
// blocked of several. known is false where memory names nobody but t's own process;
// known without to means that nothing the holders wait for explains the hang.
func (s *tracer) holder(t *model.Task, w wait) (to *model.Task, known bool) {
	f := s.shown(t, w)
	if f == nil {
		return nil, false
	}
	least := 0
	switch w.mech {
	case onChild:
		if len(f.Holders) != 1 || f.More > 0 {
			return nil, false
		}
		c := s.byPID[f.Holders[0].PID]
		return c, c != nil && s.waits[c].mech != onNothing
	case onCompletion, onFlush, onVfork: // these do not end otherwise
	case onPipe, onSocket, onFutex:
		least = leastAtEnd
	case onFileLock:
		least = leastHolder
	default:
		return nil, false
	}
	best := -1
	for _, h := range f.Holders {
		c := s.byPID[h.PID]
		if c == nil || c == t || w.mech != onFutex && process(c) == process(t) {
			continue
		}
		known = true
		if v := s.score(c); v >= least && v > best {
			to, best = c, v
		}
	}
	return to, known
}

// owner finds the holder of the lock that t waits for: named by memory or by
// khungtaskd, the latest report first, or by lockdep as the only other holder of
// the same lock. Reports about another boot, another kind of lock, or other tasks
// with the same PIDs do not count.
func (s *tracer) owner(t *model.Task, w wait) step {
	from := s.log.start()
	for i := len(s.log.Owners) - 1; i >= 0; i-- {
		o := &s.log.Owners[i]
		if o.WaiterPID != t.PID || o.WaiterComm != "" && o.WaiterComm != t.Comm || o.End > 0 && o.Offset < from || !ownsSuch(o, w.mech) {
			continue
		}
		if o.OwnerPID == 0 {
			break // the kernel does not know, whatever it reported before
		}
		out := step{to: s.byPID[o.OwnerPID]}
		if out.to == nil || o.OwnerComm != "" && out.to.Comm != o.OwnerComm {
			out.to = &model.Task{Comm: o.OwnerComm, PID: o.OwnerPID, State: "?", CPU: -1}
		}
		switch {
		case w.mech == onSemaphore:
			out.note = "a semaphore does not record its holder: " + out.to.String() + " took it last"
		case o.End > 0 && out.to.State != "D": // one in state D has not released it since
			out.note = "the kernel reports " + out.to.String() + " as the likely owner of what " + t.String() + " waits for"
		}
		return out
	}
	return step{to: s.lockdepOwner(t)}
}

// ownsSuch says whether an Owner is of the kind of lock that is waited for.
func ownsSuch(o *model.Owner, m mechanism) bool {
	switch o.Lock {
	case "mutex":
		return m == onMutex
	case "semaphore":
		return m == onSemaphore
	case "rw-semaphore":
		return m == onRWSem
	}
	return true
}

func (s *tracer) lockdepOwner(t *model.Task) *model.Task {
	from := s.log.start()
	var want string
	for i := len(s.log.Held) - 1; i >= 0; i-- {
		if h := s.log.Held[i]; h.PID == t.PID && h.Comm == t.Comm && h.Offset >= from && len(h.Locks) > 0 {
			want = h.Locks[len(h.Locks)-1].Addr
			break
		}
	}
	if want == "" {
		return nil
	}
	var found *model.Task
	for i := len(s.log.Held) - 1; i >= 0; i-- {
		h := s.log.Held[i]
		if h.PID == t.PID || h.Offset < from {
			continue
		}
		for j, l := range h.Locks {
			if l.Addr != want {
				continue
			}
			c := s.byPID[h.PID]
			if c == nil || c.Comm != h.Comm || j == len(h.Locks)-1 && isLockWait(s.waits[c].mech) {
				continue // it waits for the lock as well
			}
			if found != nil && found.PID != c.PID {
				return nil // several readers
			}
			found = c
		}
	}
	return found
}
