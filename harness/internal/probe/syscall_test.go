package probe_test

import (
	"errors"
	"maps"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/probe"
	"github.com/unwedge/unwedge/harness/internal/probe/gdb"
	"github.com/unwedge/unwedge/harness/internal/probe/gdb/gdbtest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Where things are in the kernel of these tests.
const (
	atWake, atSignal, atLook = 0xffffffff81001000, 0xffffffff81002000, 0xffffffff81003000
	stack, otherStack        = 0xffffc90000010000, 0xffffc90000020000
	stackSize                = 0x4000
	ptRegs                   = stack + stackSize - 0x150
	taskStruct               = 0xffff888003a00000
	userPC                   = 0x40a7ae
)

// kernel plays the part of a kernel in which one task sleeps. What it does next
// when it may run is the next of script.
type kernel struct {
	*gdbtest.Stub
	arch   arch.Arch
	script []func(k *kernel) string
	woken  bool
	before map[int]uint64 // registers of vCPU 1 at wake_up_process
	errs   []string
}

// regs are the numbers of sp, pc and the first two arguments, and the offsets of
// the result and the PC in struct pt_regs.
type regs struct {
	sp, pc, arg0, arg1 int
	result, userPC     uint64
	back               uint64
}

var layouts = map[arch.Arch]regs{
	arch.X86_64:  {7, 16, 5, 4, 0x50, 0x80, 0},
	arch.AArch64: {31, 32, 0, 1, 0, 0x100, 4},
}

func newKernel(a arch.Arch, script ...func(k *kernel) string) *kernel {
	k := &kernel{arch: a, script: script}
	k.Stub = &gdbtest.Stub{
		Regs: map[string]map[int]uint64{}, Memory: map[uint64]byte{}, Breaks: map[uint64]bool{},
		Run: func(_ *gdbtest.Stub, step string) string {
			if step != "" {
				k.Regs[step][layouts[a].pc]++
				return "T05thread:" + step + ";"
			}
			if len(k.script) == 0 {
				return "" // for ever
			}
			next := k.script[0]
			k.script = k.script[1:]
			return next(k)
		},
	}
	for _, cpu := range []string{"01", "02"} {
		k.Regs[cpu] = map[int]uint64{}
		for n := range 40 {
			k.Regs[cpu][n] = uint64(1000 + n)
		}
		k.Regs[cpu][layouts[a].sp] = otherStack + 0x800
	}
	for i := range uint64(0x150) {
		k.Memory[ptRegs+i] = 0
	}
	for i := range uint64(0x1000) {
		k.Memory[otherStack+i] = 0xcc
	}
	k.Put(ptRegs+layouts[a].userPC, userPC)
	return k
}

// comes has a vCPU come to an address, where a breakpoint must be.
func comes(cpu string, addr uint64) func(k *kernel) string {
	return func(k *kernel) string {
		if !k.Breaks[addr] {
			k.errs = append(k.errs, "it ran on, past where it should have stopped")
		}
		k.Regs[cpu][layouts[k.arch].pc] = addr
		if addr == atWake && k.before == nil {
			k.before = maps.Clone(k.Regs[cpu])
		}
		return "T05thread:" + cpu + ";"
	}
}

// returns plays signal_wake_up_state, which vCPU 1 must have been sent to.
func returns(k *kernel) string {
	r, l := k.Regs["01"], layouts[k.arch]
	if r[l.pc] != atSignal || r[l.arg0] != taskStruct || r[l.arg1] != 0 {
		k.errs = append(k.errs, "signal_wake_up_state was not called, or not for the task")
	}
	back := r[30]
	if k.arch == arch.X86_64 {
		back = k.Word(r[l.sp])
		r[l.sp] += 8
	}
	for n := range 18 { // a call may change what it likes
		if n != l.sp && n != l.pc {
			r[n] = 0xbad
		}
	}
	r[l.pc] = back
	k.woken = true
	if back != atWake || !k.Breaks[atWake] {
		k.errs = append(k.errs, "the call does not return to the breakpoint")
	}
	return "T05thread:01;"
}

// leaves has the task come to get_signal on a vCPU, as the kernel would: x86 with
// the result in pt_regs, arm64 with the system call to be restarted.
func leaves(cpu string) func(k *kernel) string {
	return func(k *kernel) string {
		l := layouts[k.arch]
		for n, v := range k.before {
			if n != l.pc && n < 34 && k.Regs["01"][n] != v {
				k.errs = append(k.errs, "a register of the CPU that was borrowed was not put back")
			}
		}
		k.Put(ptRegs+l.result, uint64(0xfffffffffffffe00)) // -ERESTARTSYS
		if k.arch == arch.AArch64 {
			k.Put(ptRegs+l.result, 0x7ffd1000) // its first argument
		}
		k.Put(ptRegs+l.userPC, userPC-l.back)
		k.Regs[cpu][l.sp] = stack + 0x3000
		k.Regs[cpu][l.pc] = atLook
		return "T05thread:" + cpu + ";"
	}
}

func sleeper() *guestmem.Sleeper {
	return &guestmem.Sleeper{
		PID: 1, Comm: "init", State: "S", Task: taskStruct, Stack: stack, StackEnd: stack + stackSize,
		Regs: ptRegs, Number: 318, PC: userPC,
		Symbols: map[string]uint64{"wake_up_process": atWake, "signal_wake_up_state": atSignal, "get_signal": atLook},
	}
}

// fail runs FailSyscall in a bubble, where waiting for what does not come takes
// no time.
func fail(t *testing.T, k *kernel, s *guestmem.Sleeper) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { err = failIn(t, k, s) })
	return err
}

