package dump

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// makeDump writes a sysrq-t of about size bytes.
func makeDump(size int) []byte {
	var b bytes.Buffer
	b.Grow(size + 4096)
	b.WriteString("[    0.000000] Linux version 6.1.0-x86_64 (gcc) #1 SMP\n[   40.000000] sysrq: Show State\n")
	for pid := 1; b.Len() < size; pid++ {
		fmt.Fprintf(&b, "[   40.%06d] task:worker%-9d state:S stack:0     pid:%-5d ppid:1      flags:0x00000002\n", pid%1000000, pid, pid)
		b.WriteString("[   40.000001] Call Trace:\n[   40.000002]  <TASK>\n")
		for _, f := range []string{"__schedule+0x34d/0x9e0", "schedule+0x5a/0xd0", "? __hrtimer_init+0xe0/0xe0", "futex_wait_queue+0x60/0x90", "futex_wait+0x185/0x270", "do_futex+0x106/0x1b0", "__x64_sys_futex+0x8e/0x1d0", "? exit_to_user_mode_prepare+0x44/0x240", "do_syscall_64+0x5d/0xb0", "entry_SYSCALL_64_after_hwframe+0x6e/0xd8"} {
			b.WriteString("[   40.000003]  " + f + "\n")
		}
		b.WriteString("[   40.000004] RIP: 0033:0x482fa3\n[   40.000005] RSP: 002b:00007ffdc7808828 EFLAGS: 00000286 ORIG_RAX: 00000000000000ca\n")
		b.WriteString("[   40.000006] RAX: ffffffffffffffda RBX: 0000000000000000 RCX: 0000000000482fa3\n[   40.000007] RDX: 0000000000000000 RSI: 0000000000000080 RDI: 00000000005ab0d8\n[   40.000008] RBP: 00007ffdc7808870 R08: 0000000000000000 R09: 0000000000000000\n[   40.000009] R10: 0000000000000000 R11: 0000000000000286 R12: 00007ffdc7808850\n[   40.000009]  </TASK>\n")
	}
	b.WriteString("[   41.000000] Sched Debug Version: v0.11, 6.1.0\n")
	return b.Bytes()
}

func BenchmarkParseStateDump(b *testing.B) {
	log := makeDump(50 << 20)
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		d := Parse(log)
		if len(d.Sections) != 1 || !d.Sections[0].Complete {
			b.Fatal("dump not read")
		}
	}
}

func BenchmarkRecords(b *testing.B) {
	log := makeDump(50 << 20)
	b.SetBytes(int64(len(log)))
	for b.Loop() {
		n := 0
		for range Records(log) {
			n++
		}
	}
}

// TestStateDumpIsWhole: every task of a large dump is read with its stack.
func TestStateDumpIsWhole(t *testing.T) {
	d := Parse(makeDump(4 << 20))
	s, ok := d.Last(SectionState)
	if !ok || !s.Complete || s.Dropped != 0 {
		t.Fatalf("section: %v", ok)
	}
	for i, task := range s.Tasks {
		if task.PID != i+1 || len(task.Chain()) != 8 || task.Syscall == nil || task.Syscall.Name != "futex" || task.Syscall.Args[0] != 0x5ab0d8 {
			t.Fatalf("task %d: %+v", i, task)
		}
	}
}

// hostileLogs are shapes that invite quadratic work or endless memory, of about
// size bytes each.
func hostileLogs(size int) map[string][]byte {
	rep := func(s string) []byte { return bytes.Repeat([]byte(s), max(1, size/len(s))) }
	const head = "task:a state:S stack:0 pid:1 ppid:1 flags:0x00000000\n"
	after := func(first, s string) []byte { return append([]byte(first), rep(s)...) }
	return map[string][]byte{
		"endless line":         rep("x"),
		"endless brackets":     rep("["),
		"endless stamps":       rep("[    1.000000] "),
		"endless escapes":      rep("\x1b["),
		"endless osc":          rep("\x1b]"),
		"endless returns":      rep("\r"),
		"empty lines":          rep("\n"),
		"nul bytes":            rep("\x00"),
		"blanks":               rep(" "),
		"braces":               rep("<f>{a+1} "),
		"headers":              rep(head),
		"state words":          rep(" state:S"),
		"old headers":          rep("mount D 0 639 593 0x00000004\n"),
		"hex words":            rep("00000000 "),
		"colons":               rep("task:"),
		"frames without end":   after(head, " fn+0x1/0x2\n"),
		"pluses":               after(head, " +0x"),
		"banners":              rep("[    1.000000] sysrq: Show State\n"),
		"dumps of one":         rep("[    1.000000] sysrq: Show State\n" + head),
		"kernel banners":       rep("[    1.000000] Linux version 6.1\n"),
		"reports":              rep("[    1.000000] BUG: soft lockup - CPU#1 stuck for 22s! [a:1]\n"),
		"warnings with frames": rep("[    1.000000] WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2\n[    1.000000]  g+0x1/0x2\n"),
		"lockdep":              after("[    1.000000] WARNING: possible recursive locking detected\n", "[    1.000000] x, at: f+0x1/0x2\n"),
		"panics":               rep("[    1.000000] Kernel panic - not syncing: x\n"),
		"devices in use":       rep("[    1.000000] unregister_netdevice: waiting for lo to become free\n"),
		"hung tasks":           rep("[    1.000000] INFO: task a:1 blocked for more than 10 seconds.\n"),
		"locks":                rep("1 lock held by a/1:\n #0: ff (x){+}, at: f+0x1/0x2\n"),
		"from":                 after(head, " a from b from"),
		"callers without end":  callers(size / 70),
		"names without end":    names(size / 70),
		"subjects without end": subjects(size / 70),
		"initcalls":            initcalls(size / 70),
	}
}

