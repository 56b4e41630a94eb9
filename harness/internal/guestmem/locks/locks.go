// Package locks finds the lock that a task waits for, and who holds it, in a
// guest's memory: by the task's own note where the kernel keeps one, else by
// the waiter that lies on the task's stack.
package locks

import (
	"encoding/binary"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
)

type field = kimage.Field

// Kind is a kind of lock, named as the kernel's hung-task report does.
type Kind string

// The kinds that are told apart.
const (
	Mutex       Kind = "mutex"
	Semaphore   Kind = "semaphore"
	RWSemaphore Kind = "rw-semaphore"
)

// Lock is what a task waits for.
type Lock struct {
	Kind Kind
	Addr uint64
	// Owner is the address of the task_struct of who holds it, 0 where the
	// kernel does not record that and where readers hold it. The task may have
	// exited.
	Owner uint64
}

// Layout is how one kernel lays out its locks. Made once per image; it may be
// used by many goroutines.
type Layout struct {
	kinds map[Kind]kind
	// infers says that nothing is known of locks: where their lists of waiters are must
	// be seen in memory.
	infers bool
	// blocker is task_struct.blocker (CONFIG_DETECT_HUNG_TASK_BLOCKER, since
	// 6.15), blockedOn is task_struct.blocked_on, a mutex (since 6.17).
	blocker, blockedOn field
}

// kind is one kind of lock. A Size of 0 means that this kernel has no such
// field: without waitList, a lock cannot be found from its waiter (7.x keeps no
// list's head in it).
type kind struct {
	owner, waitList      field
	waiterList, waiterOf field  // struct *_waiter's list and task
	flags                uint64 // bits of owner that are no pointer
	readers              uint64 // the bit of them that says that readers hold it
}

// NewLayout reads the image's types. What is missing is not found later.
func NewLayout(img *kimage.Image) *Layout {
	get := func(typ string, path ...string) field {
		f, err := img.Types.Field(typ, path...)
		if err != nil {
			return field{}
		}
		return f
	}
	of := func(lock, owner, waiter string, flags, readers uint64) kind {
		return kind{
			owner: get(lock, owner), waitList: get(lock, "wait_list"),
			waiterList: get(waiter, "list"), waiterOf: get(waiter, "task"), flags: flags, readers: readers,
		}
	}
	if img.Types.Source == kimage.Inferred {
		return &Layout{infers: true, kinds: inferred}
	}
	return &Layout{
		kinds: map[Kind]kind{
			Mutex:       of("mutex", "owner", "mutex_waiter", 7, 0), // MUTEX_FLAGS
			Semaphore:   of("semaphore", "last_holder", "semaphore_waiter", 0, 0),
			RWSemaphore: of("rw_semaphore", "owner", "rwsem_waiter", 7, 1), // RWSEM_READER_OWNED
		},
		blocker: get("task_struct", "blocker"), blockedOn: get("task_struct", "blocked_on"),
	}
}

// The kinds in the low bits of task_struct.blocker (include/linux/hung_task.h).
var blockerKinds = [4]Kind{Mutex, Semaphore, RWSemaphore, RWSemaphore}

// Find finds the lock of a kind that a sleeping task waits for. The caller knows
// the kind from the task's stack. ok is false where there is none to be found.
func (l *Layout) Find(k *locate.Kernel, list *tasks.List, t *tasks.Task, want Kind) (lock Lock, ok bool) {
	if v, ok := l.note(k, t, l.blocker); ok && blockerKinds[v&3] == want {
		return l.lock(k, want, v&^3), true
	}
	if v, ok := l.note(k, t, l.blockedOn); ok && want == Mutex {
		return l.lock(k, want, v), true
	}
	head, ok := l.search(k, list, t, l.kinds[want])
	if l.infers {
		var addr uint64
		if ok {
			addr, ok = behind(k, list, want, head)
		} else if want == Mutex {
			addr, ok = noted(k, list, t)
		}
		return l.lock(k, want, addr), ok
	}
	if !ok {
		return Lock{}, false
	}
	return l.lock(k, want, head-l.kinds[want].waitList.Off), true
}

// note reads a word of a task_struct.
func (l *Layout) note(k *locate.Kernel, t *tasks.Task, f field) (uint64, bool) {
	if f.Size != 8 {
		return 0, false
	}
	v, err := k.Space.Uint64(t.Addr + f.Off)
	return v, err == nil && v != 0
}

func (l *Layout) lock(k *locate.Kernel, want Kind, addr uint64) Lock {
	lock, kind := Lock{Kind: want, Addr: addr}, l.kinds[want]
	if kind.owner.Size != 8 {
		return lock
	}
	v, err := k.Space.Uint64(addr + kind.owner.Off)
	if err == nil && v&kind.readers == 0 {
		lock.Owner = v &^ kind.flags
	}
	return lock
}

// maxWaiters bounds how far a list of waiters is followed, maxTries how many
// words of a stack are taken for a waiter's.
const (
	maxWaiters = 256
	maxTries   = 64
)

// search finds the head of a lock's list of waiters, by the waiter on the task's stack: a word that points to the task,
// in a struct whose list node has neighbours that point back to it. From there
// the list is followed to its head, which is the one node that lies on no
// task's stack.
func (l *Layout) search(k *locate.Kernel, list *tasks.List, t *tasks.Task, kind kind) (uint64, bool) {
	if kind.waitList.Size == 0 || kind.waiterList.Size == 0 || kind.waiterOf.Size != 8 || !t.Holds(t.SP) {
		return 0, false
	}
	b := make([]byte, t.Stack+t.StackSize-t.SP)
	if k.Space.Read(t.SP, b) != nil {
		return 0, false
	}
	tries := 0
	for i := 0; i+8 <= len(b) && tries < maxTries; i += 8 {
		if binary.LittleEndian.Uint64(b[i:]) != t.Addr {
			continue
		}
		tries++
		node := t.SP + uint64(i) - kind.waiterOf.Off + kind.waiterList.Off
		if head, ok := listHead(k, list, node); ok {
			return head, true
		}
	}
	return 0, false
}

func listHead(k *locate.Kernel, list *tasks.List, node uint64) (uint64, bool) {
	for range maxWaiters {
		next, err1 := k.Space.Uint64(node)
		back, err2 := k.Space.Uint64(next + 8)
		if err1 != nil || err2 != nil || back != node {
			return 0, false
		}
		if list.Holding(next) == nil {
			return next, true
		}
		node = next
	}
	return 0, false
}
