// Package isa is the table of what the harness knows of instruction sets and
// their kernels: registers, system calls, page tables, code, and what QEMU, gdb
// and core files call them. Packages that read a guest ask it; none compares with
// the name of an architecture.
//
// To add an architecture, add it to scenarios/arch, write a file like
// x86_64.go, and add it to the table. If its stacks are unwound in a new way,
// guestmem/unwind needs that, too (see Unwinding).
package isa

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// table has one entry for each architecture.
var table = []*ISA{&x86, &arm64}

// All lists every architecture.
func All() []*ISA { return slices.Clone(table) }

// Of returns what is known of an architecture, nil for one that is not in the
// table.
func Of(a arch.Arch) *ISA { return find(func(i *ISA) bool { return i.Arch == a }) }

// ByMachine returns the architecture of an ELF file, nil for one that is not in
// the table.
func ByMachine(m elf.Machine) *ISA {
	a, _ := arch.OfELF(uint16(m)) // "" is in no table
	return Of(a)
}

// ByFirstLine returns the architecture whose kernels alone begin with such a line, ""
// where it is none's.
func ByFirstLine(line []byte) arch.Arch {
	if i := find(func(i *ISA) bool { return i.FirstLine != "" && bytes.HasPrefix(line, []byte(i.FirstLine)) }); i != nil {
		return i.Arch
	}
	return ""
}

// Find is Of with an error.
func Find(a arch.Arch) (*ISA, error) {
	if i := Of(a); i != nil {
		return i, nil
	}
	return nil, fmt.Errorf("unknown architecture %q", a)
}

func find(is func(*ISA) bool) *ISA {
	if i := slices.IndexFunc(table, is); i >= 0 {
		return table[i]
	}
	return nil
}

// Memory reads virtual memory. Read fills p or returns an error.
type Memory interface {
	Read(addr uint64, p []byte) error
}

// PhysMemory reads guest-physical memory. ReadPhys fills p or returns an error.
type PhysMemory interface {
	ReadPhys(addr uint64, p []byte) error
}

// ISA is one architecture.
type ISA struct {
	Arch arch.Arch

	// DWARF are the numbers of the registers that an unwinder needs.
	DWARF DWARF
	// PtRegs is the kernel's struct pt_regs.
	PtRegs PtRegs
	// Core is the registers in the NT_PRSTATUS notes of QEMU's dumps.
	Core Core
	// GDB is how QEMU's gdb stub numbers the registers.
	GDB GDB
	// monitor reads the registers of one vCPU as QEMU's monitor shows them; false
	// where they are not this architecture's.
	monitor func(fields) (model.VCPU, bool)

	// Syscalls are the names of the system calls by number, "" for a gap, and
	// EntryPrefixes what stands before the name in the names of the functions
	// that enter them: of the kernel's own ABI, and of the 32-bit one.
	Syscalls                      []string
	EntryPrefixes, CompatPrefixes []string
	// TraceArgs are the registers with a system call's arguments as the kernel
	// prints them behind a task's stack; empty where it prints no registers.
	TraceArgs []string
	// FirstLine is a line that only kernels of this architecture begin with; ""
	// where there is none.
	FirstLine string

	Unwinding Unwinding
	// Saved are the fields of task_struct with the registers of a task that was
	// scheduled away. FP and PC are nil where they are on the task's stack.
	Saved Saved
	// Current are the per-CPU variables that may point to the running task.
	Current []Variable
	// AfterCall says whether the instruction before the address is a call.
	AfterCall func(m Memory, addr uint64) bool
	// Strip removes an authentication code from a pointer to kernel code.
	Strip func(p uint64, isCode func(uint64) bool) uint64
	// LinkLive says whether a function surely has its return address in the link
	// register at an offset of its code; nil where there is no such register.
	LinkLive func(code []byte, off int) bool
	// Leaf finds the caller of a function without a frame: where it returns to,
	// its stack pointer, and which function it called.
	Leaf func(m Memory, sp, lr uint64) (pc, callerSP, target uint64, ok bool)

	// Align are the alignments of the kernel in RAM, to be tried in this order.
	Align []uint64
	// Export is exported data whose name is no part of another string.
	Export string
	// Voffset is the variable that holds the distance of the kernel's virtual from
	// its physical addresses, "" where there is none; 0 until the kernel runs at
	// its virtual address.
	Voffset string
	// Raw reads the header of an unpacked kernel; nil where that is an ELF file.
	Raw func(payload []byte) (size uint64, pageShift uint, ok bool)
	// Relative is the type of relocation that fills a pointer of the image; 0
	// where the pointers are there without.
	Relative uint64
	// Refs returns the addresses that code makes, loads or stores, in the order
	// of the code; nil where that is not known.
	Refs func(addr uint64, code []byte) []uint64
	// Insn reads the instruction that code begins with, and its length in bytes, 0 for
	// none.
	Insn func(code []byte) (Insn, int)
	// Switch tells tasks that were scheduled away by the kernel's code alone; nil
	// where that is not known.
	Switch *Switch
	// Tables are the shapes that page tables with this root may have.
	Tables func(root uint64, pageShift uint) []Tables
	// TableEntry says whether a page table's entry points to a further table.
	TableEntry func(e uint64) bool
	// TopTable returns the physical address of the kernel's top page table,
	// given its virtual one and the numbers of the kernel's VMCOREINFO note.
	TopTable func(virt uint64, number func(key string) uint64) uint64

	// RAMBase is where the memory of QEMU's machines begins.
	RAMBase uint64
	// Linked returns the link-time address of a physical one, for a kernel that
	// QEMU loaded itself; start is the link-time address of _text.
	Linked func(start, phys uint64) uint64
	// Crash are the options that crash needs for a kernel that was moved.
	Crash func(link, offset, physBase uint64) string
}