// TestHostileLogs: a Dump keeps its limits, and what is parsed takes memory in
// proportion to the log, however it is made.
func TestHostileLogs(t *testing.T) {
	const size = 2 << 20
	for name, log := range hostileLogs(size) {
		t.Run(name, func(t *testing.T) {
			var before, now runtime.MemStats
			runtime.ReadMemStats(&before)
			d := Parse(log)
			runtime.ReadMemStats(&now)
			checkBounds(t, d)
			if got := now.TotalAlloc - before.TotalAlloc; got > 48*size {
				t.Errorf("%d MB were taken for a log of %d", got>>20, len(log)>>20)
			}
		})
	}
}

// TestWorkIsLinear: twice the log is about twice the work, counted in bytes and
// things that are looked at, not in time.
func TestWorkIsLinear(t *testing.T) {
	work := func(log []byte) int {
		var s splitter
		p := newParser()
		s.split(log, func(r Record) bool { p.add(r); return true })
		p.dump()
		return s.work + p.work
	}
	const size = 256 << 10
	double := hostileLogs(2 * size)
	for name, log := range hostileLogs(size) {
		one, two := work(log), work(double[name])
		if two > one*11/5+MaxSections*MaxReports || one > 64*size {
			t.Errorf("%s: %d for %d bytes, %d for %d", name, one, len(log), two, len(double[name]))
		}
	}
	real := makeDump(size)
	if one, two := work(real), work(makeDump(2*size)); two > one*11/5 || one > 4*len(real) {
		t.Errorf("a task dump: %d for %d bytes, %d for twice as many", one, len(real), two)
	}
}

func callers(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "[    1.000000][T%d] task:a state:S stack:0 pid:1 ppid:1 flags:0x00000000\n[    1.000000][T%d]  fn+0x1/0x2\n", i, i)
	}
	return b.Bytes()
}

func names(n int) []byte {
	var b bytes.Buffer
	b.WriteString("task:a state:S stack:0 pid:1 ppid:1 flags:0x00000000\n")
	for i := range n {
		fmt.Fprintf(&b, " fn%d+0x1/0x2\n", i)
	}
	return b.Bytes()
}

func subjects(n int) []byte {
	var b bytes.Buffer
	b.WriteString("[    1.000000] Linux version 6.1\n")
	for i := range n {
		fmt.Fprintf(&b, "Failed to start unit%d.\n", i)
	}
	return b.Bytes()
}

func initcalls(n int) []byte {
	var b bytes.Buffer
	b.WriteString("[    1.000000] Linux version 6.1\n")
	for i := range n {
		fmt.Fprintf(&b, "[    1.000000] calling  fn%d+0x0/0x10 @ 1\n", i)
	}
	return b.Bytes()
}

