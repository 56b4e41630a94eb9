package guestmem

import (
	"strings"

	"github.com/unwedge/unwedge/harness/dump"
	"github.com/unwedge/unwedge/harness/guestmem/locks"
	"github.com/unwedge/unwedge/harness/guestmem/tasks"
)

// lockFunctions are the functions in which a task waits for a lock, by their
// beginnings (kernel/locking/mutex.c, rwsem.c, semaphore.c).
var lockFunctions = []struct {
	prefix string
	kind   locks.Kind
}{
	{"__mutex_lock", locks.Mutex}, {"mutex_lock", locks.Mutex}, {"__ww_mutex_lock", locks.Mutex}, {"ww_mutex_lock", locks.Mutex},
	{"rwsem_down_", locks.RWSemaphore}, {"down_read", locks.RWSemaphore}, {"down_write", locks.RWSemaphore},
	{"__down_read", locks.RWSemaphore}, {"__down_write", locks.RWSemaphore},
	{"__down", locks.Semaphore}, {"down", locks.Semaphore},
}

// nearTop is how many frames from the top a sleeping task's lock function is
// looked for: __switch_to, __schedule, schedule, schedule_timeout and the like
// stand above it.
const nearTop = 8

// lockKind returns the kind of lock that a stack waits for.
func lockKind(frames []dump.Frame) (locks.Kind, bool) {
	for _, f := range frames[:min(len(frames), nearTop)] {
		name := f.Base()
		for _, l := range lockFunctions {
			if strings.HasPrefix(name, l.prefix) && f.Reliable && (l.prefix != "down" || name == "down" || strings.HasPrefix(name, "down_")) {
				return l.kind, true
			}
		}
	}
	return "", false
}

// owner adds the lock that a sleeping task waits for to View.Owners.
func (w *walker) owner(t *tasks.Task, d *dump.Task) {
	kind, ok := lockKind(d.Frames)
	if !ok || d.Running || len(w.view.Owners) >= dump.MaxReports {
		return
	}
	lock, ok := w.k.locks.Find(w.found, w.list, t, kind)
	if !ok {
		return
	}
	o := dump.Ownership{WaiterComm: t.Comm, WaiterPID: t.PID, Lock: string(kind)}
	if holder := w.list.Find(lock.Owner); holder != nil {
		o.OwnerComm, o.OwnerPID = holder.Comm, holder.PID
	} else if gone, err := w.k.tasks.At(w.found, lock.Owner); lock.Owner != 0 && err == nil {
		o.OwnerComm, o.OwnerPID = gone.Comm, gone.PID
	}
	w.view.Owners = append(w.view.Owners, o)
}
