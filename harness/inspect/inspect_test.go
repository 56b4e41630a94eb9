package inspect_test

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/inspect"
	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user/procmem"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/internal/schematest"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func frames(names ...string) []model.Frame {
	var out []model.Frame
	for _, n := range names {
		f := model.Frame{Func: n, Off: 0x10, Size: 0x100, Reliable: !strings.HasPrefix(n, "?")}
		f.Func, f.Module, _ = strings.Cut(strings.TrimPrefix(n, "?"), "@")
		out = append(out, f)
	}
	return out
}

// starved is a guest whose init waits for entropy, while a worker waits for a
// mutex that kthreadd holds.
func starved() *guestmem.View {
	return &guestmem.View{
		Complete: true, Offset: 0x1e00000, PhysBase: 0x2000000, Jiffies: 4294892296 + 250*7, Unwinder: "ORC",
		Modules: []string{"virtio_rng"},
		Tasks: []model.Task{
			{Comm: "swapper/0", State: "R", Running: true, Frames: frames("native_safe_halt", "default_idle_call", "do_idle"), KernelThread: true},
			{Comm: "init", PID: 1, TGID: 1, State: "S", Frames: frames("__schedule", "schedule", "?leftover", "wait_for_random_bytes", "__x64_sys_getrandom"),
				Syscall: &model.Syscall{Nr: 318, Name: "getrandom", Args: []uint64{1, 2, 3, 4, 5, 6}}},
			{Comm: "kthreadd", PID: 2, TGID: 2, State: "S", CPU: -1, KernelThread: true, Frames: frames("__schedule", "schedule", "kthreadd", "ret_from_fork")},
			{Comm: "worker", PID: 9, TGID: 1, PPID: 0, State: "D", CPU: 1, Frames: frames("__schedule", "__mutex_lock", "do_it@mod"), Syscall: &model.Syscall{Nr: 999}},
			{Comm: "kworker/0:1", PID: 10, TGID: 10, PPID: 2, State: "I", KernelThread: true, Workqueue: "events vmstat_update"},
		},
		Owners: []model.Owner{{WaiterComm: "worker", WaiterPID: 9, Lock: "mutex", OwnerComm: "kthreadd", OwnerPID: 2}},
		CPUs:   []model.CPU{{PC: 0xffffffff81000010, Halted: true, Comm: "swapper/0", Frames: frames("native_safe_halt")}},
		Log:    []byte("[    0.000000] Linux version 6.1.0 (a@b) #1 SMP\n[    6.500000] random: crng init pending\n"),
		Timers: []model.Timer{{PID: 10, Jiffies: 4294892296 + 250*8}},
	}
}

// users is the stack of init, which a library's constructor led to getrandom.
func users() []guestmem.UserStack {
	return []guestmem.UserStack{{PID: 1, Comm: "init", Syscall: "getrandom", Stack: user.Stack{
		Program: "init",
		Frames: []user.Frame{
			{PC: 0x7f01, Object: "libc.so.6", Symbol: "getrandom", Offset: 0x10, Reliable: true},
			{PC: 0x7f02, Object: "libgcrypt.so.20", Offset: 0x1234, Constructor: true, Reliable: true},
			{PC: 0x7f03, Object: "ld-linux-x86-64.so.2", Symbol: "call_init", Offset: 1, Reliable: true},
			{PC: 0x7f04, Object: "init", Offset: 5},
		},
		End:      "no table for it",
		Mappings: []procmem.Mapping{{Start: 0x1000, End: 0x2000, Flags: procmem.Read | procmem.Exec, Name: "/init"}},
	}}}
}

func TestUserStacks(t *testing.T) {
	f := facts(starved())
	f.Users = users()
	r := inspect.New(f)
	if u := r.Tasks[1].User; u == nil || u.CalledFrom != "libgcrypt.so.20" || len(u.Frames) != 4 || !u.Frames[1].Constructor || !u.Frames[3].Guess {
		t.Errorf("%+v", u)
	}
	if !strings.Contains(r.Diagnosis.Summary, "libgcrypt.so.20") {
		t.Errorf("summary %q", r.Diagnosis.Summary)
	}
	table := draw(t, func(b *bytes.Buffer) error { return r.Table(b) })
	if !strings.Contains(table, " wait_for_random_bytes (getrandom, called from libgcrypt.so.20)\n") {
		t.Errorf("table:\n%s", table)
	}
	text := draw(t, func(b *bytes.Buffer) error { return r.Stacks(b) })
	want := `# user-space stacks, innermost function first; ? is a guess
# init(1) → getrandom ← libgcrypt.so.20 ← constructor ← ld.so ← init
#     libc.so.6: getrandom+0x10
#     libgcrypt.so.20+0x1234 (constructor)
#     ld-linux-x86-64.so.2: call_init+0x1
#     ? init+0x5
#     stops here: no table for it
`
	if _, got, _ := strings.Cut(text, "\n#"); "#"+got != want {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, "#"+got))
	}
	if n := len(dump.Parse([]byte(text)).Loose); n != len(r.Tasks) {
		t.Errorf("%d tasks read back of %d", n, len(r.Tasks))
	}
	var maps bytes.Buffer
	if n, err := r.Maps(&maps); err != nil || n != 1 || !strings.Contains(maps.String(), "# init (PID 1)\n") || !strings.Contains(maps.String(), "r-x") || !strings.Contains(maps.String(), "/init\n") {
		t.Errorf("%d, %v:\n%s", n, err, maps.String())
	}
}

