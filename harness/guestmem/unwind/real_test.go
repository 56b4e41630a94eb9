package unwind_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/dump"
	"github.com/unwedge/unwedge/harness/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/guestmem/mmu"
	"github.com/unwedge/unwedge/harness/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/guestmem/unwind"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// TestRealGuests compares, task by task and frame by frame, with what sysrq-t
// of the same guest printed right before it was stopped.
//
// UNWEDGE_TEST_STACKS lists directories, each with meta.json (arch, kernel: the
// kernel's file), ram (the guest's memory, of a guest booted with nokaslr) and
// console.log (with the sysrq-t).
func TestRealGuests(t *testing.T) {
	dirs := strings.FieldsFunc(os.Getenv("UNWEDGE_TEST_STACKS"), func(r rune) bool { return r == ':' || r == ' ' || r == '\n' })
	if len(dirs) == 0 {
		t.Skip("UNWEDGE_TEST_STACKS lists no captured guests")
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) { compareGuest(t, dir) })
	}
}

// guest is a captured guest: just enough of the kernel to find its tasks.
type guest struct {
	arch  arch.Arch
	img   *kimage.Image
	table *kallsyms.Table
	mem   *mmu.Space
}

func openGuest(t *testing.T, dir string) *guest {
	t.Helper()
	var meta struct {
		Arch   arch.Arch
		Kernel string
	}
	b, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err == nil {
		err = json.Unmarshal(b, &meta)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, payload, err := kernel.IdentifyPayload(t.Context(), meta.Kernel)
	if err != nil {
		t.Fatal(err)
	}
	table, err := kallsyms.Parse(payload, meta.Arch)
	if err != nil {
		t.Fatal(err)
	}
	img, err := kimage.Load(payload, meta.Arch, table)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(dir, "ram"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	ram := physmem.New(f, physmem.Ranges(meta.Arch, uint64(st.Size())))
	g := &guest{arch: meta.Arch, img: img, table: table}
	phys := g.findImage(t, ram)
	root := "swapper_pg_dir"
	if g.arch == arch.X86_64 {
		root = "init_top_pgt"
	}
	top := g.lookup(t, root) - img.Start + phys
	var tables mmu.Tables = mmu.X86{Root: top}
	if g.arch == arch.AArch64 {
		tables = mmu.ARM64{Root: top, Page: 12, VA: 48}
	}
	g.mem = mmu.NewSpace(ram, tables, mmu.Linear{Virt: img.Start, Phys: phys, Size: img.End - img.Start})
	return g
}

// findImage finds the kernel in memory by its banner.
func (g *guest) findImage(t *testing.T, ram physmem.Reader) uint64 {
	t.Helper()
	banner := g.lookup(t, "linux_banner")
	want, ok := g.img.Bytes(banner, 64)
	if !ok {
		t.Fatal("the image has no banner")
	}
	for _, r := range ram.Ranges() {
		// Kernels lie at multiples of 64 KiB.
		got := make([]byte, len(want))
		for a := r.Phys; a < r.Phys+r.Size; a += 64 << 10 {
			at := a + (banner-g.img.Start)%(64<<10)
			if ram.ReadPhys(at, got) == nil && bytes.Equal(got, want) {
				return at - (banner - g.img.Start)
			}
		}
	}
	t.Fatal("the kernel is not in the memory")
	return 0
}

func (g *guest) lookup(t *testing.T, name string) uint64 {
	t.Helper()
	a, ok := g.table.Lookup(name)
	if !ok {
		t.Fatalf("no symbol %s", name)
	}
	return a
}

func (g *guest) off(t *testing.T, typ string, path ...string) uint64 {
	t.Helper()
	f, err := g.img.Types.Field(typ, path...)
	if err != nil {
		t.Fatal(err)
	}
	return f.Off
}

func (g *guest) u64(t *testing.T, a uint64) uint64 {
	t.Helper()
	v, err := g.mem.Uint64(a)
	if err != nil {
		t.Fatalf("read %#x: %v", a, err)
	}
	return v
}

type realTask struct {
	addr    uint64
	pid     int
	comm    string
	running bool
	saved   unwind.Saved
}

func (g *guest) tasks(t *testing.T) []realTask {
	t.Helper()
	tasks := g.off(t, "task_struct", "tasks")
	node := g.off(t, "task_struct", "thread_node")
	head := g.off(t, "signal_struct", "thread_head")
	signal := g.off(t, "task_struct", "signal")
	first := g.lookup(t, "init_task")
	var out []realTask
	for p := g.u64(t, first+tasks); p != first+tasks && len(out) < 5000; p = g.u64(t, p) {
		h := g.u64(t, p-tasks+signal) + head
		for n := g.u64(t, h); n != h && len(out) < 5000; n = g.u64(t, n) {
			out = append(out, g.task(t, n-node))
		}
	}
	return out
}

func (g *guest) task(t *testing.T, a uint64) realTask {
	t.Helper()
	comm := make([]byte, 16)
	if err := g.mem.Read(a+g.off(t, "task_struct", "comm"), comm); err != nil {
		t.Fatal(err)
	}
	comm, _, _ = bytes.Cut(comm, []byte{0})
	stack := g.u64(t, a+g.off(t, "task_struct", "stack"))
	r := realTask{
		addr: a, comm: string(comm),
		pid:     int(int32(g.u64(t, a+g.off(t, "task_struct", "pid")))),
		running: int32(g.u64(t, a+g.off(t, "task_struct", "on_cpu"))) != 0,
		saved:   unwind.Saved{Stack: unwind.Range{Start: stack, End: stack + 16<<10}},
	}
	thread := a + g.off(t, "task_struct", "thread")
	if g.arch == arch.X86_64 {
		r.saved.SP = g.u64(t, thread+g.off(t, "thread_struct", "sp"))
		return r
	}
	ctx := thread + g.off(t, "thread_struct", "cpu_context")
	r.saved.FP = g.u64(t, ctx+g.off(t, "cpu_context", "fp"))
	r.saved.SP = g.u64(t, ctx+g.off(t, "cpu_context", "sp"))
	r.saved.PC = g.u64(t, ctx+g.off(t, "cpu_context", "pc"))
	return r
}

func compareGuest(t *testing.T, dir string) {
	g := openGuest(t, dir)
	log, err := os.ReadFile(filepath.Join(dir, "console.log"))
	if err != nil {
		t.Fatal(err)
	}
	printed := map[int]dump.Task{}
	for _, s := range dump.Parse(log).Sections {
		for _, p := range s.Tasks {
			printed[p.PID] = p
		}
	}
	u, err := unwind.New(unwind.Config{Arch: g.arch, Memory: g.mem, Symbols: g.table})
	if err != nil {
		t.Fatal(err)
	}
	var frames, same, whole, seen int
	for _, task := range g.tasks(t) {
		p, ok := printed[task.pid]
		if !ok || task.running {
			t.Logf("%d %s: running %v, printed %v", task.pid, task.comm, task.running, ok)
			continue
		}
		tr := u.Sleeping(task.saved)
		seen++
		want := lines(p)
		frames += len(want)
		var got []string
		for _, f := range tr.Frames {
			got = append(got, f.String())
		}
		if tr.Reliable() {
			whole++
		}
		n := equalFrames(got, want)
		same += n
		if n != len(want) || len(got) != len(want) || !tr.Reliable() {
			t.Logf("%d %s: %v\n got  %q\n want %q", task.pid, task.comm, tr.End, got, want)
		}
		checkEntry(t, task, p, tr)
	}
	t.Logf("%s: %d tasks compared, %d of %d whole, %d of %d frames equal (%.2f %%)",
		u.Method(), seen, whole, seen, same, frames, 100*float64(same)/float64(max(frames, 1)))
	if seen == 0 || same*100 < frames*99 {
		t.Errorf("%d of %d frames equal", same, frames)
	}
}

// lines are the frames of the call chain as sysrq printed them.
func lines(p dump.Task) []string {
	var out []string
	for _, f := range p.Frames {
		if !f.Reliable {
			continue
		}
		s := fmt.Sprintf("%s+%#x/%#x", f.Func, f.Off, f.Size)
		if f.Module != "" {
			s += " [" + f.Module + "]"
		}
		out = append(out, s)
	}
	return out
}

func equalFrames(got, want []string) (n int) {
	for i, w := range want {
		if i < len(got) && got[i] == w {
			n++
		}
	}
	return n
}

// checkEntry compares the registers of user space with those that x86 prints.
func checkEntry(t *testing.T, task realTask, p dump.Task, tr unwind.Trace) {
	t.Helper()
	if p.UserIP != 0 && (tr.User == nil || tr.User.PC != p.UserIP) {
		t.Errorf("%d %s: user registers %+v, sysrq printed the user's PC %#x", task.pid, task.comm, tr.User, p.UserIP)
	}
	if p.Syscall != nil && (tr.User == nil || !tr.User.Syscall || tr.User.Number != int64(p.Syscall.Nr)) {
		t.Errorf("%d %s: user registers %+v, sysrq printed %+v", task.pid, task.comm, tr.User, *p.Syscall)
	}
	if p.KernelThread && tr.End.Kind != unwind.KernelEntry {
		t.Errorf("%d %s: a kernel thread's stack ended as %v", task.pid, task.comm, tr.End)
	}
}
