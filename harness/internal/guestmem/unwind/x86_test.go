package unwind_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/internal/guestmem/unwind"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

const (
	userPC = 0x4085ce
	userSP = 0x7ffd46971000
)

// ptRegs is a struct pt_regs of x86_64.
func ptRegs(origAX, ip, cs, sp, ss uint64) []uint64 {
	r := make([]uint64, 21)
	for i := range r {
		r[i] = uint64(0x1000 + i)
	}
	r[4] = 0x7ffd46971040 // bp
	r[15], r[16], r[17], r[19], r[20] = origAX, ip, cs, sp, ss
	return r
}

// ret is a return address in a function, at a place that follows a call.
func ret(name string) uint64 { return fn(text, name) + 0x48 }

// sleepingInSyscall writes the stack of a task in leaf, middle, outer and the
// system call's entry.
func sleepingInSyscall(m fakeMemory, nr uint64) unwind.Saved {
	regs := uint64(top - 168)
	m.words(regs, ptRegs(nr, userPC, 0x33, userSP, 0x2b)...)
	bp := regs - 0x20 // middle's frame: saved bp, return address
	sp := uint64(stack + 0x3000)
	m.words(sp, 0, 0, 0, 0, 0, bp, ret("leaf"), 0xdead, ret("middle"))
	m.words(bp, 0xbbbb, ret("outer"), 0xdead, ret("entry_SYSCALL_64"))
	return unwind.Saved{SP: sp, Stack: unwind.Range{Start: stack, End: top}}
}

func TestX86Sleeping(t *testing.T) {
	for _, f := range orcForms {
		t.Run(f.name, func(t *testing.T) {
			u, m := x86Unwinder(t, f)
			if !strings.HasPrefix(u.Method(), "ORC") {
				t.Fatal(u.Method())
			}
			tr := u.Sleeping(sleepingInSyscall(m, 318))
			want := []string{"leaf", "middle", "outer", "entry_SYSCALL_64"}
			if d := cmp.Diff(want, names(tr)); d != "" || tr.End.Kind != unwind.UserEntry {
				t.Fatalf("%s\n%+v", d, tr.End)
			}
			if s := tr.Frames[0].String(); s != "leaf+0x48/0x100" {
				t.Errorf("first frame %s", s)
			}
			r := tr.User
			if r == nil || !r.Syscall || r.Number != 318 || r.PC != userPC || r.SP != userSP || r.FP != 0x7ffd46971040 ||
				r.Addr != top-168 || r.Args != [6]uint64{0x100e, 0x100d, 0x100c, 0x1007, 0x1009, 0x1008} {
				t.Errorf("user registers %+v", r)
			}
			if tr := u.Sleeping(sleepingInSyscall(m, ^uint64(0))); tr.User == nil || tr.User.Syscall || tr.User.Number != -1 {
				t.Errorf("an exception gave %+v", tr.User)
			}
		})
	}
}

func TestX86KernelThread(t *testing.T) {
	u, m := x86Unwinder(t, orcForms[2])
	sp := uint64(top - 0x100)
	m.words(sp, 0, 0, 0, 0, 0, 0, ret("leaf"), 0, ret("ret_from_fork"))
	tr := u.Sleeping(unwind.Saved{SP: sp})
	if d := cmp.Diff([]string{"leaf", "ret_from_fork"}, names(tr)); d != "" || tr.End.Kind != unwind.KernelEntry || tr.User != nil {
		t.Errorf("%s\n%+v", d, tr)
	}
	// A task that has not run yet.
	m.words(sp, 0, 0, 0, 0, 0, 0, fn(text, "ret_from_fork"))
	tr = u.Sleeping(unwind.Saved{SP: sp})
	if d := cmp.Diff([]string{"!ret_from_fork"}, names(tr)); d != "" || tr.End.Kind != unwind.KernelEntry {
		t.Errorf("%s\n%+v", d, tr.End)
	}
}

// TestX86Interrupted goes from the interrupt stack through saved registers to
// the task's stack, where the interrupted function is at its first instruction.
func TestX86Interrupted(t *testing.T) {
	for _, f := range orcForms {
		u, m := x86Unwinder(t, f)
		s := sleepingInSyscall(m, 0)
		regs := uint64(stack + 0x2000)
		m.words(irqs+0x100, 0xdead, ret("swizzle"), regs-8)
		m.words(regs-8, ret("asm_interrupt"))
		m.words(regs, fn(text, "leaf"), 0x10, 0x202, s.SP+56, 0x18)
		tr := u.Running(model.Registers{PC: fn(text, "on_irq"), SP: irqs + 0x100, FP: top - 168 - 0x20}, s.Stack)
		want := []string{"!on_irq", "swizzle", "asm_interrupt", "!leaf", "middle", "outer", "entry_SYSCALL_64"}
		if d := cmp.Diff(want, names(tr)); d != "" || tr.End.Kind != unwind.UserEntry {
			t.Errorf("%s: %s\n%+v", f.name, d, tr.End)
		}
		if tr.Frames[3].PC != fn(text, "leaf") || tr.Frames[3].Offset != 0 {
			t.Errorf("%s: interrupted at %+v", f.name, tr.Frames[3])
		}
	}
}

