package mutate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// Fault is what a mutated function does instead of its work. Its String is
// what ParseFault reads.
type Fault interface {
	fmt.Stringer
	// change says what to write where in a function. An error says why the
	// function cannot show the fault.
	change(f function) (change, error)
}

// function is one that is to be changed.
type function struct {
	arch  arch.Arch
	addr  uint64
	body  []byte
	entry int // length of its entry hooks
	t     *tables
}

// change is what a fault does to a function.
type change struct {
	off  int // in the function
	code []byte
	// unlock is the routine that is no longer called there.
	unlock string
	// harmless names lists of code that boot rewrites in which the place may be.
	harmless []string
}

// atEntry puts the code right behind the function's entry hooks.
func (f function) atEntry(code func(at site) ([]byte, error)) (change, error) {
	b, err := code(site{arch: f.arch, addr: f.addr + uint64(f.entry), t: f.t})
	if err != nil {
		return change{}, err
	}
	if f.entry+len(b) > len(f.body) {
		return change{}, fmt.Errorf("too short: %d bytes behind its entry, %d are needed", len(f.body)-f.entry, len(b))
	}
	return change{off: f.entry, code: b}, nil
}

// site is where a fault's code will lie.
type site struct {
	arch arch.Arch
	addr uint64 // of its first byte
	t    *tables
}

// Return makes the function return 0 at once, or nothing where it is void.
var Return Fault = returns(0)

// ReturnError makes the function return a negative errno at once, such as
// ReturnError(-12) for -ENOMEM. The value is between -4095 and -1 (MAX_ERRNO,
// include/linux/err.h).
func ReturnError(errno int) (Fault, error) {
	if errno > -1 || errno < -4095 {
		return nil, fmt.Errorf("return value %d is no error: want -4095 to -1", errno)
	}
	return returns(errno), nil
}

// The faults that keep a function from ever coming back.
var (
	// Spin is an endless loop; interrupts stay as they are.
	Spin Fault = fixedCode{"spin", "\xeb\xfe", []uint32{0x14000000}} // jmp . ; b .
	// SpinIRQsOff is an endless loop with interrupts masked. Both x86
	// instructions are in the loop, so that a CPU that resumes inside it by
	// an NMI masks them again.
	SpinIRQsOff Fault = fixedCode{"spin-irqs-off", "\xfa\xeb\xfd", []uint32{0xd5034fdf, 0x14000000}} // cli; jmp to it ; msr daifset, #15; b .
	// Sleep puts the calling task to uninterruptible sleep for ever, with
	// the kernel's own msleep. It is for code that may sleep: elsewhere the
	// kernel complains, and goes on or crashes.
	Sleep Fault = sleeps{}
	// Crash is an undefined instruction on x86 and an unknown breakpoint on
	// arm64: an oops in most places, a panic in some.
	Crash Fault = fixedCode{"crash", "\x0f\x0b", []uint32{0xd4200020}} // ud2 ; brk #1
	// Reset resets the machine without a word: on x86 by a triple fault, on
	// arm64 by PSCI's SYSTEM_RESET with hvc, as QEMU's virt offers it.
	Reset Fault = fixedCode{"reset",
		// push 0; push 0; lidt [rsp]; int3, with no vector left for it
		"\x6a\x00\x6a\x00\x0f\x01\x1c\x24\xcc",
		// mov w0, #9; movk w0, #0x8400, lsl #16; hvc #0; b .
		[]uint32{0x52800120, 0x72b08000, 0xd4000002, 0x14000000}}
)

// Faults lists the names that ParseFault reads, for help texts.
func Faults() []string {
	return []string{"return", "return:-ERRNO", "spin", "spin-irqs-off", "sleep", "leak-lock", "crash", "reset"}
}

// ParseFault reads the name of a fault; see Faults.
func ParseFault(s string) (Fault, error) {
	for _, f := range []Fault{Return, Spin, SpinIRQsOff, Sleep, LeakLock, Crash, Reset} {
		if s == f.String() {
			return f, nil
		}
	}
	value, is := strings.CutPrefix(s, "return:")
	if !is {
		return nil, fmt.Errorf("unknown fault %q: use one of %s", s, strings.Join(Faults(), ", "))
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		return nil, fmt.Errorf("fault %q: %q is not a number", s, value)
	}
	return ReturnError(n)
}

