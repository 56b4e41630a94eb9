package guestmem_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	fake "github.com/unwedge/unwedge/harness/internal/guestmem/guestmemtest"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// line is a task in one line: what the tests compare.
func line(t model.Task) string {
	s := fmt.Sprintf("%d/%d<%d %q %s", t.PID, t.TGID, t.PPID, t.Comm, t.State)
	if t.Running {
		s += " running"
	}
	if t.KernelThread {
		s += " kthread"
	}
	for _, f := range t.Frames {
		s += " " + f.Line()
	}
	if t.Syscall != nil {
		s += fmt.Sprintf(" syscall %d %s", t.Syscall.Nr, t.Syscall.Name)
	}
	return s
}

func lines(v *guestmem.View) []string {
	var out []string
	for _, t := range v.Tasks {
		out = append(out, line(t))
	}
	return out
}

func look(t *testing.T, g fake.Guest, registers string) *guestmem.View {
	t.Helper()
	v, err := fake.Kernel().Look(t.Context(), g.Reader(), registers)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLook(t *testing.T) {
	v := look(t, fake.Booted(), fake.IdleRegisters())
	want := []string{
		`0/0<0 "swapper" R running start_kernel+0x10/0x100`,
		`1/1<1 "init" S __schedule+0x10/0x100 schedule+0x10/0x100 wait_for_random_bytes+0x10/0x100 __x64_sys_getrandom+0x10/0x100 entry_SYSCALL_64_after_hwframe+0x10/0x100 syscall 318 getrandom`,
		`3/1<1 "worker ?[2J" D __schedule+0x10/0x100 mutex_lock+0x10/0x100 wait_forever+0x10/0xfe0 [unwedge_fault]`,
		`2/2<0 "kthreadd" S kthread __schedule+0x10/0x100 schedule+0x10/0x100 kthread+0x10/0x100 ret_from_fork+0x10/0x100`,
	}
	if d := cmp.Diff(want, lines(v)); d != "" {
		t.Errorf("tasks (-want +got):\n%s", d)
	}
	owners := []model.Owner{{WaiterComm: "worker ?[2J", WaiterPID: 3, Lock: "mutex", OwnerComm: "kthreadd", OwnerPID: 2}}
	if d := cmp.Diff(owners, v.Owners); d != "" {
		t.Errorf("owners (-want +got):\n%s", d)
	}
	if args := v.Tasks[1].Syscall.Args; len(args) != 6 || args[0] != 0x7fff0000 || args[1] != 16 {
		t.Errorf("the arguments of getrandom: %#x", args)
	}
	if v.Tasks[1].UserIP != 0x7f0000001234 {
		t.Errorf("user IP %#x", v.Tasks[1].UserIP)
	}
	log := "[    0.000000] Linux version\n[    1.500000] two\n[    1.500000] lines\n[    3.000000] starting \x1b[2J\n"
	if d := cmp.Diff(log, string(v.Log)); d != "" {
		t.Errorf("log (-want +got):\n%s", d)
	}
	if v.Offset != fake.Kaslr || v.PhysBase != fake.PhysBase || v.Jiffies != 0x123456789 || !v.Complete || len(v.Problems) != 0 {
		t.Errorf("offset %#x, base %#x, jiffies %#x, complete %v, problems %q", v.Offset, v.PhysBase, v.Jiffies, v.Complete, v.Problems)
	}
	if d := cmp.Diff([]string{"unwedge_fault"}, v.Modules); d != "" {
		t.Errorf("modules (-want +got):\n%s", d)
	}
	if c := v.CPUs; len(c) != 1 || c[0].PID != 0 || c[0].Comm != "swapper" || !c[0].Halted || c[0].User || len(c[0].Frames) == 0 {
		t.Errorf("CPUs %+v", c)
	}
}

// What will wake a task lies on its own stack, and only that counts.
func TestTimers(t *testing.T) {
	const at, inHrtimer = 0x3800, 32 + 8
	g := fake.Booted()
	start := func(name string) uint64 { return fake.Func(name) - 0x10 }
	g.Put(fake.StackKth+at+16, 0x123456789+250)
	g.Put(fake.StackKth+at+24, start("process_timeout"))
	g.Put(fake.StackKth+at+40, fake.Direct+fake.TaskKthreadd)
	g.Put(fake.StackInit+at+24, 7e9)
	g.Put(fake.StackInit+at+inHrtimer, start("hrtimer_wakeup"))
	g.Put(fake.StackInit+at+56, fake.Direct+fake.TaskInit)
	// Another task's, and one that calls something else.
	g.Put(fake.StackThread+at+24, start("process_timeout"))
	g.Put(fake.StackThread+at+40, fake.Direct+fake.TaskInit)
	g.Put(fake.StackThread+at+0x100+24, start("schedule"))
	g.Put(fake.StackThread+at+0x100+40, fake.Direct+fake.TaskThread)
	want := []model.Timer{{PID: 1, Nanoseconds: 7e9}, {PID: 2, Jiffies: 0x123456789 + 250}}
	if d := cmp.Diff(want, look(t, g, fake.IdleRegisters()).Timers); d != "" {
		t.Errorf("timers (-want +got):\n%s", d)
	}
}

// Before the scheduler there are no page tables of the kernel's own, no log
// buffer, no list of tasks, and init_task runs.
func TestLookEarly(t *testing.T) {
	v := look(t, fake.Early(), fake.IdleRegisters())
	if d := cmp.Diff([]string{`0/0<0 "swapper" R running start_kernel+0x10/0x100`}, lines(v)); d != "" {
		t.Errorf("tasks (-want +got):\n%s", d)
	}
	if v.Offset != fake.Kaslr || !v.Complete || v.Log != nil {
		t.Errorf("offset %#x, complete %v, log %q", v.Offset, v.Complete, v.Log)
	}
}

func TestLookUserMode(t *testing.T) {
	g := fake.Booted()
	g.Put(fake.PhysBase+fake.CurrentTask, fake.Direct+fake.TaskInit)
	v := look(t, g, "CPU#0\nRIP=00007f0000005678 RFL=00000202 [-------] CPL=3 II=0 A20=1 SMM=0 HLT=0\nRSP=00007ffd00000000\n")
	if c := v.CPUs[0]; !c.User || c.PID != 1 || len(c.Frames) != 0 {
		t.Errorf("CPU %+v", c)
	}
	if p := v.Tasks[1]; !p.Running || p.Syscall != nil || p.UserIP != 0x7f0000005678 || len(p.Frames) != 0 {
		t.Errorf("PID 1 %+v", p)
	}
}

func TestLookErrors(t *testing.T) {
	k := fake.Kernel()
	if _, err := k.Look(t.Context(), make(fake.Guest, fake.RamSize).Reader(), ""); !errors.Is(err, locate.ErrNotLoaded) {
		t.Errorf("empty memory: %v", err)
	}
	g := fake.Early()
	g.Put(fake.PhysBase+fake.InitTask+fake.Offset("task_struct", "stack"), 0)
	var early *locate.EarlyError
	if _, err := k.Look(t.Context(), g.Reader(), ""); !errors.Is(err, locate.ErrEarly) || !errors.As(err, &early) {
		t.Errorf("a kernel that has not relocated itself: %v", err)
	} else if early.Moved+fake.Link != fake.PhysBase {
		t.Errorf("a kernel that has not relocated itself runs %#x from where it is linked", early.Moved)
	}
	g.Put(fake.PhysBase+fake.InitTask+fake.Offset("task_struct", "stack"), fake.Link+fake.InitStack+0x123)
	if _, err := k.Look(t.Context(), g.Reader(), ""); err == nil {
		t.Error("a kernel at an odd address was believed")
	}
	firmware := "CPU#0\nEIP=0000b7b9 EFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0\n"
	if v, err := k.Look(t.Context(), fake.Early().Reader(), firmware); !errors.Is(err, locate.ErrEarly) || v != nil {
		t.Errorf("a kernel that is loaded and does not run: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := k.Look(ctx, fake.Booted().Reader(), fake.IdleRegisters()); err == nil && v.Complete {
		t.Error("a look without time was complete")
	}
}

// What is broken is told, and the rest is still there.
func TestLookBroken(t *testing.T) {
	tasks, node := fake.Offset("task_struct", "tasks"), fake.Offset("task_struct", "thread_node")
	for name, tc := range map[string]struct {
		change  func(g fake.Guest)
		problem string
		tasks   int
	}{
		"a circle of processes": {func(g fake.Guest) { g.Put(fake.TaskKthreadd+tasks, fake.Direct+fake.TaskInit+tasks) }, "circular", 4},
		"a circle of threads":   {func(g fake.Guest) { g.Put(fake.TaskThread+node, fake.Direct+fake.TaskInit+node) }, "circular", 4},
		"a wild pointer":        {func(g fake.Guest) { g.Put(fake.TaskInit+tasks, 0xdead000000000100) }, "not mapped", 4},
		"a wild thread":         {func(g fake.Guest) { g.Put(fake.TaskInit+node, fake.Direct+0x3f0000) }, "not a task", 3},
		"a wild page table":     {func(g fake.Guest) { g.Put(fake.PhysBase+fake.TopPGT+8*273, 0x7ffffffff063) }, "no RAM", 1},
		"a log of 2^40 records": {func(g fake.Guest) { g.Put32(fake.PhysBase+fake.Prb, 40) }, "ring buffer", 4},
		"a wild module":         {func(g fake.Guest) { g.Put(fake.Module, fake.Direct+0x3f0000) }, "modules", 4},
	} {
		t.Run(name, func(t *testing.T) {
			g := fake.Booted()
			tc.change(g)
			v := look(t, g, fake.IdleRegisters())
			if len(v.Tasks) != tc.tasks || !strings.Contains(strings.Join(v.Problems, "\n"), tc.problem) {
				t.Errorf("%d tasks, want %d; problems %q, want %q", len(v.Tasks), tc.tasks, v.Problems, tc.problem)
			}
		})
	}
}

func TestLoadKernelErrors(t *testing.T) {
	payload := fake.Image()
	table, err := kallsyms.Parse(payload, arch.X86_64)
	if err != nil {
		t.Fatal(err)
	}
	bare := kerneltest.ELF(2, 62,
		kerneltest.Section{Name: ".text", Type: 1, Flags: 6, Addr: fake.Link, Data: make([]byte, fake.RodataAt)},
		kerneltest.Section{Name: ".rodata", Type: 1, Flags: 2, Addr: fake.Link + fake.RodataAt, Data: fake.RodataSection()},
	)
	if k, err := guestmem.LoadKernel(bare, arch.X86_64, table, nil); !errors.Is(err, kimage.ErrNoBTF) || k != nil {
		t.Errorf("without BTF: %v", err)
	}
	if k, err := guestmem.LoadKernel(payload, "sparc", table, nil); err == nil || k != nil {
		t.Errorf("for a sparc: %v", err)
	}
}

// FuzzLook overwrites a guest's memory at random. A look must end, within its
// bounds, and not panic.
func FuzzLook(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed, uint16(1)<<seed)
	}
	k := fake.Kernel()
	good := fake.Booted()
	f.Fuzz(func(t *testing.T, seed uint64, n uint16) {
		g := spoiled(good, seed, n)
		v, err := k.Look(t.Context(), g.Reader(), fake.IdleRegisters())
		if (err == nil) == (v == nil) {
			t.Fatal("a view and an error, or neither")
		}
		if v == nil {
			return
		}
		if len(v.Tasks) > 1<<16 || len(v.Problems) > 64 {
			t.Errorf("%d tasks, %d problems", len(v.Tasks), len(v.Problems))
		}
		for _, task := range v.Tasks {
			if len(task.Frames) > dump.MaxFrames {
				t.Errorf("%d frames", len(task.Frames))
			}
		}
	})
}

