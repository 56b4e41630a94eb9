package unwind_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/modules"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/guestmem/unwind"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// TestRealGuests compares, task by task and frame by frame, with what sysrq-t
// of the same guest printed right before it was stopped.
//
// UNWEDGE_TEST_STACKS lists directories, each with meta.json (arch, kernel: the
// kernel's file), ram (the guest's memory, of a guest) and
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

// guest is a captured guest.
type guest struct {
	config unwind.Config
	tasks  []tasks.Task
}

func openGuest(t testing.TB, dir string) *guest {
	t.Helper()
	var meta struct {
		Arch   arch.Arch
		Kernel string
	}
	b, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err == nil {
		err = json.Unmarshal(b, &meta)
	}
	check(t, err)
	_, payload, err := kernel.IdentifyPayload(t.Context(), meta.Kernel)
	check(t, err)
	table, err := kallsyms.Parse(payload, meta.Arch)
	check(t, err)
	img, err := kimage.Load(payload, meta.Arch, table, nil)
	check(t, err)
	f, err := os.Open(filepath.Join(dir, "ram"))
	check(t, err)
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	check(t, err)
	finder, err := locate.New(img)
	check(t, err)
	k, err := finder.Find(t.Context(), physmem.New(f, physmem.Ranges(meta.Arch, uint64(st.Size()))))
	check(t, err)
	layout, err := tasks.NewLayout(img)
	check(t, err)
	list := layout.Read(t.Context(), k, 2)
	for _, p := range list.Problems {
		t.Log(p)
	}
	modLayout, err := modules.NewLayout(img)
	check(t, err)
	mods, err := modLayout.Read(t.Context(), k)
	check(t, err)
	c := unwind.Config{
		Arch: meta.Arch, Memory: k.Space,
		Symbols: modules.NewSymbols(unwind.Shift(img.Symbols, k.Offset), modLayout, k, mods),
	}
	for _, m := range mods {
		c.Modules = append(c.Modules, m.Module)
	}
	return &guest{config: c, tasks: list.Tasks}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRealGuest measures the preparation and the unwinding of all sleeping
// tasks of the first of UNWEDGE_TEST_STACKS.
func BenchmarkRealGuest(b *testing.B) {
	dirs := strings.Fields(os.Getenv("UNWEDGE_TEST_STACKS"))
	if len(dirs) == 0 {
		b.Skip("UNWEDGE_TEST_STACKS lists no captured guests")
	}
	g := openGuest(b, dirs[0])
	b.Run("New", func(b *testing.B) {
		for b.Loop() {
			if _, err := unwind.New(g.config); err != nil {
				b.Fatal(err)
			}
		}
	})
	u, err := unwind.New(g.config)
	check(b, err)
	b.Run("Sleeping", func(b *testing.B) {
		for b.Loop() {
			for _, task := range g.tasks {
				u.Sleeping(saved(task))
			}
		}
	})
}

func saved(task tasks.Task) unwind.Saved {
	return unwind.Saved{
		SP: task.SP, FP: task.FP, PC: task.PC,
		Stack: unwind.Range{Start: task.Stack, End: task.Stack + task.StackSize},
	}
}

func compareGuest(t *testing.T, dir string) {
	g := openGuest(t, dir)
	log, err := os.ReadFile(filepath.Join(dir, "console.log"))
	if err != nil {
		t.Fatal(err)
	}
	printed := map[int]model.Task{}
	for _, s := range dump.Parse(log).Sections {
		for _, p := range s.Tasks {
			printed[p.PID] = p
		}
	}
	u, err := unwind.New(g.config)
	if err != nil {
		t.Fatal(err)
	}
	var frames, same, whole, seen int
	for _, task := range g.tasks {
		p, ok := printed[task.PID]
		if !ok || task.OnCPU {
			t.Logf("%d %s: running %v, printed %v", task.PID, task.Comm, task.OnCPU, ok)
			continue
		}
		tr := u.Sleeping(saved(task))
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
			t.Logf("%d %s: %v\n got  %q\n want %q", task.PID, task.Comm, tr.End, got, want)
		}
		checkEntry(t, g.config.Arch, task, p, tr)
	}
	t.Logf("%s: %d tasks compared, %d of %d whole, %d of %d frames equal (%.2f %%)",
		u.Method(), seen, whole, seen, same, frames, 100*float64(same)/float64(max(frames, 1)))
	if seen == 0 || same*100 < frames*99 {
		t.Errorf("%d of %d frames equal", same, frames)
	}
}

// lines are the frames of the call chain as sysrq printed them.
func lines(p model.Task) []string {
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
func checkEntry(t *testing.T, a arch.Arch, task tasks.Task, p model.Task, tr unwind.Trace) {
	t.Helper()
	if p.UserIP != 0 && (tr.User == nil || tr.User.PC != p.UserIP) {
		t.Errorf("%d %s: user registers %+v, sysrq printed the user's PC %#x", task.PID, task.Comm, tr.User, p.UserIP)
	}
	if p.Syscall != nil {
		// aarch64 prints no number: the name is that of the call's function.
		ok := tr.User != nil && tr.User.Syscall
		if ok && p.Syscall.Nr >= 0 {
			ok = tr.User.Number == int64(p.Syscall.Nr)
		} else if ok {
			ok = isa.Of(a).Syscall(int(tr.User.Number)) == p.Syscall.Name
		}
		if !ok {
			t.Errorf("%d %s: user registers %+v, sysrq printed %+v", task.PID, task.Comm, tr.User, *p.Syscall)
		}
	}
	if p.KernelThread && tr.End.Kind != unwind.KernelEntry {
		t.Errorf("%d %s: a kernel thread's stack ended as %v", task.PID, task.Comm, tr.End)
	}
}