func TestX86RealignedFrame(t *testing.T) {
	u, m := x86Unwinder(t, orcForms[3])
	sp, bp := uint64(stack+0x3000), uint64(stack+0x3100)
	m.words(sp, 0, 0, 0, 0, 0, bp, ret("realigned"))
	m.words(bp-8, stack+0x3200)
	m.words(stack+0x3200-16, 0, ret("ret_from_fork"))
	tr := u.Sleeping(unwind.Saved{SP: sp})
	if d := cmp.Diff([]string{"realigned", "ret_from_fork"}, names(tr)); d != "" || tr.End.Kind != unwind.KernelEntry {
		t.Errorf("%s\n%+v", d, tr.End)
	}
}

// TestX86CallAtEnd: a call that is a function's last instruction returns to the
// next function's start, and is named by the function it is in.
func TestX86CallAtEnd(t *testing.T) {
	u, m := x86Unwinder(t, orcForms[1])
	sp := uint64(top - 0x100)
	m.words(sp, 0, 0, 0, 0, 0, 0, fn(text, "leaf")+0x100, 0, ret("ret_from_fork"))
	tr := u.Sleeping(unwind.Saved{SP: sp})
	if len(tr.Frames) == 0 || tr.Frames[0].String() != "leaf+0x100/0x100" {
		t.Errorf("%v", tr.Frames)
	}
}

// TestX86Resync: where no ORC entry helps, a word from which the way leads to
// an end is taken, as a guess.
func TestX86Resync(t *testing.T) {
	u, m := x86Unwinder(t, orcForms[2])
	s := sleepingInSyscall(m, 7)
	m.words(s.SP+48, ret("undefined"))
	m.words(s.SP+56, 0x1234, 0, 0, ret("outer"), 0, ret("entry_SYSCALL_64"), 0)
	m.words(s.SP+56+48, ptRegs(7, userPC, 0x33, userSP, 0x2b)...)
	tr := u.Sleeping(s)
	want := []string{"undefined", "?outer", "?entry_SYSCALL_64"}
	if d := cmp.Diff(want, names(tr)); d != "" || tr.End.Kind != unwind.UserEntry || !strings.Contains(tr.End.Why, "undefined") || tr.Reliable() {
		t.Errorf("%s\n%+v", d, tr.End)
	}
	// No way to an end: all that look like return addresses, and the user's
	// registers at the top of the stack.
	m.words(s.SP+56+40, 0)
	tr = u.Sleeping(s)
	want = []string{"undefined", "?outer", "?outer", "?entry_SYSCALL_64"}
	if d := cmp.Diff(want, names(tr)); d != "" && !slices.Contains(names(tr), "?outer") || tr.User == nil {
		t.Errorf("%s\n%+v", d, tr)
	}
}

func TestX86FramePointers(t *testing.T) {
	m, s := x86Kernel(orcForms[0].lines())
	s = slices.DeleteFunc(s, func(e fakeSymbol) bool { return e.name == "__start_orc_unwind" })
	u := newUnwinder(t, unwind.Config{Arch: arch.X86_64, Memory: m, Symbols: s})
	if !strings.HasPrefix(u.Method(), "frame pointers (no ORC") {
		t.Fatal(u.Method())
	}
	regs := uint64(top - 168)
	m.words(regs, ptRegs(35, userPC, 0x33, userSP, 0x2b)...)
	inner := uint64(stack + 0x2000) // registers of an interrupt in the kernel
	kregs := ptRegs(^uint64(0), fn(text, "middle"), 0x10, stack+0x3000, 0x18)
	kregs[4] = stack + 0x3000
	m.words(inner, kregs...)
	m.words(stack+0x3000, regs-16, ret("outer"))
	m.words(regs-16, 0, ret("entry_SYSCALL_64"))
	m.words(stack+0x1000, inner|1, ret("asm_interrupt"))
	tr := u.Running(model.Registers{PC: fn(text, "leaf"), SP: stack + 0xf00, FP: stack + 0x1000}, unwind.Range{Start: stack, End: top})
	want := []string{"!leaf", "asm_interrupt", "!middle", "outer", "entry_SYSCALL_64"}
	if d := cmp.Diff(want, names(tr)); d != "" || tr.End.Kind != unwind.UserEntry || tr.User.Number != 35 {
		t.Errorf("%s\n%+v", d, tr.End)
	}
}

func TestX86Loops(t *testing.T) {
	u, m := x86Unwinder(t, orcForms[0])
	s := sleepingInSyscall(m, 0)
	m.words(top-168-0x20, top-168-0x20, ret("middle")) // a frame that is its own caller
	if tr := u.Sleeping(s); tr.End.Kind == unwind.UserEntry && tr.Reliable() || !strings.Contains(tr.End.Why, "circular") {
		t.Errorf("%+v", tr.End)
	}
	// Two stacks that point at each other for ever.
	a, b := uint64(stack+0x100), uint64(irqs+0x100)
	m.words(a, ret("swizzle"), b)
	m.words(b, ret("swizzle"), a+8)
	m.words(a+8, b)
	m.words(b-8, ret("swizzle"))
	m.words(a-8, ret("swizzle"))
	tr := u.Running(model.Registers{PC: fn(text, "swizzle"), SP: b}, s.Stack)
	if tr.End.Kind != unwind.Stopped || len(tr.Frames) > 300 {
		t.Errorf("%d frames, %+v", len(tr.Frames), tr.End)
	}
}

