package guestmem

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locks"
	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/model"
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
func lockKind(frames []model.Frame) (locks.Kind, bool) {
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

// maxWaits bounds View.Waits.
const maxWaits = 1 << 12

// wait adds what a sleeping task waits for to View.Waits, and a lock to
// View.Owners as well.
func (w *walker) wait(t *tasks.Task, d *model.Task) {
	if d.Running || w.objects == nil || len(w.view.Waits) >= maxWaits {
		return
	}
	if kind, ok := lockKind(d.Frames); ok {
		w.lock(t, kind)
		return
	}
	if got, ok := w.objects.Of(t, d.Frames, d.Syscall); ok {
		w.view.Waits = append(w.view.Waits, got)
	}
}

// lock adds the lock that a task waits for.
func (w *walker) lock(t *tasks.Task, kind locks.Kind) {
	lock, ok := w.k.locks.Find(w.found, w.list, t, kind)
	if !ok || len(w.view.Owners) >= dump.MaxReports {
		return
	}
	o := model.Owner{WaiterComm: t.Comm, WaiterPID: t.PID, Lock: string(kind)}
	wait := model.Wait{PID: t.PID, Comm: t.Comm, Kind: string(kind), Object: w.objects.Name(lock.Addr), Addr: lock.Addr}
	if holder := w.list.Find(lock.Owner); holder != nil {
		o.OwnerComm, o.OwnerPID = holder.Comm, holder.PID
		role := "holds it"
		if kind == locks.Semaphore { // anybody may release one (include/linux/semaphore.h)
			role = "is the last that took it"
		}
		wait.Hold(model.Holder{PID: holder.PID, Comm: holder.Comm, State: holder.State, Role: role})
	} else if gone, err := w.k.tasks.At(w.found, lock.Owner); lock.Owner != 0 && err == nil && gone.Dead() {
		o.OwnerComm, o.OwnerPID = gone.Comm, gone.PID
		wait.Hold(model.Holder{PID: gone.PID, Comm: gone.Comm, State: gone.State, Role: "held it when it ended"})
	}
	w.view.Owners, w.view.Waits = append(w.view.Owners, o), append(w.view.Waits, wait)
}
