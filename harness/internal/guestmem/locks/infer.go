package locks

import (
	"encoding/binary"

	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
)

// inferred is what has been the same in all kernels since 5.10 (kernel/locking/mutex.c,
// rwsem.c), but that in 7.x a lock has no list of waiters: where the owner is and what a waiter
// looks like. How far the list is from the owner depends on the configuration.
var inferred = map[Kind]kind{
	Mutex: {
		owner: field{Off: 0, Size: 8}, waitList: field{Size: 16},
		waiterList: field{Off: 0, Size: 16}, waiterOf: field{Off: 16, Size: 8}, flags: 7,
	},
	RWSemaphore: {
		owner: field{Off: 8, Size: 8}, waitList: field{Size: 16},
		waiterList: field{Off: 0, Size: 16}, waiterOf: field{Off: 16, Size: 8}, flags: 7, readers: 1,
	},
}

// maxLock is how far a lock's list of waiters is from its beginning at most, with all that
// debugging adds.
const maxLock = 256

// behind finds the lock whose list of waiters has its head at an address: the only place
// before it that looks like one that a task holds and others wait for. ok is false for
// none, as for a lock that readers hold.
func behind(k *locate.Kernel, list *tasks.List, want Kind, head uint64) (lock uint64, ok bool) {
	for off := uint64(16); off < maxLock; off += 8 {
		if !held(k, list, want, head-off) {
			continue
		}
		if ok {
			return 0, false
		}
		lock, ok = head-off, true
	}
	return lock, ok
}

// What the words of a lock say that a task holds and others wait for.
const (
	mutexWaiters = 1 // of the owner: MUTEX_FLAG_WAITERS
	rwsemWriter  = 1 // of the count: RWSEM_WRITER_LOCKED
	rwsemWaiters = 2 // of the count: RWSEM_FLAG_WAITERS
)

func held(k *locate.Kernel, list *tasks.List, want Kind, at uint64) bool {
	owner := inferred[want].owner.Off
	first, err1 := k.Space.Uint64(at)
	v, err2 := k.Space.Uint64(at + owner)
	if err1 != nil || err2 != nil || list.Find(v&^inferred[want].flags) == nil {
		return false
	}
	if want == Mutex {
		return v&mutexWaiters != 0
	}
	return first&(rwsemWriter|rwsemWaiters) == rwsemWriter|rwsemWaiters && v&inferred[want].readers == 0
}

// maxTask is how much of a task_struct is looked at, in bytes.
const maxTask = 8 << 10

// noted finds the mutex that a task itself says it waits for (task_struct.blocked_on,
// since 6.17; blocker, since 6.15): the only pointer of its to what looks like a mutex of
// 7.x, which a task holds and whose first waiter lies on that waiter's stack.
func noted(k *locate.Kernel, list *tasks.List, t *tasks.Task) (lock uint64, ok bool) {
	b := make([]byte, maxTask)
	if k.Space.Read(t.Addr, b) != nil {
		return 0, false
	}
	for i := 0; i < len(b); i += 8 {
		at := binary.LittleEndian.Uint64(b[i:]) &^ 7
		if at>>63 == 0 || at == lock || !held(k, list, Mutex, at) || !waitedFor(k, list, at) {
			continue
		}
		if ok {
			return 0, false
		}
		lock, ok = at, true
	}
	return lock, ok
}

// waitedFor says that a mutex of 7.x has a first waiter (kernel/locking/mutex.h, struct
// mutex_waiter).
func waitedFor(k *locate.Kernel, list *tasks.List, at uint64) bool {
	const firstWaiter = 16
	waiter, err := k.Space.Uint64(at + firstWaiter)
	if err != nil {
		return false
	}
	t := list.Holding(waiter)
	if t == nil {
		return false
	}
	of, err := k.Space.Uint64(waiter + inferred[Mutex].waiterOf.Off)
	return err == nil && of == t.Addr
}
