package model

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