// DWARF are register numbers; -1 stands for a register that does not exist.
type DWARF struct {
	SP, FP int
	// LR is the register with the return address, -1 where calls push it.
	LR int
	// PC is the program counter, where it has a number.
	PC int
}

// PtRegs is struct pt_regs.
type PtRegs struct {
	// Words is its size in words of 8 bytes.
	Words int
	// IsUser says that the words are registers of user space. careful is for
	// words that may be anything.
	IsUser func(words []uint64, careful bool) bool
	// Registers and User take the words for registers that were saved in the
	// kernel, and at the entry from user space.
	Registers func(words []uint64) model.Registers
	User      func(words []uint64) model.UserRegs
	// Result and PC are the offsets of a system call's result and of the program
	// counter, in bytes.
	Result, PC uint64
	// Back is by how many bytes the kernel turns the program counter back to
	// restart a system call.
	Back uint64
}

// Core is the registers of a core file's note.
type Core struct {
	Words int
	VCPU  func(words []uint64) model.VCPU
}

// GDB are register numbers of QEMU's gdb stub (gdb-xml/).
type GDB struct {
	Breakpoint int // the kind of a breakpoint
	SP, PC     int
	Args       [2]int // the first arguments of a function
	// LR is the register with the return address, -1 where calls push it.
	LR int
	// General is how many registers a call may change: those from 0 on.
	General int
	// Flags is the one of them that has 4 bytes, not 8.
	Flags int
	// IRQs is its bit for interrupts, On what that is where they are taken.
	IRQs uint
	On   uint64
}

// TakesIRQs says whether a vCPU with such flags takes interrupts.
func (g GDB) TakesIRQs(flags uint64) bool { return flags>>g.IRQs&1 == g.On }

// Unwinding is a way to unwind kernel stacks.
type Unwinding string

// The ways that guestmem/unwind knows.
const (
	ORC          Unwinding = "ORC"           // x86's tables, or its frame pointers
	FrameRecords Unwinding = "frame records" // arm64's chain of {x29, x30}
)

// Saved are paths of fields in task_struct.
type Saved struct{ SP, FP, PC []string }

// Variable is a pointer in a variable: the field of a type, or all of it.
type Variable struct{ Name, Field string }

// Switch is the code by which one task switches to another.
type Switch struct {
	// From calls To; Saves is the code in To that saves the frame pointer, the
	// stack pointer and the return address, one behind the other.
	From, To string
	Saves    []byte
	// Returns are the addresses behind the calls of a function in code.
	Returns func(addr uint64, code []byte, callee uint64) []uint64
}

// ErrNotMapped says that the page tables have no page at a virtual address.
var ErrNotMapped = errors.New("not mapped")

// Tables is one set of page tables. They are hostile input: a walk takes as many
// steps as there are levels and no more, whatever they hold.
type Tables interface {
	// Walk returns the physical address of a virtual one and the size of the
	// page it lies in, in bytes. The error is ErrNotMapped or one of the
	// memory's.
	Walk(m PhysMemory, va uint64) (pa, page uint64, err error)
	// User returns the tables of a process with this root under the same
	// kernel, and how many bits a user address has.
	User(root uint64) (t Tables, bits uint)
}

// Syscall returns the name of a system call; "" for an unknown number.
func (i *ISA) Syscall(nr int) string {
	if i == nil || nr < 0 || nr >= len(i.Syscalls) {
		return ""
	}
	return i.Syscalls[nr]
}

// SyscallNumber returns the number of a system call; -1 for an unknown name.
func (i *ISA) SyscallNumber(name string) int {
	if i == nil || name == "" {
		return -1
	}
	return slices.Index(i.Syscalls, name)
}

func entry(m PhysMemory, table, index uint64) (uint64, error) {
	var b [8]byte
	if err := m.ReadPhys(table+8*index, b[:]); err != nil {
		return 0, fmt.Errorf("read page table: %w", err)
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}
