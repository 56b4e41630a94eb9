package model

import (
	"fmt"
	"time"
)

// Registers are those of a vCPU, or those that an entry to the kernel saved.
type Registers struct {
	PC, SP, FP uint64
	// LR is the return address where the architecture keeps it in a register.
	LR uint64
	// General are the general registers by their DWARF numbers; nil where they
	// are not known.
	General []uint64
	// User says that the CPU runs user space (CPL 3, EL0).
	User bool
	// IRQsOff says that the CPU takes no interrupts; nil where that is not known.
	IRQsOff *bool
}

// VCPU is one vCPU and its registers.
type VCPU struct {
	// Index is QEMU's number.
	Index int
	Registers
	// PerCPU is the register that holds the base of per-CPU memory in kernel
	// mode; 0 where it is not known.
	PerCPU uint64
	// Halted says that the vCPU waits for an interrupt, where QEMU shows it.
	Halted bool
	// Narrow says that the vCPU is not in 64-bit mode: its kernel does not run
	// there yet.
	Narrow bool
}

// UserRegs are the registers of user space at its entry to the kernel (struct
// pt_regs).
type UserRegs struct {
	// Addr is where the pt_regs lies, 0 for a vCPU's own registers.
	Addr uint64
	// Syscall says that the entry is a system call; otherwise it is an
	// exception or an interrupt.
	Syscall bool
	// Number is the system call's number, -1 for no system call.
	Number int64
	// Args are the system call's arguments in the ABI's order; unset for an
	// exception.
	Args [6]uint64
	// Compat says that the task runs 32-bit code, with that ABI's numbers.
	Compat bool
	// Partial says that only PC and SP are known.
	Partial        bool
	PC, SP, FP, LR uint64
	// Regs are the general registers by their DWARF numbers; nil where Partial.
	Regs []uint64
}

// CPU is what one vCPU does.
type CPU struct {
	Index int
	PC    uint64
	// User says that it runs user space, Halted that it waits for an interrupt,
	// where QEMU shows that.
	User, Halted bool
	// PID and Comm are the task it runs; PID is -1 where that is not known.
	PID    int
	Comm   string
	Frames []Frame
}

// Timer is what will wake a task: at a number of jiffies, or of nanoseconds
// since the boot.
type Timer struct {
	// PID is the thread ID of the task.
	PID int `json:"pid"`
	// Jiffies is when it expires, in jiffies.
	Jiffies uint64 `json:"jiffies,omitempty"`
	// Nanoseconds is when it expires, in nanoseconds since the boot.
	Nanoseconds uint64 `json:"nanoseconds,omitempty"`
}

// Event is something that the guest's kernel has set its clock for.
type Event struct {
	// Calls is the function that the timer calls.
	Calls string `json:"calls"`
	// Work is the function of the work item that this queues, "" for none.
	Work string `json:"work,omitempty"`
	// PID is the thread ID of the task that it wakes, -1 for none, Comm that task's name.
	PID  int    `json:"pid"`
	Comm string `json:"comm,omitempty"`
	// Jiffies is when it is due, in jiffies; 0 where Nanoseconds is set.
	Jiffies uint64 `json:"jiffies,omitempty"`
	// Nanoseconds is when it is due, in nanoseconds of CLOCK_MONOTONIC.
	Nanoseconds int64 `json:"nanoseconds,omitempty"`
}

// String says what happens then.
func (e Event) String() string {
	switch {
	case e.Work != "":
		return e.Calls + ": queues " + e.Work
	case e.PID >= 0:
		return fmt.Sprintf("%s: wakes %s (PID %d)", e.Calls, e.Comm, e.PID)
	default:
		return e.Calls
	}
}

// In is in how long it is due, by a guest's jiffies of which hz are a second: as late as
// it can be, for an idle guest does not count them. 0 where hz is.
func (e Event) In(jiffies uint64, hz int) time.Duration {
	if hz <= 0 {
		return 0
	}
	tick := time.Second / time.Duration(hz)
	if e.Nanoseconds != 0 {
		return time.Duration(e.Nanoseconds) - SinceBoot(jiffies, hz)
	}
	return time.Duration(int64(e.Jiffies-jiffies)) * tick
}

// SinceBoot is the time that jiffies tell. They start five minutes before they wrap in
// 32 bits (include/linux/jiffies.h, INITIAL_JIFFIES).
func SinceBoot(jiffies uint64, hz int) time.Duration {
	return time.Duration(jiffies-uint64(uint32(-300*hz))) * (time.Second / time.Duration(hz))
}
