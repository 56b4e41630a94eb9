// Package stall asks a guest that has stopped making progress where it is, what
// disturbs it least first, and makes one value of the answer: a Finding.
package stall

import (
	"context"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/result"
)

// Image is what the kernel's image says of a guest that runs it. Functions are nil
// where it says nothing. registers is always QEMU's text of `info registers -a` of
// the same moment.
type Image struct {
	// Symbol names kernel addresses.
	Symbol vcpu.Symbolizer
	// HZ is how many jiffies the kernel counts in a second, 0 where not known: then
	// none of its timers is waited for.
	HZ func() int
	// Load reads the image, which Look does otherwise: a kernel without types can take
	// a while, once, and no time that a guest is given is to go by meanwhile.
	Load func()
	// Look reads the guest's memory. What could not be read is in View.Problems; an
	// error means that nothing could.
	Look func(ctx context.Context, ram physmem.Reader, registers string) (*guestmem.View, error)
	// Tasks says why Look cannot find tasks, nil where it can.
	Tasks func() error
	// UserStacks unwinds the user-space stacks of the guest's tasks. What could be
	// read comes with what could not; an error means that nothing could.
	UserStacks func(ctx context.Context, ram physmem.Reader, registers string) (stacks []guestmem.UserStack, problems []string, err error)
	// Sleeper finds a task that sleeps in a system call, see guestmem.Kernel.Sleeper.
	Sleeper func(ctx context.Context, ram physmem.Reader, registers string, pid int, functions []string) (*guestmem.Sleeper, error)
}

// Hertz is HZ, 0 where it is not known.
func (i Image) Hertz() int {
	if i.HZ == nil {
		return 0
	}
	return i.HZ()
}

// Finding is what one capture of a stalled guest showed. Nobody changes it once it
// was made.
type Finding struct {
	// Registers are all samples of the vCPUs, oldest first.
	Registers []result.CPUSample
	// Attempts are the sysrq keys and NMIs that were sent.
	Attempts []result.Attempt
	// View is the guest's memory after the keys, or without any; Before that of before
	// them. nil: not read.
	Before, View *guestmem.View
	// Users are the user-space stacks.
	Users []guestmem.UserStack
	// Memory says how memory was read.
	Memory result.Memory
	// UserTimer is in how long the last of user space's timers that are waited for is
	// due, by sysrq q; 0 for none.
	UserTimer time.Duration
	// Firmware says that no kernel runs yet, so that none was asked.
	Firmware bool
	// Idle says that every vCPU idles, Rests that it is seen to by its registers (of an
	// early capture only), Frozen that none computes anything, Works that
	// one was seen to do real work, Reads that a disk answered reads meanwhile.
	Idle, Rests, Frozen, Works, Reads bool
	// Proven says that none of this can change (see watch.Decision).
	Proven bool
	// Errs are what went wrong, Lost is why QEMU's monitor could not be asked at all.
	Errs []error
	Lost error
}

// Looked says whether the guest's memory was read, or tried to.
func (f *Finding) Looked() bool { return f.Memory.Took > 0 }
