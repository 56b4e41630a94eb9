package unwind_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/internal/guestmem/unwind"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Instructions.
const (
	insnNop  = 0xd503201f
	insnBL   = 0x94000000
	insnStp  = 0xa9be7bfd // stp x29, x30, [sp, #-32]!
	insnLdp  = 0xa8c27bfd // ldp x29, x30, [sp], #32
	insnRet  = 0xd65f03c0
	userMode = 0x20001000
)

// arm64Kernel is a kernel whose functions, but for leaf, make a frame at +8,
// call at +0x44 and take the frame down at +0xf4.
func arm64Kernel() (fakeMemory, fakeSymbols) {
	m := fakeMemory{}
	for _, name := range functions {
		for i := range uint64(0x40) {
			in := uint32(insnNop)
			switch {
			case i == 0x44/4:
				in = insnBL
			case i == 0xf8/4:
				in = insnRet
			case name == "leaf":
			case i == 2:
				in = insnStp
			case i == 0xf4/4:
				in = insnLdp
			}
			m.insns(fn(atext, name)+4*i, in)
		}
	}
	for _, s := range []uint64{stack, irqs} {
		for a := s; a < s+0x4000; a += 4096 {
			m.words(a, 0)
		}
	}
	return m, symbols(atext)
}

func arm64Unwinder(t testing.TB) (*unwind.Unwinder, fakeMemory) {
	t.Helper()
	m, s := arm64Kernel()
	return newUnwinder(t, unwind.Config{Arch: arch.AArch64, Memory: m, Symbols: s}), m
}

func aret(name string) uint64 { return fn(atext, name) + 0x48 }

// arm64Regs is a struct pt_regs, with the frame record of 6.13 or of before.
func arm64Regs(pc, sp, pstate uint64, nr int32, meta uint64) []uint64 {
	r := make([]uint64, 42)
	for i := range 31 {
		r[i] = uint64(0x1000 + i)
	}
	r[29], r[30], r[31], r[32], r[33] = 0xffff00001000, 0xffff00002000, sp, pc, pstate
	r[34], r[35] = 0x77, uint64(uint32(nr))
	if meta != 0 {
		r[37], r[38], r[39] = 0, 0, meta
	} else {
		r[37], r[38], r[39] = 0xabc, 0, 0
	}
	return r
}

// record is where the frame record lies in the pt_regs at an address.
func record(regs uint64, meta bool) uint64 {
	if meta {
		return regs + 296
	}
	return regs + 304
}

func arm64Syscall(m fakeMemory, meta bool) unwind.Saved {
	regs, typ := uint64(top-336), uint64(0)
	if meta {
		regs, typ = top-320, 1
	}
	m.words(regs, arm64Regs(userPC, userSP, userMode, 278, typ)...)
	a := uint64(stack + 0x3000)
	m.words(a, a+0x20, aret("middle"))
	// With a pointer authentication code above the 48 bits of the address.
	m.words(a+0x20, a+0x40, aret("outer")&^(0x7f<<48|0xff<<56)|0x2a<<48|0x95<<56)
	m.words(a+0x40, record(regs, meta), aret("el0t_64_sync"))
	return unwind.Saved{SP: a, FP: a, PC: aret("leaf"), Stack: unwind.Range{Start: stack, End: top}}
}

func TestARM64Sleeping(t *testing.T) {
	for _, meta := range []bool{false, true} {
		u, m := arm64Unwinder(t)
		tr := u.Sleeping(arm64Syscall(m, meta))
		want := []string{"leaf", "middle", "outer", "el0t_64_sync"}
		if d := cmp.Diff(want, names(tr)); d != "" || tr.End.Kind != unwind.UserEntry || !tr.Reliable() {
			t.Fatalf("meta %v: %s\n%+v", meta, d, tr.End)
		}
		r := tr.User
		if r == nil || !r.Syscall || r.Number != 278 || r.PC != userPC || r.SP != userSP ||
			r.FP != 0xffff00001000 || r.LR != 0xffff00002000 ||
			r.Args != [6]uint64{0x77, 0x1001, 0x1002, 0x1003, 0x1004, 0x1005} || len(r.Regs) != 32 || r.Regs[8] != 0x1008 {
			t.Errorf("meta %v: %+v", meta, r)
		}
	}
}

// TestARM64KernelThread: the chain ends in registers that say EL1 since 5.13,
// in a frame pointer of 0 before, and in registers of zeros for idle tasks.
func TestARM64KernelThread(t *testing.T) {
	const at = stack + 0x3000
	for name, c := range map[string]struct {
		last   string
		fp     uint64
		pstate uint64
	}{
		"5.13": {"ret_from_fork", record(top-336, false), 5},
		"6.13": {"ret_from_fork", record(top-336, true), 5},
		"5.10": {"ret_from_fork", 0, 0},
		"idle": {"idle", record(top-336, false), 0},
	} {
		u, m := arm64Unwinder(t)
		regs := make([]uint64, 42)
		regs[33] = c.pstate
		if name == "6.13" {
			regs[39] = 1
		}
		m.words(top-336, regs...)
		m.words(at, c.fp, aret(c.last))
		tr := u.Sleeping(unwind.Saved{SP: at, FP: at, PC: aret("leaf")})
		if d := cmp.Diff([]string{"leaf", c.last}, names(tr)); d != "" || tr.End.Kind != unwind.KernelEntry || tr.User != nil {
			t.Errorf("%s: %s\n%+v", name, d, tr)
		}
	}
}

