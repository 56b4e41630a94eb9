package guestmem_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	fake "github.com/unwedge/unwedge/harness/internal/guestmem/guestmemtest"
)

func TestSleeper(t *testing.T) {
	g := fake.Booted()
	s, err := fake.Kernel().Sleeper(t.Context(), g.Reader(), guestmem.ParseRegisters(fake.IdleRegisters()), 1, []string{"schedule", "no_such_function"})
	if err != nil {
		t.Fatal(err)
	}
	const stackSize, ptRegs = 0x4000, 168
	want := &guestmem.Sleeper{
		PID: 1, Comm: "init", State: "S", Task: fake.Direct + fake.TaskInit,
		Stack: fake.Direct + fake.StackInit, StackEnd: fake.Direct + fake.StackInit + stackSize,
		Regs: fake.Direct + fake.StackInit + stackSize - ptRegs, Number: 318, PC: 0x7f0000001234,
		Symbols: map[string]uint64{"schedule": fake.Func("schedule") - 0x10},
	}
	if d := cmp.Diff(want, s); d != "" {
		t.Errorf("sleeper (-want +got):\n%s", d)
	}
}

func TestNoSleepers(t *testing.T) {
	running := fake.Booted()
	running.Put(fake.PhysBase+fake.CurrentTask, fake.Direct+fake.TaskInit)
	const inUser = "CPU#0\nRIP=00007f0000005678 RFL=00000202 [-------] CPL=3 II=0 A20=1 SMM=0 HLT=0\nRSP=00007ffd00000000\n"
	for name, tt := range map[string]struct {
		g         fake.Guest
		registers string
		pid       int
	}{
		"a kernel thread":           {fake.Booted(), fake.IdleRegisters(), 2},
		"no user space":             {fake.Booted(), fake.IdleRegisters(), 3},
		"an idle task":              {fake.Booted(), fake.IdleRegisters(), 0},
		"a task that there is not":  {fake.Booted(), fake.IdleRegisters(), 77},
		"a task that runs":          {running, inUser, 1},
		"no list of tasks as yet":   {fake.Early(), fake.IdleRegisters(), 1},
		"a PID that cannot be true": {fake.Booted(), fake.IdleRegisters(), -1},
	} {
		s, err := fake.Kernel().Sleeper(t.Context(), tt.g.Reader(), guestmem.ParseRegisters(tt.registers), tt.pid, nil)
		if s != nil || !errors.Is(err, guestmem.ErrNotInSyscall) {
			t.Errorf("%s: %+v, %v; want ErrNotInSyscall", name, s, err)
		}
	}
}

// Damaged memory gives an error or a task whose numbers are plausible.
func TestSleeperBroken(t *testing.T) {
	k := fake.Kernel()
	for at := uint64(fake.StackInit + 0x3000); at < fake.StackInit+0x4000; at += 8 {
		for _, v := range []uint64{0, ^uint64(0), fake.Direct + fake.StackInit} {
			g := fake.Booted()
			g.Put(at, v)
			s, err := k.Sleeper(t.Context(), g.Reader(), guestmem.ParseRegisters(fake.IdleRegisters()), 1, nil)
			if (s == nil) == (err == nil) {
				t.Fatalf("%+v and %v", s, err)
			}
			if s != nil && (s.Number < 0 || s.Regs < s.Stack || s.Regs >= s.StackEnd) {
				t.Errorf("%#x at %#x: %+v", v, at, s)
			}
		}
	}
}
