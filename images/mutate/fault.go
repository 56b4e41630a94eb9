package mutate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// machine is what an architecture's machine code differs in.
type machine struct {
	arch arch.Arch
	// elf says that the unpacked kernel is an ELF file, not a raw Image.
	elf bool
	// entry returns the length of what a function begins with that others rely
	// on or rewrite: a landing pad for indirect branches, and ftrace's hook.
	entry func(t *tables, body []byte, addr uint64) int
	// branch decodes one instruction; the target is 0 where it is no branch.
	branch func(f function, off int) (branch, error)
	// without is what stands in for a branch: nothing, or for a tail call the return
	// that the routine would have made.
	without func(b branch) []byte
	// returns is a return of a value, sleep a call of a function that sleeps for good,
	// code the faults that are the same everywhere.
	returns func(value int) []byte
	sleep   func(at site, to uint64) ([]byte, error)
	code    map[fixed][]byte
	// sites are the lists of code that boot rewrites.
	sites []siteTable
}

// machines has a row for each architecture, in a file of its own.
var machines = []*machine{&x86_64, &aarch64}

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
	b, err := code(site{addr: f.addr + uint64(f.entry), t: f.t})
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
		return nil, fmt.Errorf("return value %d is not an error: want -4095 to -1", errno)
	}
	return returns(errno), nil
}

// The faults that keep a function from ever coming back.
var (
	// Spin is an endless loop; interrupts stay as they are.
	Spin Fault = fixed("spin")
	// SpinIRQsOff is an endless loop with interrupts masked.
	SpinIRQsOff Fault = fixed("spin-irqs-off")
	// Sleep puts the calling task to uninterruptible sleep for ever, with
	// the kernel's own msleep. It is for code that may sleep: elsewhere the
	// kernel complains, and goes on or crashes.
	Sleep Fault = sleeps{}
	// Crash is an undefined instruction on x86 and an unknown breakpoint on
	// arm64: an oops in most places, a panic in some.
	Crash Fault = fixed("crash")
	// Reset resets the machine without a word: on x86 by a triple fault, on
	// arm64 by PSCI's SYSTEM_RESET with hvc, as QEMU's virt offers it.
	Reset Fault = fixed("reset")
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

func (r returns) code(at site) ([]byte, error) { return at.t.machine.returns(int(r)), nil }

// fixed is a fault whose code is the same everywhere, see machine.code.
type fixed string

func (f fixed) String() string { return string(f) }

func (f fixed) change(fn function) (change, error) { return fn.atEntry(f.code) }

func (f fixed) code(at site) ([]byte, error) {
	code, ok := at.t.machine.code[f]
	if !ok {
		return nil, fmt.Errorf("this fault has no code for %s", at.t.machine.arch)
	}
	return code, nil
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
	return at.t.machine.sleep(at, to)
}

func words(code ...uint32) []byte {
	var b []byte
	for _, w := range code {
		b = le.AppendUint32(b, w)
	}
	return b
}