func facts(v *guestmem.View) inspect.Facts {
	return inspect.Facts{
		View: v, Version: "v1", HZ: 250, Source: inspect.Source{Dump: "/tmp/memory.elf"},
		Kernel: inspect.Kernel{Path: "/tmp/vmlinux", Arch: arch.X86_64, Release: "6.1.0", BuildID: "0123"},
		Hand:   inspect.Hand{Host: arch.X86_64, Link: 0xffffffff81000000},
	}
}

func draw(t *testing.T, f func(*bytes.Buffer) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := f(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSummary(t *testing.T) {
	got := draw(t, func(b *bytes.Buffer) error { return inspect.New(facts(starved())).Summary(b, report.Style{}) })
	for _, want := range []string{
		"6.1.0  x86_64  up 7.0 s  5 tasks\n",
		"  memory:   kernel at physical 0x2000000, moved by 0x1e00000 (KASLR)\n",
		"  CPU 0:    swapper/0 (PID 0) in native_safe_halt+0x10/0x100, halted\n",
		"entropy-starvation",
		"wait_for_random_bytes",
		"  modules:  virtio_rng\n",
		"  by hand:  crash --kaslr 0x1e00000 VMLINUX /tmp/memory.elf\n",
		"drgn -c /tmp/memory.elf -s VMLINUX\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
}

func TestTable(t *testing.T) {
	got := draw(t, func(b *bytes.Buffer) error { return inspect.New(facts(starved())).Table(b) })
	want := `    PID    PPID S CPU COMM            WAITS IN
      0       0 R   0 swapper/0       (runs) native_safe_halt
      1       0 S   0 init            wait_for_random_bytes (getrandom)
      2       0 S   - kthreadd        kthreadd
      9       0 D   1 worker          do_it (syscall 999): mutex held by kthreadd (PID 2)
     10       2 I   0 kworker/0:1     [events vmstat_update], due in 1.0 s
`
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// What is printed reads back as what it was, and is diagnosed alike.
func TestStacksReadBack(t *testing.T) {
	v := starved()
	r := inspect.New(facts(v))
	text := draw(t, func(b *bytes.Buffer) error { return r.Stacks(b) })
	read := dump.Parse([]byte(text)).Loose
	if len(read) != len(v.Tasks) {
		t.Fatalf("%d tasks read back of %d:\n%s", len(read), len(v.Tasks), text)
	}
	for i, got := range read {
		want := v.Tasks[i]
		if got.PID != want.PID || got.Comm != want.Comm || !cmp.Equal(got.Frames, want.Frames) {
			t.Errorf("task %d: %+v, want %+v", i, got, want)
		}
	}
	if d := diagnose.Explain([]byte(text)); d.Cause != r.Diagnosis.Cause || d.Function != r.Diagnosis.Function {
		t.Errorf("%s in %s, want %s in %s", d.Cause, d.Function, r.Diagnosis.Cause, r.Diagnosis.Function)
	}
}

// An old task dump in the log is not taken for what memory has.
func TestDiagnosisIsOfMemory(t *testing.T) {
	v := starved()
	v.Log = append(v.Log, "[    6.6] sysrq: Show State\n[    6.6] task:init state:S stack:0 pid:1 ppid:0 flags:0x0\n[    6.6] Call Trace:\n"+
		"[    6.6]  schedule+0x1/0x2\n[    6.6]  pipe_read+0x1/0x2\n[    6.6]  ksys_read+0x1/0x2\n[    6.7] Showing busy workqueues and worker pools:\n"...)
	if d := inspect.New(facts(v)).Diagnosis; d.Cause != result.CauseEntropy || d.Task == nil || d.Task.PID != 1 {
		t.Errorf("%s: %s", d.Cause, d.Summary)
	}
}

// One look does not tell a CPU that spins from one that works; a run that saw it
// busy does.
func TestBusyCPU(t *testing.T) {
	v := starved()
	v.Tasks = []model.Task{{Comm: "swapper/0", PID: 1, State: "R", Running: true, Frames: frames("spin_for_ever", "do_one_initcall", "kernel_init")}}
	v.Owners = nil
	v.CPUs = []model.CPU{{PC: 0xffffffff81000010, PID: 1, Comm: "swapper/0", Frames: frames("spin_for_ever")}}
	f := facts(v)
	if d := inspect.New(f).Diagnosis; d.Kind == result.KindLockup {
		t.Errorf("%s: %s", d.Cause, d.Summary)
	}
	f.Run = &inspect.Run{Busy: true}
	if d := inspect.New(f).Diagnosis; d.Cause != result.CauseSpin || d.Function != "spin_for_ever" {
		t.Errorf("%s in %q: %s", d.Cause, d.Function, d.Summary)
	}
}

func TestUptime(t *testing.T) {
	for _, tt := range []struct {
		name    string
		jiffies uint64
		hz      int
		log     string
		want    *inspect.Uptime
	}{
		{"jiffies", 4294892296 + 500, 250, "", &inspect.Uptime{Seconds: 2, From: "jiffies"}},
		{"after they wrapped in 32 bits", 4294892296 + 250*1000, 250, "", &inspect.Uptime{Seconds: 1000, From: "jiffies"}},
		{"no HZ", 4294892296 + 500, 0, "[    1.5] a\n[   12.250000] b\n", &inspect.Uptime{Seconds: 12.25, From: "log"}},
		{"another HZ", 4294892296 + 500, 1000, "[    0.5] a\n", &inspect.Uptime{Seconds: 225.5 - 0.5 + 0.5, From: "jiffies"}},
		{"jiffies that cannot be", 5, 250, "[    3.0] a\n", &inspect.Uptime{Seconds: 3, From: "log"}},
		{"neither", 0, 0, "", nil},
		{"no time stamps", 0, 0, "hello\n", nil},
	} {
		v := starved()
		v.Jiffies, v.Log = tt.jiffies, []byte(tt.log)
		f := facts(v)
		f.HZ = tt.hz
		if d := cmp.Diff(tt.want, inspect.New(f).Uptime); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func TestOnly(t *testing.T) {
	r := inspect.New(facts(starved()))
	if err := r.Only([]int{1, 77}); err == nil || !strings.Contains(err.Error(), "PID 77") {
		t.Errorf("error %v", err)
	}
	if len(r.Tasks) != 5 {
		t.Errorf("%d tasks after an error", len(r.Tasks))
	}
	if err := r.Only(nil); err != nil || len(r.Tasks) != 5 {
		t.Errorf("%d tasks, %v", len(r.Tasks), err)
	}
	if err := r.Only([]int{1}); err != nil || len(r.Tasks) != 2 || r.Tasks[1].PID != 9 {
		t.Errorf("tasks of process 1: %+v, %v", r.Tasks, err)
	}
}

func TestCommands(t *testing.T) {
	lines := func(f inspect.Facts) string {
		var all []string
		for _, c := range inspect.New(f).Commands {
			all = append(all, c.Tool+": "+c.Line)
		}
		return strings.Join(all, "\n")
	}
	f := facts(starved())
	f.Source = inspect.Source{Run: "/tmp/my run", PID: 7}
	f.Hand.QMP, f.Hand.GDB, f.Hand.Vmlinux = "/tmp/my run/sockets/qmp", "/tmp/my run/sockets/gdb", "/src/vmlinux"
	want := `gdb: gdb -ex 'symbol-file /src/vmlinux -o 0x1e00000' -ex 'target remote /tmp/my run/sockets/gdb'
dump: printf '%s\n' '{"execute":"qmp_capabilities"}' '{"execute":"dump-guest-memory","arguments":{"paging":false,"protocol":"file:/tmp/my run/memory.elf"}}' | nc -w 10 -U '/tmp/my run/sockets/qmp'
crash: crash --kaslr 0x1e00000 /src/vmlinux '/tmp/my run/memory.elf'
drgn: drgn -c '/tmp/my run/memory.elf' -s /src/vmlinux`
	if d := cmp.Diff(want, lines(f)); d != "" {
		t.Errorf("a kept guest (-want +got):\n%s", d)
	}
	v := starved()
	v.Offset, v.PhysBase = 0x10000, 0x40200000
	f = facts(v)
	f.Kernel.Arch, f.Hand.Link = arch.AArch64, 0xffff800008000000
	f.Hand.GDB = "/s/gdb"
	want = `gdb: gdb-multiarch -ex 'target remote /s/gdb'
crash: crash -m kimage_voffset=0xffff7fffc7e10000 VMLINUX /tmp/memory.elf
drgn: drgn -c /tmp/memory.elf -s VMLINUX`
	if d := cmp.Diff(want, lines(f)); d != "" {
		t.Errorf("another arch (-want +got):\n%s", d)
	}
}

const nasty = "a\x1b[2J\x07\n\u202eb\x9b\xff"

// fill sets every field there is, texts to something nasty.
var document = sync.OnceValue(func() (doc any) {
	if err := json.Unmarshal([]byte(inspect.JSONSchema()), &doc); err != nil {
		panic(err)
	}
	return doc
})

func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(t, v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(t, v.Index(i))
		}
	case reflect.String:
		v.SetString(nasty)
		if word, ok := schematest.Word(document(), v.Type()); ok {
			v.SetString(word)
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint64, reflect.Uint8:
		v.SetUint(7)
	case reflect.Float64:
		v.SetFloat(math.Pi)
	default:
		t.Fatalf("a field of kind %s: teach the test", v.Kind())
	}
}

// Whatever a guest says, nothing of it acts on a terminal.
func TestHostileGuest(t *testing.T) {
	var v guestmem.View
	fill(t, reflect.ValueOf(&v).Elem())
	v.Log = []byte(nasty + "\n" + nasty)
	for i := range v.Tasks {
		v.Tasks[i].Offset, v.Tasks[i].End = 0, 0
	}
	f := facts(&v)
	fill(t, reflect.ValueOf(&f.Users).Elem())
	f.Problems = []string{nasty}
	f.Source.Dump, f.Kernel.Release = "/tmp/"+nasty, nasty
	r := inspect.New(f)
	all := draw(t, func(b *bytes.Buffer) error { return r.Summary(b, report.Style{}) }) +
		draw(t, func(b *bytes.Buffer) error { return r.Table(b) }) + draw(t, func(b *bytes.Buffer) error { return r.Stacks(b) }) +
		draw(t, func(b *bytes.Buffer) error { return inspect.Lines(b, r.Log) }) + draw(t, func(b *bytes.Buffer) error { return inspect.Lines(b, r.Modules) }) +
		draw(t, func(b *bytes.Buffer) error { _, err := r.Maps(b); return err })
	for _, c := range all {
		if c != '\n' && (unicode.IsControl(c) || c == '\u202e' || c == unicode.ReplacementChar) {
			t.Fatalf("%U in\n%s", c, all)
		}
	}
	r.Source = inspect.Source{} // the user's own words
	b, err := json.Marshal(r)
	if err != nil || bytes.Contains(b, []byte("\u202e")) || bytes.Contains(b, []byte(`\u001b`)) || bytes.Contains(b, []byte(`\u0007`)) {
		t.Errorf("%v: %s", err, b)
	}
}

func schema(t *testing.T) map[string]any {
	t.Helper()
	return schematest.Document(t, inspect.JSONSchema()).(map[string]any)
}

func TestSchemaKnowsEveryField(t *testing.T) {
	var full inspect.Report
	fill(t, reflect.ValueOf(&full).Elem())
	full.Schema = inspect.Schema
	for name, r := range map[string]*inspect.Report{"full": &full, "a guest": inspect.New(facts(starved())), "an empty one": inspect.New(facts(&guestmem.View{}))} {
		doc := schema(t)
		schematest.Forbid(doc)
		if err := schematest.Compile(t, doc).Validate(schematest.Encode(t, r)); err != nil {
			t.Errorf("%s: %v\n(a new field: go generate ./harness/result)", name, err)
		}
	}
	for _, path := range [][]string{{"properties", "log"}, {"$defs", "inspect-Frame", "properties", "guess"}, {"$defs", "result-Link", "properties", "func"}} {
		doc := schema(t)
		m := doc
		for _, k := range path[:len(path)-1] {
			m = m[k].(map[string]any)
		}
		delete(m, path[len(path)-1])
		schematest.Forbid(doc)
		if schematest.Compile(t, doc).Validate(schematest.Encode(t, &full)) == nil {
			t.Errorf("a schema without %v accepts a full Report", path)
		}
	}
	other := full
	other.Schema = "unwedge/inspect/2"
	if schematest.Compile(t, schema(t)).Validate(schematest.Encode(t, &other)) == nil {
		t.Error("another version is accepted")
	}
}