func TestX86NullCallAndUser(t *testing.T) {
	u, m := x86Unwinder(t, orcForms[2])
	m.words(top-0x80, ret("leaf"), 0, ret("ret_from_fork"))
	tr := u.Running(model.Registers{PC: 0, SP: top - 0x80}, unwind.Range{})
	if d := cmp.Diff([]string{"!", "leaf", "ret_from_fork"}, names(tr)); d != "" {
		t.Errorf("%s\n%+v", d, tr)
	}
	tr = u.Running(model.Registers{PC: userPC, SP: userSP, User: true}, unwind.Range{})
	if tr.End.Kind != unwind.InUser || len(tr.Frames) != 0 || tr.User.PC != userPC {
		t.Errorf("%+v", tr)
	}
}

// TestORCUnsorted: tables that the kernel has not sorted yet, and tables that
// only the image has whole.
func TestORCUnsorted(t *testing.T) {
	f := orcForms[0]
	lines := f.lines()
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(lines), func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	m, s := x86Kernel(lines)
	u := newUnwinder(t, unwind.Config{Arch: arch.X86_64, Memory: m, Symbols: s})
	if tr := u.Sleeping(sleepingInSyscall(m, 1)); tr.End.Kind != unwind.UserEntry || !tr.Reliable() {
		t.Errorf("%v %+v", names(tr), tr.End)
	}

	image, _ := x86Kernel(lines)
	for i := range uint64(8) {
		m.write(text+2*data+i*64, make([]byte, 64)...)
	}
	u = newUnwinder(t, unwind.Config{Arch: arch.X86_64, Memory: m, Image: image, Symbols: s})
	if tr := u.Sleeping(sleepingInSyscall(m, 1)); tr.End.Kind != unwind.UserEntry || !tr.Reliable() {
		t.Errorf("from the image: %v %+v", names(tr), tr.End)
	}
}

// TestX86Module: a module's own tables, and a module without any.
func TestX86Module(t *testing.T) {
	const mod, modORC = 0xffffffffc0000000, 0xffffffffc0010000
	f := orcForms[3]
	for _, tables := range []bool{true, false} {
		m, s := x86Kernel(f.lines())
		m.write(mod, make([]byte, 0x100)...)
		m.write(mod+0x43, 0xe8, 0, 0, 0, 0)
		m.insns(modORC, 0xffff0000) // mod - modORC
		m.write(modORC+0x100, 16, 0, 0, 0, byte(f.sp), byte(f.call>>8))
		module := unwind.Module{Name: "evil", Text: []unwind.Range{{Start: mod, End: mod + 0x100}}}
		if tables {
			module.ORCIP, module.ORC, module.ORCCount = modORC, modORC+0x100, 1
		}
		u := newUnwinder(t, unwind.Config{Arch: arch.X86_64, Memory: m, Symbols: s, Modules: []unwind.Module{module}})
		sp := uint64(top - 0x100)
		m.words(sp, 0, 0, 0, 0, 0, 0, ret("leaf"), 0, mod+0x48, 0, ret("ret_from_fork"))
		tr := u.Sleeping(unwind.Saved{SP: sp, Stack: unwind.Range{Start: stack, End: top}})
		want := []string{"leaf", "", "ret_from_fork"}
		if !tables {
			want[2] = "?ret_from_fork"
		}
		if d := cmp.Diff(want, names(tr)); d != "" || tr.Frames[1].Module != "evil" || tr.Reliable() != tables {
			t.Errorf("tables %v: %s\n%+v", tables, d, tr)
		}
	}
}

func TestNewErrors(t *testing.T) {
	m, s := x86Kernel(orcForms[0].lines())
	for _, c := range []unwind.Config{
		{}, {Arch: "riscv64", Memory: m, Symbols: s}, {Arch: arch.X86_64, Memory: m}, {Arch: arch.X86_64, Memory: m, Symbols: fakeSymbols{}},
	} {
		if u, err := unwind.New(c); err == nil || u != nil {
			t.Errorf("%+v: %v %v", c, u, err)
		}
	}
}

func TestShift(t *testing.T) {
	s := unwind.Shift(symbols(text), 0x200000)
	if a, ok := s.Lookup("leaf"); !ok || a != fn(text, "leaf")+0x200000 {
		t.Errorf("Lookup %#x %v", a, ok)
	}
	if n, off, size, ok := s.Nearest(ret("outer") + 0x200000); n != "outer" || off != 0x48 || size != 0x100 || !ok {
		t.Errorf("Nearest %s %#x %#x %v", n, off, size, ok)
	}
}