// checkBounds holds for every Dump, whatever the input.
func checkBounds(t *testing.T, d *Dump) {
	t.Helper()
	n := len(d.Loose)
	check := func(task model.Task) {
		if len(task.Frames) > MaxFrames {
			t.Errorf("%d frames", len(task.Frames))
		}
		if task.Offset < 0 || task.End < task.Offset || task.End > d.Bytes {
			t.Errorf("task range %d..%d of %d", task.Offset, task.End, d.Bytes)
		}
		if task.PID < 0 || task.PPID < 0 || len(task.Comm) > maxComm || strings.ContainsAny(task.Comm, "\n") {
			t.Errorf("task %+v", task)
		}
	}
	for _, task := range d.Loose {
		check(task)
	}
	for _, s := range d.Sections {
		n += len(s.Tasks)
		for _, task := range s.Tasks {
			check(task)
		}
		if s.End < s.Offset || s.End > d.Bytes {
			t.Errorf("section range %d..%d", s.Offset, s.End)
		}
	}
	for _, r := range d.Reports {
		if r.Title == "" || strings.ContainsAny(r.Title, "\n\r") || r.End < r.Offset || r.End > d.Bytes || len(r.Frames) > MaxFrames {
			t.Errorf("report %+v", r)
		}
	}
	for _, e := range d.Boot.Events {
		if e.Offset < 0 || e.End > d.Bytes || len(e.Text) > 1200 {
			t.Errorf("event %+v", e)
		}
	}
	if n > MaxTasks || len(d.Sections) > MaxSections || len(d.Reports) > MaxReports || len(d.Boot.Events) > MaxEvents+64 || len(d.Boot.Kernels) > 64 || len(d.Held) > MaxReports || len(d.Owners) > MaxReports {
		t.Errorf("limits: %d tasks, %d sections, %d reports, %d events", n, len(d.Sections), len(d.Reports), len(d.Boot.Events))
	}
}

// TestNewestDumpIsKept: when the tasks of several dumps are too many, the
// oldest dump loses its own.
func TestNewestDumpIsKept(t *testing.T) {
	var b bytes.Buffer
	one := bytes.Repeat([]byte("[    1.000000] task:a state:Z stack:0 pid:1 ppid:1 flags:0x00000000\n"), MaxTasks/2+1)
	for range 3 {
		b.WriteString("[    1.000000] sysrq: Show State\n")
		b.Write(one)
		b.WriteString("[    1.000000] Sched Debug Version: v0.11\n")
	}
	d := Parse(b.Bytes())
	s, ok := d.Last(SectionState)
	if !ok || len(s.Tasks) != MaxTasks/2+1 || !s.Complete {
		t.Fatalf("the newest dump has %d tasks, complete %v", len(s.Tasks), s.Complete)
	}
	if d.Sections[0].Complete || d.Dropped == 0 {
		t.Error("the oldest dump still calls itself complete")
	}
}

func TestEvidence(t *testing.T) {
	log := []byte("[    1.000000][    T1] a\n[    1.000000][    T2] b\n[    1.000000][    T1] c\x1b[0m\r\n")
	d := Parse(log)
	got := d.Evidence(0, int64(len(log)), model.Caller{Kind: 'T', ID: 1}, 10)
	if len(got) != 2 || !strings.HasSuffix(got[0], "a") || !strings.HasSuffix(got[1], "c") {
		t.Errorf("evidence: %q", got)
	}
	if got := d.Evidence(0, int64(len(log)), model.Caller{}, 2); len(got) != 2 {
		t.Errorf("limit: %q", got)
	}
	for _, r := range [][2]int64{{-1, 3}, {3, 3}, {5, 2}, {0, int64(len(log)) + 1}} {
		if got := d.Evidence(r[0], r[1], model.Caller{}, 10); got != nil {
			t.Errorf("range %v: %q", r, got)
		}
	}
}

func TestNormalise(t *testing.T) {
	for in, want := range map[string]string{
		"VFS: Unable to mount root fs on unknown-block(0,0)": "VFS: Unable to mount root fs on unknown-block(0,0)",
		"Attempted to kill init! exitcode=0x0000000b":        "Attempted to kill init! exitcode=0x0000000b",
		"at ffff888004d5a0e0 and 0xffff888004d5a0e0":         "at ADDR and ADDR",
		"process 12345 of 12":                                "process NUM of 12",
		"at fs/inode.c:611 in foo+0x12/0x34":                 "at fs/inode.c:LINE in foo",
		"":                                                   "",
	} {
		if got := Normalise(in); got != want {
			t.Errorf("Normalise(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestHugeLogs: 200 MB without a line end, and a million headers.
func TestHugeLogs(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 250 MB")
	}
	log := bytes.Repeat([]byte("x"), 200<<20)
	d := Parse(log)
	if want := 200 << 20 / MaxRecord; d.Records != want {
		t.Errorf("%d records, want %d", d.Records, want)
	}
	checkBounds(t, d)

	var b bytes.Buffer
	b.WriteString("[    1.000000] sysrq: Show State\n")
	const million = 1_000_000
	for pid := range million {
		fmt.Fprintf(&b, "[    1.000000] task:a state:S stack:0 pid:%d ppid:1 flags:0x00000000\n", pid)
	}
	d = Parse(b.Bytes())
	checkBounds(t, d)
	if s := d.Sections[0]; len(s.Tasks) != MaxTasks || s.Dropped != million-MaxTasks {
		t.Errorf("%d tasks kept, %d dropped", len(s.Tasks), s.Dropped)
	}
}