type returns int

func (r returns) String() string {
	if r == 0 {
		return "return"
	}
	return fmt.Sprintf("return:%d", int(r))
}

func (r returns) change(f function) (change, error) { return f.atEntry(r.code) }

func (r returns) code(at site) ([]byte, error) {
	switch {
	case at.arch == arch.X86_64 && r == 0:
		return []byte{0x31, 0xc0, 0xc3}, nil // xor eax,eax; ret
	case at.arch == arch.X86_64:
		return append(le.AppendUint32([]byte{0x48, 0xc7, 0xc0}, uint32(int32(r))), 0xc3), nil // mov rax,imm32; ret
	case at.arch == arch.AArch64:
		mov := uint32(0xd2800000) // mov x0, #0
		if r != 0 {
			mov = 0x92800000 | uint32(-r-1)<<5 // movn x0, #(-r-1)
		}
		return words(mov, 0xd65f03c0), nil // ret
	}
	return nil, noCode(at.arch)
}

// fixedCode is a fault whose code is the same everywhere.
type fixedCode struct {
	name string
	x86  string
	arm  []uint32
}

func (f fixedCode) String() string { return f.name }

func (f fixedCode) change(fn function) (change, error) { return fn.atEntry(f.code) }

func (f fixedCode) code(at site) ([]byte, error) {
	switch at.arch {
	case arch.X86_64:
		return []byte(f.x86), nil
	case arch.AArch64:
		return words(f.arm...), nil
	}
	return nil, noCode(at.arch)
}

type sleeps struct{}

func (sleeps) String() string { return "sleep" }

// sleeper is void msleep(unsigned int msecs), kernel/time/timer.c: it sleeps
// in TASK_UNINTERRUPTIBLE until the time is over.
const sleeper = "msleep"

func (s sleeps) change(f function) (change, error) { return f.atEntry(s.code) }

func (sleeps) code(at site) ([]byte, error) {
	to, ok := at.t.table.Lookup(sleeper)
	if !ok {
		return nil, fmt.Errorf("the kernel has no %s to sleep with", sleeper)
	}
	switch at.arch {
	case arch.X86_64:
		return sleepX86(at, to)
	case arch.AArch64:
		return sleepARM64(at, to)
	}
	return nil, noCode(at.arch)
}

// sleepX86 moves the stack pointer to where the kernel's unwinder looks for it
// at the call, so that a backtrace goes on to the function's callers.
func sleepX86(at site, to uint64) ([]byte, error) {
	const end = 14 // of the call
	delta := int64(to - (at.addr + end))
	if delta != int64(int32(delta)) {
		return nil, fmt.Errorf("%s is too far away", sleeper)
	}
	b := []byte{0x48, 0x83, 0xec, at.t.orcDepth(at.addr + end - 1)} // sub rsp, imm8
	b = le.AppendUint32(append(b, 0xbf), 0x7fffffff)                // mov edi, 2^31-1 ms
	b = le.AppendUint32(append(b, 0xe8), uint32(int32(delta)))      // call
	return append(b, 0xeb, 0xf4), nil                               // jmp to the mov
}

// sleepARM64 makes the frame record that the kernel's unwinder follows.
func sleepARM64(at site, to uint64) ([]byte, error) {
	const call = 12
	delta := int64(to - (at.addr + call))
	if delta >= 1<<27 || delta < -1<<27 {
		return nil, fmt.Errorf("%s is too far away", sleeper)
	}
	return words(
		0xa9bf7bfd,                            // stp x29, x30, [sp, #-16]!
		0x910003fd,                            // mov x29, sp
		0x12b00000,                            // mov w0, #0x7fffffff ms
		0x94000000|uint32(delta>>2)&0x3ffffff, // bl
		0x17fffffe,                            // b .-8
	), nil
}

func words(code ...uint32) []byte {
	var b []byte
	for _, w := range code {
		b = le.AppendUint32(b, w)
	}
	return b
}

func noCode(a arch.Arch) error { return fmt.Errorf("no code for architecture %q", a) }
