package guestmem_test

import (
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	fake "github.com/unwedge/unwedge/harness/internal/guestmem/guestmemtest"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// waitOf is what is known of what PID 1 waits for, "" for nothing.
func waitOf(v *guestmem.View) string {
	for i := range v.Waits {
		if v.Waits[i].PID == 1 {
			return v.Waits[i].String()
		}
	}
	return ""
}

func TestWaits(t *testing.T) {
	const kthreadd = "kthreadd (PID 2, state S) "
	want := map[string]string{
		"pipe":             "pipe:[42] (reads): " + kthreadd + "can write (fd 3)",
		"flock":            "flock /lock (inode 42): " + kthreadd + "holds it",
		"POSIX lock":       "POSIX lock /lock (inode 42): " + kthreadd + "holds it",
		"futex":            "futex 0x500000 (a PI futex): " + kthreadd + "owns it",
		"glibc mutex":      "futex 0x500000 (glibc's mutex, by its __owner): worker ?[2J (PID 3, state D) owns it",
		"child":            "child: " + kthreadd + "is its child",
		"completion":       "completion",
		"work item":        "completion on the stack of init (PID 1) (the end of a work item): " + kthreadd + "runs it",
		"vfork":            "completion: " + kthreadd + "has neither ended nor started a program (vfork)",
		"wait queue":       "wait queue some_waitqueue",
		"page":             "I/O vda1 (a page of inode 42)",
		"page of a device": "I/O vda (254:0) (a page of the device)",
		"buffer":           "I/O vda (254:1) (block 7)",
		"bio":              "I/O vda (254:1) (a bio)",
		"epoll":            "epoll fd 3: fd 3 pipe:[42] (in|out)",
		"poll":             "poll: fd 3 /lock (in)",
		"select":           "select: fd 3 /lock (in)",
		"socket":           "socket:[42] (unix): " + kthreadd + "has the other end (fd 3)",
		"FIFO":             "FIFO /run/fifo (until the other end is opened)",
		"none":             "",
	}
	for _, what := range append(fake.Waits(), "none") {
		t.Run(what, func(t *testing.T) {
			v := look(t, fake.Waiting(what), fake.IdleRegisters())
			if got := waitOf(v); got != want[what] {
				t.Errorf("PID 1 waits for %q, want %q; its stack %s", got, want[what], lines(v)[1])
			}
		})
	}
}

// A lock is named by its module's symbols.
func TestLockOfModule(t *testing.T) {
	const want = "mutex some_mutex [unwedge_fault]: kthreadd (PID 2, state S) holds it"
	for _, w := range look(t, fake.Booted(), fake.IdleRegisters()).Waits {
		if w.PID == 3 && w.String() == want {
			return
		}
	}
	t.Errorf("nobody waits for %q", want)
}

// What is not verified is not told.
func TestWaitsAreVerified(t *testing.T) {
	off := fake.Offset
	for name, tc := range map[string]struct {
		what  string
		spoil func(g fake.Guest)
		want  string
	}{
		"the pipe's queue has another entry": {"pipe", func(g fake.Guest) { g.Put(fake.Object+off("wait_queue_head", "head"), fake.Direct+fake.Third) }, ""},
		"the entry is another task's": {"pipe", func(g fake.Guest) {
			g.Put(fake.OnStack+off("wait_queue_entry", "private"), fake.Direct+fake.TaskThread)
		}, ""},
		"the file is no pipe's":      {"pipe", func(g fake.Guest) { g.Put(fake.File+off("file", "private_data"), fake.Direct+fake.Second) }, ""},
		"the descriptor is not open": {"pipe", func(g fake.Guest) { g.Put(fake.FilesInit+0x100+8*3, 0) }, ""},
		"nobody asks for the lock":   {"flock", func(g fake.Guest) { g.Put32(fake.Third+off("file_lock", "fl_pid"), 77) }, ""},
		"the holder of the lock has gone": {"POSIX lock", func(g fake.Guest) {
			g.Put32(fake.Second+off("file_lock", "fl_pid"), 77)
			g.Put(fake.Second+off("file_lock", "fl_file"), fake.Direct+fake.Third)
		}, "POSIX lock /lock (inode 42): PID 77, which has exited, took it"},
		"its open file is another's now": {"flock", func(g fake.Guest) { g.Put32(fake.Second+off("file_lock", "fl_pid"), 77) },
			"flock /lock (inode 42): kthreadd (PID 2, state S) has the file that holds it open (fd 3)"},
		"a mutex that nobody has":      {"glibc mutex", func(g fake.Guest) { g.Put32(fake.UserPage+8, 0) }, "futex 0x500000 (its word is 2)"},
		"a mutex of another process's": {"glibc mutex", func(g fake.Guest) { g.Put32(fake.UserPage+8, 2) }, "futex 0x500000 (its word is 2)"},
		"a futex that is not mapped":   {"glibc mutex", func(g fake.Guest) { g.Put(0x90000, 0) }, "futex 0x500000"},
		"a completion that is done":    {"completion", func(g fake.Guest) { g.Put32(fake.Object, 1) }, ""},
		"a list that leads nowhere":    {"completion", func(g fake.Guest) { g.Put(fake.OnStack+8, fake.Direct+0x3f0000) }, ""},
		"a page without a file":        {"page", func(g fake.Guest) { g.Put(fake.Object+8, fake.Direct+fake.Object+1) }, ""},
		"another's bio":                {"bio", func(g fake.Guest) { g.Put(fake.OnStack+0x88, fake.Direct+fake.Third) }, "completion"},
		"a socket of another file":     {"socket", func(g fake.Guest) { g.Put(fake.Object, fake.Direct+fake.FarFile) }, ""},
		"a peer that has another peer": {"socket", func(g fake.Guest) { g.Put(fake.Second+0x50, fake.Direct+fake.Third) }, "socket:[42] (unix)"},
		"a wild epoll":                 {"epoll", func(g fake.Guest) { g.Put(fake.Second+8, fake.Direct+fake.Second) }, "epoll fd 3: fd 3 pipe:[42] (in|out)"},
	} {
		t.Run(name, func(t *testing.T) {
			g := fake.Waiting(tc.what)
			if got := waitOf(look(t, g, fake.IdleRegisters())); got == tc.want && !(tc.what == "epoll") {
				t.Fatal("the test changes nothing")
			}
			tc.spoil(g)
			if got := waitOf(look(t, g, fake.IdleRegisters())); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

// In a PID namespace a number is another task's than elsewhere.
func TestNumbersOfANamespace(t *testing.T) {
	const ns, other, pids = 0x84000, 0x84100, 0x84200
	g := fake.Waiting("futex") // whose word says 2
	g.InNamespace(fake.TaskInit, pids, 1, ns)
	if got, want := waitOf(look(t, g, fake.IdleRegisters())), "futex 0x500000"; got != want {
		t.Errorf("nobody is called 2 there: %q, want %q", got, want)
	}
	g.InNamespace(fake.TaskKthreadd, pids+0x40, 2, other)
	g.InNamespace(fake.TaskThread, pids+0x80, 2, ns)
	if got, want := waitOf(look(t, g, fake.IdleRegisters())), "futex 0x500000 (a PI futex): worker ?[2J (PID 3, state D) owns it"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A pipe's other end may be where nobody looks, as in a message on its way.
func TestAnEndThatIsNotFound(t *testing.T) {
	g := fake.Waiting("pipe")
	g.Put32(fake.FarFile+fake.Offset("file", "f_mode"), 1) // kthreadd reads, too
	if got, want := waitOf(look(t, g, fake.IdleRegisters())), "pipe:[42] (reads; nobody is at the other end)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	g.Put32(fake.Object+fake.Offset("pipe_inode_info", "writers"), 1)
	if got, want := waitOf(look(t, g, fake.IdleRegisters())), "pipe:[42] (reads; who has the other end was not found)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzWaits overwrites the memory of a guest whose PID 1 waits for something, and
// looks at all there is: tasks, stacks, what they wait for, and user space. It
// must end, within its bounds, and not panic.
func FuzzWaits(f *testing.F) {
	for i := range fake.Waits() {
		f.Add(uint64(i), uint16(1)<<(i%10), uint8(i))
	}
	k := fake.Kernel()
	var good []fake.Guest
	for _, what := range fake.Waits() {
		good = append(good, fake.Waiting(what))
	}
	registers := guestmem.ParseRegisters(fake.IdleRegisters())
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, which uint8) {
		g := spoiled(good[int(which)%len(good)], seed, n)
		v, err := k.LookAt(t.Context(), g.Reader(), registers)
		if (err == nil) == (v == nil) {
			t.Fatal("a view and an error, or neither")
		}
		if v == nil {
			return
		}
		if len(v.Tasks) > 1<<16 || len(v.Problems) > 64 || len(v.Waits) > len(v.Tasks) {
			t.Errorf("%d tasks, %d problems, %d waits", len(v.Tasks), len(v.Problems), len(v.Waits))
		}
		for _, w := range v.Waits {
			if len(w.Holders) > model.MaxHolders || len(w.Watches) > model.MaxWatches || len(w.String()) > 1<<16 {
				t.Errorf("%d holders, %d watches, %q", len(w.Holders), len(w.Watches), w.Object)
			}
		}
		if _, problems, err := k.UserStacks(t.Context(), g.Reader(), registers, nil, nil); err == nil && len(problems) > 64 {
			t.Errorf("%d problems", len(problems))
		}
	})
}
