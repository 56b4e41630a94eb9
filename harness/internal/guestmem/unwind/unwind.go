// Package unwind walks the kernel stacks of a guest from outside, given nothing
// but a way to read the guest's memory and the kernel's symbols.
//
// x86_64 is unwound by the kernel's own ORC tables (orc.go, x86.go), or by
// frame pointers where the kernel was built without them; aarch64 by its chain
// of frame records (arm64.go). Where the strict way ends in the middle of a
// stack, the words above are searched for return addresses (scan.go), and what
// is found there is marked as a guess.
//
// The guest is hostile: every loop here is bounded, every pointer is only ever
// given to Memory, and a damaged stack gives a shorter trace and the reason.
package unwind

import (
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Memory reads the guest's kernel virtual memory.
type Memory = isa.Memory

// Symbols are the kernel's symbols at their run-time addresses: where the
// kernel is moved by KASLR, with the offset added. A kallsyms.Table is a
// Symbols for a kernel that was not moved, Shift makes one for others.
type Symbols interface {
	// Lookup returns the address of the symbol of exactly that name.
	Lookup(name string) (addr uint64, ok bool)
	// Nearest returns the symbol that the address lies in, the distance from
	// its start, and its size.
	Nearest(addr uint64) (name string, off, size uint64, ok bool)
}

// Shift returns the symbols of a kernel that runs at a distance from its
// link-time address.
func Shift(s Symbols, offset uint64) Symbols {
	if offset == 0 {
		return s
	}
	return shifted{s, offset}
}

type shifted struct {
	s      Symbols
	offset uint64
}

func (s shifted) Lookup(name string) (uint64, bool) {
	a, ok := s.s.Lookup(name)
	return a + s.offset, ok
}

func (s shifted) Nearest(addr uint64) (string, uint64, uint64, bool) {
	return s.s.Nearest(addr - s.offset)
}

// Module is the code of a loaded module.
type Module struct {
	Name string
	// Text are the addresses of its code: of all of it, .init included.
	Text []Range
	// ORCIP, ORC and ORCCount are struct module's arch.orc_unwind_ip,
	// arch.orc_unwind and arch.num_orcs. x86_64 only, 0 where not known: the
	// frames below such a module are guesses then.
	ORCIP, ORC uint64
	ORCCount   int
}

// Range is the addresses from Start up to End, without End itself.
type Range struct{ Start, End uint64 }

// Contains says whether the address lies in the range.
func (r Range) Contains(a uint64) bool { return a >= r.Start && a < r.End }

// Config is what an Unwinder works on. Arch, Memory and Symbols are needed.
type Config struct {
	Arch    arch.Arch
	Memory  Memory
	Symbols Symbols
	// Image reads the bytes that the kernel's image has for a run-time
	// address. It is asked for the ORC tables where the guest's own copy
	// cannot be read or is damaged. nil: there is none.
	Image   Memory
	Modules []Module
}

// Unwinder unwinds stacks of one guest. It holds no state of a walk, so it may
// be used by many goroutines where its Memory and Symbols may be.
type Unwinder struct {
	isa    *isa.ISA
	method method
	mem    Memory
	syms   Symbols
	text   codeMap
	orc    *orcTables // nil: the kernel has none that could be read
	why    error      // why orc is nil
}

// New prepares the unwinding of one guest: it reads the ORC tables of an x86_64
// kernel. A kernel without them is not an error, see Method.
func New(c Config) (*Unwinder, error) {
	i, err := isa.Find(c.Arch)
	if err != nil {
		return nil, fmt.Errorf("unwind: %w", err)
	}
	if c.Memory == nil || c.Symbols == nil {
		return nil, errors.New("unwind: memory and symbols are needed")
	}
	u := &Unwinder{isa: i, method: methods[i.Unwinding], mem: c.Memory, syms: c.Symbols}
	if u.text, err = newCodeMap(c.Symbols, c.Modules); err != nil {
		return nil, err
	}
	if i.Unwinding == isa.ORC {
		u.orc, u.why = loadORC(c)
	}
	return u, nil
}

// method is a way to unwind.
type method struct {
	sleeping func(*walk, Saved)
	running  func(*walk, model.Registers)
}

var methods = map[isa.Unwinding]method{
	isa.ORC:          {(*walk).x86Sleeping, (*walk).x86Running},
	isa.FrameRecords: {(*walk).arm64Sleeping, (*walk).arm64Running},
}

// Method says how stacks are unwound and, where the kernel should have ORC tables
// and has none, why.
func (u *Unwinder) Method() string {
	switch {
	case u.orc != nil:
		return "ORC (" + u.orc.kernel.layout.name + ")"
	case u.why != nil:
		return fmt.Sprintf("frame pointers (no ORC: %v)", u.why)
	default:
		return "frame pointers"
	}
}

// Frame is one function on a stack.
type Frame struct {
	// PC is the return address into the function, or the address of the
	// instruction at which it was interrupted.
	PC uint64
	// Name, Offset and Size are the function as the kernel prints it,
	// `Name+Offset/Size`; a return address is looked up one byte before it, as
	// printk's %pB does, so that a call which ends a function is not taken for
	// the next function. Name is "" where no symbol covers PC.
	Name         string
	Offset, Size uint64
	// Module is the module the function belongs to, "" for the kernel itself.
	Module string
	// SP is the stack pointer in the function where it is known (x86_64), the
	// frame record's address on aarch64, 0 otherwise.
	SP uint64
	// Interrupted says that PC comes from registers saved by an exception or
	// an interrupt, or from a vCPU, and is no return address.
	Interrupted bool
	// Reliable is false for a guess: a word on the stack that looks like a
	// return address, or anything unwound from one.
	Reliable bool
}

// String is the frame as a line of a kernel's stack trace.
func (f Frame) String() string {
	s := fmt.Sprintf("%#x", f.PC)
	if f.Name != "" {
		s = fmt.Sprintf("%s+%#x/%#x", f.Name, f.Offset, f.Size)
	}
	if f.Module != "" {
		s += " [" + f.Module + "]"
	}
	if !f.Reliable {
		s = "? " + s
	}
	return s
}

// EndKind is how an unwinding ended.
type EndKind string

// How an unwinding can end.
const (
	// UserEntry: the walk came to where user space entered the kernel.
	UserEntry EndKind = "user entry"
	// KernelEntry: the walk came to the first function of a kernel thread, of
	// an idle task, or of the boot.
	KernelEntry EndKind = "kernel entry"
	// InUser: the vCPU runs user space: there is no kernel stack to unwind.
	InUser EndKind = "in user space"
	// Stopped: the walk could not go on; End.Why has the reason.
	Stopped EndKind = "stopped"
)

// End is how an unwinding ended.
type End struct {
	Kind EndKind
	// Why says what was wrong, where something was: for Stopped always, for
	// others where a part of the stack had to be guessed.
	Why string
}

// Trace is the unwound stack of a task, innermost frame first.
type Trace struct {
	Frames []Frame
	End    End
	// User are the registers with which user space entered the kernel, nil
	// where they were not found.
	User *model.UserRegs
}

// Reliable says whether the trace is whole: no guesses, and a proper end.
func (t *Trace) Reliable() bool {
	for _, f := range t.Frames {
		if !f.Reliable {
			return false
		}
	}
	return t.End.Kind != Stopped
}

// Saved is where a task left off when it was scheduled away.
type Saved struct {
	// SP is x86_64's thread.sp, aarch64's thread.cpu_context.sp.
	SP uint64
	// FP and PC are aarch64's thread.cpu_context.fp and .pc. Not used on
	// x86_64, which saves both on the stack (struct inactive_task_frame).
	FP, PC uint64
	// Stack is the task's stack, as task_struct.stack and THREAD_SIZE have it;
	// the zero Range where it is not known.
	Stack Range
}

// Sleeping unwinds the stack of a task that does not run on any CPU.
func (u *Unwinder) Sleeping(s Saved) Trace {
	w := u.newWalk(s.Stack)
	u.method.sleeping(w, s)
	return w.trace
}

// Running unwinds from a vCPU's registers, which should be read while the vCPUs are
// stopped. stack is that of the task that runs there, the zero Range where it is not
// known.
func (u *Unwinder) Running(r model.Registers, stack Range) Trace {
	w := u.newWalk(stack)
	if r.User {
		w.trace.End = End{Kind: InUser}
		w.trace.User = &model.UserRegs{Number: -1, Partial: true, PC: r.PC, SP: r.SP, FP: r.FP, LR: r.LR}
		return w.trace
	}
	u.method.running(w, r)
	return w.trace
}