func failIn(t *testing.T, k *kernel, s *guestmem.Sleeper) error {
	t.Helper()
	ours, theirs := net.Pipe()
	served := make(chan struct{})
	go func() { defer close(served); k.Serve(theirs) }()
	c, err := gdb.Attach(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	err = probe.FailSyscall(t.Context(), c, k.arch, s, probe.ENOMEM, probe.Times{Nudge: time.Hour, Limit: time.Minute}, func() {})
	if derr := c.Detach(t.Context()); derr != nil {
		t.Error(derr)
	}
	<-served
	for addr, set := range k.Breaks {
		if set {
			t.Errorf("a breakpoint was left at %#x", addr)
		}
	}
	for _, e := range k.errs {
		t.Error(e)
	}
	return err
}

func TestFailSyscall(t *testing.T) {
	for _, a := range arch.All() {
		for name, script := range map[string][]func(*kernel) string{
			"plain": {comes("01", atWake), returns, leaves("01")},
			// Another vCPU wakes somebody during the call, and another task
			// looks for its signals first.
			"others": {comes("01", atWake), comes("02", atWake), returns, comes("02", atLook), comes("01", atLook), leaves("02")},
		} {
			t.Run(string(a)+"/"+name, func(t *testing.T) {
				k := newKernel(a, script...)
				if err := fail(t, k, sleeper()); err != nil {
					t.Fatal(err)
				}
				l := layouts[a]
				if got := int64(k.Word(ptRegs + l.result)); !k.woken || got != -12 {
					t.Errorf("woken %v, result %d, want -ENOMEM", k.woken, got)
				}
				if got := k.Word(ptRegs + l.userPC); got != userPC {
					t.Errorf("user space goes on at %#x, want %#x", got, userPC)
				}
			})
		}
	}
}

// What is refused changes nothing: no register and no memory was written.
func TestFailSyscallRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		edit func(k *kernel, s *guestmem.Sleeper)
		want string
	}{
		"uninterruptible": {func(_ *kernel, s *guestmem.Sleeper) { s.State = "D" }, "only an interruptible sleep"},
		"no symbol":       {func(_ *kernel, s *guestmem.Sleeper) { delete(s.Symbols, "get_signal") }, "has no symbol get_signal"},
		"other registers": {func(k *kernel, _ *guestmem.Sleeper) { k.Put(ptRegs+0x80, 7); k.Put(ptRegs+0x100, 7) }, "not those of the system call"},
		"nothing wakes":   {func(*kernel, *guestmem.Sleeper) {}, "not seen: the guest wakes any task"},
	} {
		t.Run(name, func(t *testing.T) {
			k, s := newKernel(arch.X86_64), sleeper()
			tt.edit(k, s)
			err := fail(t, k, s)
			if !errors.Is(err, probe.ErrUnsafe) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrUnsafe and %q", err, tt.want)
			}
			for _, p := range k.Packets {
				if p[0] == 'P' || p[0] == 'M' {
					t.Errorf("%s was sent", p)
				}
			}
		})
	}
}

// From the first change on, what breaks is no refusal.
func TestFailSyscallFails(t *testing.T) {
	for name, tt := range map[string]struct {
		script []func(*kernel) string
		want   string
	}{
		"the call does not return":     {[]func(*kernel) string{comes("01", atWake)}, "not seen: signal_wake_up_state returns"},
		"the task does not leave":      {[]func(*kernel) string{comes("01", atWake), returns}, "not seen: the task leaves the kernel"},
		"it stops elsewhere":           {[]func(*kernel) string{comes("01", atWake), returns, func(*kernel) string { return "T06thread:01;" }}, "not at the breakpoint"},
		"a vCPU that there is not":     {[]func(*kernel) string{comes("01", atWake), returns, func(*kernel) string { return "T05thread:09;" }}, "Hg09"},
		"it answers no stop, but this": {[]func(*kernel) string{comes("01", atWake), returns, func(*kernel) string { return "W00" }}, "does not speak the gdb protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			err := fail(t, newKernel(arch.X86_64, tt.script...), sleeper())
			if err == nil || errors.Is(err, probe.ErrUnsafe) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q that is not ErrUnsafe", err, tt.want)
			}
		})
	}
}

// A system call that ends by itself, meanwhile, keeps its result.
func TestFailSyscallComesTooLate(t *testing.T) {
	k := newKernel(arch.X86_64, comes("01", atWake), returns, func(k *kernel) string {
		leaves("01")(k)
		k.Put(ptRegs+0x50, 16)
		return "T05thread:01;"
	})
	err := fail(t, k, sleeper())
	if err == nil || !strings.Contains(err.Error(), "already returned 16") || k.Word(ptRegs+0x50) != 16 {
		t.Errorf("error %v, result %d", err, k.Word(ptRegs+0x50))
	}
}