// spoiled is a copy of a guest with up to 511 words overwritten.
func spoiled(good fake.Guest, seed uint64, n uint16) fake.Guest {
	g := make(fake.Guest, len(good))
	copy(g, good)
	spoil(g, rand.New(rand.NewPCG(seed, uint64(n))), int(n)%512)
	return g
}

// spoil overwrites words: with noise, with pointers that lead somewhere, or
// with what stands elsewhere. Half of them hit the structures that matter.
func spoil(g fake.Guest, r *rand.Rand, n int) {
	hot := []uint64{
		fake.TaskInit, fake.TaskThread, fake.TaskKthreadd, fake.SignalInit, fake.StackInit + 0x3000, fake.StackThread + 0x3000, fake.RingDescs, fake.RingInfos,
		fake.Module, fake.ModSyms, fake.ModTab, fake.PgtDirect, fake.PgtKernel, fake.PgtKernel2, fake.PhysBase + fake.InitTask, fake.PhysBase + fake.DataAt + 0x200, fake.PhysBase + fake.Prb, fake.PhysBase + fake.ModuleList,
		fake.FilesInit, fake.File, fake.Inode, fake.Object, fake.Second, fake.Third, fake.OnStack, fake.StackInit + 0x3f58, 0x90000, 0x91000, 0x92000, 0x93000,
	}
	for range n {
		at := r.Uint64N(fake.RamSize/8) * 8
		if r.IntN(2) == 0 {
			at = hot[r.IntN(len(hot))] + r.Uint64N(40)*8
		}
		var v uint64
		switch r.IntN(5) {
		case 0:
			v = r.Uint64()
		case 1:
			v = fake.Direct + hot[r.IntN(10)] + r.Uint64N(20)*8
		case 2:
			v = fake.Link + fake.Kaslr + r.Uint64N(fake.ImageSize)
		case 3:
			v = binary.LittleEndian.Uint64(g[r.Uint64N(fake.RamSize/8)*8:])
		case 4:
			v = uint64(r.IntN(64))
		}
		g.Put(at, v)
	}
}

func BenchmarkLook(b *testing.B) {
	k, g := fake.Kernel(), fake.Booted()
	for b.Loop() {
		if _, err := k.Look(b.Context(), g.Reader(), fake.IdleRegisters()); err != nil {
			b.Fatal(err)
		}
	}
}