// TestARM64Interrupted: an interrupt's stack, the registers of the interrupted
// function, and its caller, which only x30 knows.
func TestARM64Interrupted(t *testing.T) {
	for _, meta := range []bool{false, true} {
		for _, c := range []struct {
			pc, lr uint64
			want   string
		}{
			{fn(atext, "leaf") + 0x80, aret("swizzle"), "swizzle"},   // a leaf function
			{fn(atext, "idle") + 4, aret("swizzle"), "swizzle"},      // no frame yet
			{fn(atext, "idle") + 0xf8, aret("swizzle"), "swizzle"},   // no frame any more
			{fn(atext, "idle") + 0x80, fn(atext, "idle") + 0x48, ""}, // left from a call of its own
			{fn(atext, "idle") + 0x80, aret("middle"), ""},           // has a frame
			{fn(atext, "idle") + 0x80, aret("swizzle"), "?swizzle"},  // who knows
			{fn(atext, "idle") + 0x80, 0x1234, ""},
		} {
			u, m := arm64Unwinder(t)
			s := arm64Syscall(m, meta)
			at, typ := uint64(stack+0x2000), uint64(0)
			if meta {
				typ = 2
			}
			regs := arm64Regs(c.pc, s.SP, 5, -1, typ)
			regs[29], regs[30] = s.FP, c.lr
			if !meta {
				regs[38], regs[39] = s.FP, c.pc
			}
			m.words(at, regs...)
			m.words(irqs+0x100, record(at, meta), aret("el1h_64_irq"))
			tr := u.Running(model.Registers{PC: fn(atext, "on_irq") + 0x80, SP: irqs + 0x80, FP: irqs + 0x100, LR: fn(atext, "on_irq") + 0x48}, s.Stack)
			n, _, _, _ := symbols(atext).Nearest(c.pc)
			want := []string{"!on_irq", "el1h_64_irq", "!" + n}
			if c.want != "" {
				want = append(want, c.want)
			}
			want = append(want, "middle", "outer", "el0t_64_sync")
			if d := cmp.Diff(want, names(tr)); d != "" || tr.End.Kind != unwind.UserEntry {
				t.Errorf("meta %v %+v: %s\n%+v", meta, c, d, tr.End)
			}
		}
	}
}

func TestARM64Damaged(t *testing.T) {
	u, m := arm64Unwinder(t)
	s := arm64Syscall(m, false)
	m.words(s.FP+0x20, s.FP, aret("outer")) // back to the start
	tr := u.Sleeping(s)
	if tr.Reliable() || !strings.Contains(tr.End.Why, "circular") || len(tr.Frames) > 10 || tr.User == nil {
		t.Errorf("%v %+v", names(tr), tr.End)
	}
	m.words(s.FP+0x20, 0x4141414141414141, aret("outer"))
	tr = u.Sleeping(s)
	if d := cmp.Diff([]string{"leaf", "middle", "outer", "?el0t_64_sync"}, names(tr)); d != "" || tr.End.Kind != unwind.UserEntry || tr.End.Why == "" {
		t.Errorf("%s\n%+v", d, tr.End)
	}
	// A jump to nowhere.
	m.words(s.FP+0x20, s.FP+0x40, aret("outer"))
	tr = u.Running(model.Registers{PC: 0xffff000012345678, LR: aret("leaf"), SP: s.SP, FP: s.FP}, s.Stack)
	if d := cmp.Diff([]string{"?leaf", "?middle", "?outer", "?el0t_64_sync"}, names(tr)); d != "" || tr.End.Why == "" || tr.User == nil {
		t.Errorf("%s\n%+v", d, tr.End)
	}
}

// TestARM64Trampoline: between user space and the kernel's code proper.
func TestARM64Trampoline(t *testing.T) {
	u, m := arm64Unwinder(t)
	s := arm64Syscall(m, false)
	const page = 0xfffffbfffdbf7c80
	for _, c := range []struct {
		pc, sp uint64
		kind   unwind.EndKind
		user   bool
	}{
		{page, top, unwind.UserEntry, false},
		{page, top - 336, unwind.UserEntry, true},
		{page, top - 0x200, unwind.Stopped, true},
		{fn(atext, "el0t_64_sync"), top, unwind.UserEntry, false},
		{fn(atext, "el0t_64_sync"), top - 0x300, unwind.Stopped, true},
	} {
		tr := u.Running(model.Registers{PC: c.pc, SP: c.sp, FP: userSP}, s.Stack)
		if tr.End.Kind != c.kind || (tr.User != nil) != c.user {
			t.Errorf("%#x %#x: %+v", c.pc, c.sp, tr)
		}
	}
}

func TestARM64Tracer(t *testing.T) {
	u, m := arm64Unwinder(t)
	s := arm64Syscall(m, true)
	m.words(s.FP, s.FP+0x20, fn(atext, "return_to_handler"))
	tr := u.Sleeping(s)
	if d := cmp.Diff([]string{"leaf", "?return_to_handler", "outer", "el0t_64_sync"}, names(tr)); d != "" {
		t.Error(d)
	}
}
