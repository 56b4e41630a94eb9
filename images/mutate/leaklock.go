package mutate

import (
	"errors"
	"fmt"
	"iter"
	"strings"
)

// LeakLock makes one call that releases a lock do nothing, so that the function
// does all of its work and comes back with the lock held. Whoever wants the
// lock next waits for ever: that is where the boot hangs, not in the function.
//
// Of several such calls it takes the kind that unlockers lists first, and of
// these the first in the function, which is often, but not always, on the path
// that a boot takes; where it is not, the fault has no effect. A lock whose
// release the compiler inlined (spinlocks in Debian's arm64 kernels of 6.1) has
// no call, and neither has a function whose callee releases the lock.
//
// Where the call would also let interrupts back in (_irq, _irqrestore), they
// stay masked on that CPU until something else unmasks them. That is a fault
// of its own, so these calls are the last choice.
var LeakLock Fault = leaks{}

type leaks struct{}

func (leaks) String() string { return "leak-lock" }

// unlockers are the routines that release a lock, in the order in which they
// are chosen: locks that one task holds and others sleep for; a semaphore's
// read side, which stops writers only; spinlocks; spinlocks with interrupts.
// kernel/locking/{mutex,rwsem,semaphore,spinlock}.c
var unlockers = [][]string{
	{"mutex_unlock", "up_write", "up"},
	{"up_read"},
	{"_raw_spin_unlock", "_raw_read_unlock", "_raw_write_unlock", "_raw_spin_unlock_bh", "_raw_read_unlock_bh", "_raw_write_unlock_bh"},
	{
		"_raw_spin_unlock_irq", "_raw_read_unlock_irq", "_raw_write_unlock_irq",
		"_raw_spin_unlock_irqrestore", "_raw_read_unlock_irqrestore", "_raw_write_unlock_irqrestore",
	},
}

// unlocker is one of them in a kernel.
type unlocker struct {
	name string
	rank int
}

func (t *tables) unlockers() map[uint64]unlocker {
	at := map[uint64]unlocker{}
	for rank, names := range unlockers {
		for _, name := range names {
			for _, s := range t.table.LookupAll(name) {
				if s.IsText() {
					at[s.Addr] = unlocker{name, rank}
				}
			}
		}
	}
	return at
}

func (leaks) change(f function) (change, error) {
	known := f.t.unlockers()
	if len(known) == 0 {
		return change{}, errors.New("the kernel's symbols name no routine that releases a lock")
	}
	var best *change
	bestRank, clash := len(unlockers), ""
	for b, err := range f.branches() {
		if err != nil {
			if best != nil {
				break // what lies behind is not known; what was found is a call
			}
			return change{}, err
		}
		u, ok := known[b.target]
		if !ok || u.rank >= bestRank {
			continue
		}
		c := change{off: b.off, code: f.t.machine.without(b), unlock: u.name, harmless: []string{callSites}}
		from := f.addr + uint64(c.off)
		if name, _ := f.t.clash(from, from+uint64(len(c.code)), c.harmless...); name != "" {
			clash = fmt.Sprintf("the kernel rewrites its call of %s at +%#x at boot (%s)", u.name, c.off, name)
			continue
		}
		best, bestRank = &c, u.rank
	}
	switch {
	case best != nil:
		return *best, nil
	case clash != "":
		return change{}, errors.New(clash)
	}
	return change{}, fmt.Errorf("it calls none of %s directly", strings.Join(unlockers[0], ", ")+", … _raw_spin_unlock")
}

// branch is a direct call, or an unconditional jump, which may be a tail call.
type branch struct {
	off, len int // of the instruction, in the function
	jump     bool
	target   uint64
}

// branches reads a function's instructions from its start and yields the direct
// calls and jumps. It ends with an error at bytes that are no instruction known
// to the decoder: what follows may be read wrongly.
func (f function) branches() iter.Seq2[branch, error] {
	return func(yield func(branch, error) bool) {
		for off := 0; off < len(f.body); {
			b, err := f.t.machine.branch(f, off)
			if err != nil {
				yield(b, fmt.Errorf("the instruction at +%#x cannot be decoded: %w", off, err))
				return
			}
			if b.target != 0 && !yield(b, nil) {
				return
			}
			off += b.len
		}
	}
}
