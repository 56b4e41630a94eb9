package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/stage"
)

func answer(o scenarios.Outcome, d result.Diagnosis) *result.Result {
	return &result.Result{Outcome: o, Diagnosis: &d, Times: result.Times{Stalled: 2 * time.Second, Diagnosed: 9 * time.Second}}
}

func TestScore(t *testing.T) {
	spin := Mutant{Function: "do_it", Fault: "spin", Phase: "start_kernel"}
	sleep := Mutant{Function: "do_it", Fault: "sleep", Phase: "core initcalls"}
	crash := Mutant{Function: "do_it", Fault: "crash", Phase: "core initcalls"}
	reset := Mutant{Function: "do_it", Fault: "reset", Phase: "core initcalls"}
	lockup := result.Diagnosis{Kind: result.KindLockup, Cause: result.CauseSpin, Function: "do_it"}
	elsewhere := lockup
	elsewhere.Function = "do_it_all"
	shown := elsewhere
	shown.Evidence = []result.Evidence{{Lines: []string{" ? do_it+0x5/0x10"}}}
	noName := result.Diagnosis{Kind: result.KindHang, Cause: result.CauseKernelWait}
	chained := noName
	chained.Chain = []result.Link{{Func: "do_it"}}
	oops := result.Diagnosis{Kind: result.KindOops, Cause: result.CauseOops, Title: "invalid opcode in do_it"}
	for name, tc := range map[string]struct {
		m       Mutant
		res     *result.Result
		log     string
		verdict Verdict
		placed  Placed
	}{
		"named":                     {spin, answer(scenarios.Hung, lockup), "", Right, ByDiagnosis},
		"another function":          {spin, answer(scenarios.Hung, elsewhere), "", Wrong, Nowhere},
		"another, but shown":        {spin, answer(scenarios.Hung, shown), "", Near, ByEvidence},
		"another kind":              {spin, answer(scenarios.Panicked, oops), "", Wrong, ByDiagnosis},
		"unknown":                   {spin, answer(scenarios.Hung, result.Diagnosis{Kind: result.KindHang, Cause: result.CauseUnknown}), "do_it+0x1/0x2\n", Unknown, ByConsole},
		"silent":                    {spin, answer(scenarios.Hung, result.Diagnosis{Kind: result.KindEarlyDeath, Cause: result.CauseSilent}), "", Unknown, Nowhere},
		"slow":                      {spin, answer(scenarios.Slow, result.Diagnosis{}), "", Missed, NotJudged},
		"came through":              {spin, &result.Result{Outcome: scenarios.Booted}, "", NoEffect, NotJudged},
		"in the chain":              {sleep, answer(scenarios.Hung, chained), "", Right, ByDiagnosis},
		"right kind, no place":      {sleep, answer(scenarios.Hung, noName), "", Unplaced, Nowhere},
		"sleeps":                    {sleep, answer(scenarios.Hung, lockup), "", Wrong, ByDiagnosis},
		"slept where it must not":   {sleep, answer(scenarios.Panicked, oops), "BUG: scheduling while atomic: swapper\n", Right, ByDiagnosis},
		"crashed, in the title":     {crash, answer(scenarios.Panicked, oops), "", Right, ByDiagnosis},
		"reset, nothing to be told": {reset, answer(scenarios.Rebooting, result.Diagnosis{Kind: result.KindRebootLoop, Cause: result.CauseTripleFault}), "", Right, NotJudged},
		"crashed, no handlers yet":  {Mutant{Function: "do_it", Fault: "crash", Phase: noHandlers}, answer(scenarios.Rebooting, result.Diagnosis{Kind: result.KindReset, Cause: result.CauseTripleFault}), "", Right, NotJudged},
		"crashed, with handlers":    {crash, answer(scenarios.Rebooting, result.Diagnosis{Kind: result.KindReset, Cause: result.CauseTripleFault}), "", Wrong, Nowhere},
		"reset, taken for a hang":   {reset, answer(scenarios.Hung, lockup), "", Wrong, NotJudged},
	} {
		s := score(truthOf(tc.m, "x86_64"), tc.res, []byte(tc.log))
		if s.Verdict != tc.verdict || s.Placed != tc.placed {
			t.Errorf("%s: %s, named in %q; want %s, %q", name, s.Verdict, s.Placed, tc.verdict, tc.placed)
		}
		if want := 7 * time.Second; tc.res.Outcome == scenarios.Hung && s.Latency != want {
			t.Errorf("%s: latency %v, want %v", name, s.Latency, want)
		}
	}
}

func TestPlaceByRegisters(t *testing.T) {
	r := answer(scenarios.Hung, result.Diagnosis{Kind: result.KindHang})
	r.Stalls = []result.Stall{{Registers: []result.CPUSample{{Symbol: "do_it+0x5/0x20"}}}}
	if got := place(truthOf(Mutant{Function: "do_it", Fault: "spin"}, "x86_64"), r, nil); got != ByRegisters {
		t.Errorf("named in %q", got)
	}
	if got := place(truthOf(Mutant{Function: "do_it.constprop.0", Fault: "spin"}, "x86_64"), r, nil); got != ByRegisters {
		t.Errorf("with a suffix of the compiler's: named in %q", got)
	}
	if got := place(truthOf(Mutant{Function: "o_it", Fault: "spin"}, "x86_64"), r, nil); got != Nowhere {
		t.Errorf("part of a name: named in %q", got)
	}
}

func TestLeakedLock(t *testing.T) {
	leak := truthOf(Mutant{Function: "do_it", Fault: "leak-lock", Phase: "core initcalls"}, "x86_64")
	for name, tc := range map[string]struct {
		d    result.Diagnosis
		want Verdict
	}{
		"a mutex": {result.Diagnosis{Kind: result.KindHang, Cause: result.CauseMutex, Function: "other"}, Right},
		"a spinlock": {result.Diagnosis{Kind: result.KindLockup, Cause: result.CauseSpin, Function: "other",
			Summary: "systemd (PID 1) keeps a vCPU busy in native_queued_spin_lock_slowpath, called from other"}, Right},
		"a mutex that is spun for": {result.Diagnosis{Kind: result.KindLockup, Cause: result.CauseSpin, Function: "other",
			Summary: "kworker/0:0 (PID 7) keeps a vCPU busy in mutex_spin_on_owner, called from other"}, Right},
		"a spinlock, not who": {result.Diagnosis{Kind: result.KindLockup, Cause: result.CauseSpin, Function: "native_queued_spin_lock_slowpath"}, Near},
		"the leaker itself":   {result.Diagnosis{Kind: result.KindHang, Cause: result.CauseKernelWait, Function: "do_it"}, Right},
		"no place":            {result.Diagnosis{Kind: result.KindHang, Cause: result.CauseMutex}, Unplaced},
		"another kind":        {result.Diagnosis{Kind: result.KindOops, Cause: result.CauseOops, Function: "do_it"}, Wrong},
		"a wait for no lock":  {result.Diagnosis{Kind: result.KindHang, Cause: result.CauseKernelWait, Function: "other"}, Wrong},
		"a spin for no lock":  {result.Diagnosis{Kind: result.KindLockup, Cause: result.CauseSpin, Function: "unlock_spinning"}, Wrong},
		"a lockless spinlock": {result.Diagnosis{Kind: result.KindLockup, Cause: result.CauseSpin, Function: "teardown"}, Wrong},
	} {
		if got := score(leak, answer(scenarios.Hung, tc.d), nil); got.Verdict != tc.want {
			t.Errorf("%s: %s, want %s", name, got.Verdict, tc.want)
		}
	}
	// The kernel notices that a task sleeps with a spinlock.
	atomic := result.Diagnosis{Kind: result.KindOops, Cause: result.CauseOops, Title: "BUG: scheduling while atomic in do_wait", Function: "do_wait"}
	log := []byte("[    8.154595] BUG: scheduling while atomic: systemd/1/0x00000002\n")
	if got := score(leak, answer(scenarios.Hung, atomic), log); got.Verdict != Right {
		t.Errorf("the kernel's complaint: %s", got.Verdict)
	}
}

func TestTaskIsJudgedWhereItIsKnown(t *testing.T) {
	pid1 := &result.Blocked{Comm: "swapper/0", PID: 1}
	initcall := truthOf(Mutant{Function: "do_it", Fault: "spin", Initcall: true}, "x86_64")
	d := result.Diagnosis{Kind: result.KindLockup, Cause: result.CauseSpin, Function: "do_it", Task: pid1}
	if s := score(initcall, answer(scenarios.Hung, d), nil); !s.TaskJudged || !s.TaskRight {
		t.Errorf("%+v", s)
	}
	d.Task = &result.Blocked{Comm: "kworker/0:1", PID: 9}
	if s := score(initcall, answer(scenarios.Hung, d), nil); !s.TaskJudged || s.TaskRight || s.Verdict != Right {
		t.Errorf("another task: %+v", s)
	}
	if s := score(truthOf(Mutant{Function: "do_it", Fault: "spin"}, "x86_64"), answer(scenarios.Hung, d), nil); s.TaskJudged {
		t.Errorf("a function that any task may enter: %+v", s)
	}
	child := Task{Comm: "init", NotPID1: true}
	if child.is(nil) || child.is(&result.Blocked{Comm: "init", PID: 1}) || !child.is(&result.Blocked{Comm: "init", PID: 70}) {
		t.Error("a child of PID 1 is taken for it, or not for itself")
	}
}

func TestHealthyListIsMixed(t *testing.T) {
	old := &candidate.Candidate{Kernel: &kernel.Kernel{Release: "6.1"}}
	young := &candidate.Candidate{Kernel: &kernel.Kernel{Release: "7.3", Config: &kernel.Config{}}}
	list, err := healthyList(arch.X86_64, []*candidate.Candidate{old, young}, 150)
	if err != nil || len(list) != 150 {
		t.Fatal(len(list), err)
	}
	again, _ := healthyList(arch.X86_64, []*candidate.Candidate{old, young}, 40)
	kinds := map[string]int{}
	for i, h := range list {
		if i < len(again) && (again[i].sc.Name != h.sc.Name || again[i].load != h.load || again[i].pause.name != h.pause.name || again[i].c != h.c) {
			t.Errorf("boot %d depends on how many there are", i)
		}
		if h.index != i || h.sc.Initramfs.FIPS() && h.c == young {
			t.Errorf("boot %d: %+v", i, h)
		}
		kinds[h.sc.Name]++
		kinds["pause "+h.pause.name]++
		kinds[h.c.Kernel.Release]++
		kinds[fmt.Sprint("cpus ", h.sc.CPUs)]++
		kinds[fmt.Sprint("load ", h.load)]++
		kinds["root "+string(h.sc.Root)]++
	}
	for _, p := range slices.Concat(tinyPauses, distroPauses) {
		if kinds["pause "+p.name] < 3 {
			t.Errorf("%d boots with %s", kinds["pause "+p.name], p.name)
		}
	}
	for _, k := range []string{"distro/x86_64/none/dracut-fips", "distro/x86_64/virtio-rng/dracut", "random/x86_64/none/tiny", "tiny/x86_64/virtio-rng/tiny", "6.1", "7.3", "cpus 1", "cpus 2", "load true"} {
		if kinds[k] < 5 {
			t.Errorf("%d boots of %s", kinds[k], k)
		}
	}
	if kinds["root ext4"] != 60 {
		t.Errorf("%d boots of a distribution", kinds["root ext4"])
	}
}

func TestChangedInitramfs(t *testing.T) {
	b, err := with(unit("etc/systemd", "a.service", "b.target", "[Service]", "ExecStart=/x")...)([]byte("0123"))
	if err != nil || !strings.HasPrefix(string(b), "0123\x00") || len(b) < 1024 {
		t.Fatal(len(b), err)
	}
	r := cpio.NewReader(bytes.NewReader(b[512:]))
	var names []string
	for {
		h, err := r.Next()
		if err != nil {
			break
		}
		names = append(names, h.Name+" "+h.Linkname)
	}
	want := []string{"etc ", "etc/systemd ", "etc/systemd/a.service ", "etc/systemd/b.target.wants ", "etc/systemd/b.target.wants/a.service ../a.service"}
	if !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
	if half, err := truncated(make([]byte, 1002)); err != nil || len(half) != 500 {
		t.Error(len(half), err)
	}
}

func TestScoreUserFault(t *testing.T) {
	u := userFault{name: "flock", kinds: isHang, causes: []result.Cause{result.CauseUserLock}, syscall: "flock"}
	d := result.Diagnosis{Kind: result.KindHang, Cause: result.CauseUserLock, Syscall: "flock"}
	if s := score(u.truth(arch.X86_64), answer(scenarios.Hung, d), nil); s.Verdict != Right {
		t.Errorf("%+v", s)
	}
	d.Cause = result.CauseEntropy
	if s := score(u.truth(arch.X86_64), answer(scenarios.Hung, d), nil); s.CauseRight || s.Verdict == Right {
		t.Errorf("another cause: %+v", s)
	}
}

func TestCount(t *testing.T) {
	c := count([]Score{
		{Verdict: Right, KindRight: true, CauseRight: true, Placed: ByDiagnosis, Latency: 3 * time.Second},
		{Verdict: Near, KindRight: true, CauseRight: true, Placed: ByEvidence, Latency: 9 * time.Second},
		{Verdict: Missed, Latency: 5 * time.Second},
		{Verdict: NoEffect}, {Verdict: Failed},
	})
	if c.seeded != 3 || c.detected != 2 || c.kind != 2 || c.located != 1 || c.right != 1 || c.median() != "5.0 s" || c.worst() != "9.0 s" {
		t.Errorf("%+v", c)
	}
}

func trace(names ...string) []Entered {
	var out []Entered
	for i, n := range names {
		out = append(out, Entered{Name: n, Addr: uint64(i)})
	}
	return out
}

func TestPhases(t *testing.T) {
	names := []string{"_stext", "start_kernel", "memcpy", "setup_per_cpu_areas", "kernel_init", "early_thing", "core_thing", "bus_register",
		"late_registered", "really_probe", "some_driver_probe", "ioremap_it", "sub_thing", "strlen", "populate_rootfs", "unpack_to_rootfs", "dev_thing",
		"kprobe_thing", "core_again", "free_initmem", "do_execve"}
	of := map[string]string{"early_thing": "early", "core_thing": "1", "sub_thing": "4", "populate_rootfs": "rootfs", "dev_thing": "6", "core_again": "1"}
	var got []string
	for _, p := range phases(trace(names...), of) {
		got = append(got, fmt.Sprintf("%s %d %v", p.Name, len(p.Functions), p.MaySleep))
	}
	want := []string{
		"before start_kernel 1 false", "start_kernel, early arch set-up 2 false", "start_kernel 1 false", "kernel_init, early initcalls 2 true",
		"core initcalls 3 true", "subsys initcalls 2 true", "initramfs unpack 2 true", "device initcalls 3 true", "driver probes 3 true", userSpace + " 2 true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	for _, name := range got {
		if phaseRank(name[:strings.LastIndexByte(name[:strings.LastIndexByte(name, ' ')], ' ')]) < 0 {
			t.Errorf("phase %q has no rank", name)
		}
	}
}

func TestJoin(t *testing.T) {
	at := func(stage stage.Stage, names ...string) []Entered {
		out := trace(names...)
		for i := range out {
			out[i].Stage = stage
		}
		return out
	}
	tiny := phases(trace("start_kernel", "free_initmem", "execve", "reboot"), nil)
	distro := phases(slices.Concat(trace("start_kernel", "free_initmem", "execve", "clone"), at(stage.Initramfs, "epoll", "reboot"),
		at(stage.SwitchRoot, "leave", "__do_sys_pivot_root", "attach", "exec_again"), at(stage.System, "flock", "cgroup_probe")), nil)
	var got []string
	for _, p := range join(tiny, distro) {
		names := p.Name + ":"
		for _, f := range p.Functions {
			names += " " + f.Name
		}
		got = append(got, fmt.Sprint(names, " ", p.Distro))
	}
	want := []string{
		noHandlers + ": false", "start_kernel, early arch set-up: start_kernel false", userSpace + ": free_initmem execve reboot false",
		inDracut + ": clone epoll true", switchRoot + ": leave __do_sys_pivot_root true", services + ": attach exec_again flock cgroup_probe true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestInitcallSymbols(t *testing.T) {
	table := kallsymsTable(t, "__initcall__kmod_a__1_2_one1", "__initcall__kmod_a__1_2_two2", "__initcall__kmod_b__1_2_two6", "__initcall__kmod_b__9_2_two2")
	if of, exact := initcalls(table); !exact || len(of) != 1 || of["one"] != "1" {
		t.Errorf("%v, %v", of, exact)
	}
	if of, exact := initcalls(kallsymsTable(t)); exact || of["populate_rootfs"] != "rootfs" {
		t.Errorf("a table without initcalls: %v, %v", of, exact)
	}
	for name, want := range map[string][2]string{
		"__initcall__kmod_core__386_2229_init_hw_perf_eventsearly":  {"init_hw_perf_events", "early"},
		"__initcall__kmod_autofs4__269_45_init_autofs_fs6":          {"init_autofs_fs", "6"},
		"__initcall__kmod_a__b_c__1_2_x7s":                          {"x", "7"},
		"__initcall__kmod_initramfs__279_776_populate_rootfsrootfs": {"populate_rootfs", "rootfs"},
		"__initcall__kmod_vt__362_3549_con_initcon":                 {"con_init", "con"},
	} {
		m := symbol.FindStringSubmatch(name)
		if m == nil || m[1] != want[0] || m[2] != want[1] {
			t.Errorf("%s: %q", name, m)
		}
	}
	if symbol.MatchString("__initcall_start") {
		t.Error("a mark of the linker's is taken for an initcall")
	}
}

func TestTypesTable(t *testing.T) {
	right := Score{Verdict: Right, Placed: ByDiagnosis, KindRight: true}
	c := Card{Scores: []Score{right, {Truth: Truth{Types: Inferred}, Verdict: Wrong}, right}}
	var b bytes.Buffer
	c.typesTable(&b)
	for _, want := range []string{"| BTF | 2 | 2/2 |", "| inferred | 1 | 1/1 |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "compiled") {
		t.Errorf("nothing was compiled:\n%s", b.String())
	}
}

func TestDraw(t *testing.T) {
	var early, late []string
	for i := range 200 {
		early, late = append(early, fmt.Sprint("early", i)), append(late, fmt.Sprint("late", i))
	}
	list := []Phase{{Name: "a", Functions: trace(early...)}, {Name: "b", Functions: trace(late...), MaySleep: true, Distro: true}}
	try := func(f string, fault mutate.Fault) error {
		if strings.HasSuffix(f, "7") || fault.String() == "leak-lock" {
			return errors.New("too short")
		}
		return nil
	}
	one, refused := draw(list, 20, 5, arch.X86_64, try)
	if len(one) != 20 || refused == 0 {
		t.Fatal(len(one), refused)
	}
	same := func(a, b []slot) bool { return slices.EqualFunc(a, b, slices.Equal[slot]) }
	two, _ := draw(list, 20, 5, arch.X86_64, try)
	other, _ := draw(list, 20, 6, arch.X86_64, try)
	if !same(one, two) || same(one, other) {
		t.Error("a draw does not depend on its seed alone")
	}
	if arm, _ := draw(list, 20, 5, arch.AArch64, try); same(one, arm) {
		t.Error("both arches have the same draw")
	}
	// A longer draw begins with the shorter one, so a score can be enlarged.
	if short, _ := draw(list, 7, 5, arch.X86_64, try); !same(short, one[:7]) {
		t.Error("a longer draw begins with others")
	}
	without := 0
	for _, s := range one {
		if s[0].Types != "" && s[0].Types == s[perSlot-1].Types {
			without++
		}
	}
	if without < len(one)/4 || without > len(one)/2 {
		t.Errorf("%d of %d kernels are without BTF", without, len(one))
	}
	used, faults := map[string]bool{}, map[string]bool{}
	for i, s := range one {
		if len(s) != perSlot && i < 8 || s[0].Fault != s[perFault-1].Fault || i < 8 && s[0].Fault == s[perFault].Fault {
			t.Errorf("slot %d: %v", i, s)
		}
		for _, m := range s {
			if used[m.Function] || strings.HasSuffix(m.Function, "7") || m.Phase != list[i%2].Name || m.Distro != list[i%2].Distro ||
				m.Phase == "a" && m.Fault == "sleep" {
				t.Errorf("draw %d: %+v", i, m)
			}
			used[m.Function], faults[m.Phase+m.Fault] = true, true
		}
	}
	if len(faults) != 4+5 {
		t.Errorf("drawn: %v", faults)
	}
	// A phase that runs dry is left out, and then there is an end.
	if all, _ := draw(list, 400, 5, arch.X86_64, try); len(all) >= 100 || len(all) < 20 {
		t.Errorf("%d slots from 400 functions", len(all))
	}
}

// kallsymsTable is a table of a few functions, and data of these names.
func kallsymsTable(t *testing.T, data ...string) *kallsyms.Table {
	const base = kerneltest.TextAddr
	syms := []kerneltest.Symbol{{Off: 0, Type: 'T', Name: "_text"}, {Off: 0x10, Type: 'T', Name: "start_kernel"}, {Off: 0x40, Type: 't', Name: "second"}, {Off: 0x80, Type: 'd', Name: "data"}}
	for i := range 60 {
		syms = append(syms, kerneltest.Symbol{Off: 0x200 + uint64(i), Type: 't', Name: "filler"})
	}
	for i, name := range data {
		syms = append(syms, kerneltest.Symbol{Off: 0x300 + uint64(i), Type: 'd', Name: name})
	}
	elf := kerneltest.ELF(2, 62, kerneltest.Section{Name: ".text", Type: 1, Flags: 6, Addr: base, Data: make([]byte, 0x400)},
		kerneltest.Section{Name: ".rodata", Type: 1, Flags: 2, Addr: base + 0x20000, Data: kerneltest.Kallsyms(base, syms)})
	table, err := kallsyms.Parse(elf, arch.X86_64)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestReadTrace(t *testing.T) {
	const base = kerneltest.TextAddr
	table := kallsymsTable(t)
	block := func(off uint64) string {
		return fmt.Sprintf("----------------\nIN: \n%#016x:  55   pushq    %%rbp\n%#016x:  53  pushq %%rbx\n\n", base+off, base+off+0x30)
	}
	log := block(0x40) + block(0x44) + block(0x10) + block(0x40) + block(0x80) + "IN: \n0x00000000000fffff:  90 nop\nIN: \n0xfff"
	reached := stage.Init
	got, err := readTrace(strings.NewReader(log), table, func() *stage.Stage { return &reached })
	var names []string
	for _, e := range got {
		names = append(names, e.Name)
	}
	if err != nil || !slices.Equal(names, []string{"second", "start_kernel"}) || got[0].Stage != reached {
		t.Errorf("entered %q, %v", names, err)
	}
	// A line longer than the buffer, and a reader that fails.
	broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 3<<20)+"\n"+block(0x40)), failing{})
	if _, err := readTrace(broken, table, func() *stage.Stage { return nil }); err == nil {
		t.Error("a broken log is no error")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestMarkdown(t *testing.T) {
	c := Card{
		Scores: []Score{
			{Truth: Truth{ID: "x86_64/spin/a", Arch: "x86_64", Fault: "spin"}, Verdict: Right, KindRight: true, CauseRight: true, Placed: ByDiagnosis},
			{Truth: Truth{ID: "x86_64/user/exit", Arch: "x86_64", Fault: "user: exit"}, Verdict: Wrong, Kind: result.KindHang, Title: "a | b"},
			{Truth: Truth{ID: "x86_64/sleep/b", Arch: "x86_64", Fault: "sleep"}, Verdict: Missed, Dir: "runs/b"},
		},
		Healthy: []Healthy{{Cell: "tiny", Arch: "x86_64", Outcome: scenarios.Booted}, {Cell: "tiny", Arch: "x86_64", Outcome: scenarios.Hung, Dir: "healthy-1"}},
	}
	var b strings.Builder
	c.markdown(&b, "make score", map[string]string{"x86_64/sleep/b": "because"})
	for _, want := range []string{
		"| x86_64 | **all** | 3 | 2/3 |", "| x86_64 | user space | 1 |", `a \| b`, "False alarm: tiny", "| x86_64 |  | tiny | 0 |  |  | 2 | 1 | 0 |", "because", "runs/b",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
	if strings.Index(b.String(), "x86_64/user/exit") > strings.Index(b.String(), "x86_64/sleep/b") {
		t.Error("a wrong answer is not listed before a miss")
	}
}

func TestParse(t *testing.T) {
	for _, bad := range [][]string{{"--arch", "vax"}, {"--kernel", "x"}, {"-j", "0"}, {"--n", "-1"}} {
		if _, err := parse(append(bad, "--out", t.TempDir())); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	o, err := parse([]string{"--arch", "aarch64", "--seed", "5", "--n", "3", "--out", t.TempDir()})
	if err != nil || !strings.Contains(o.command(), "--seed 5") || !strings.Contains(o.command(), "--arch aarch64") {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestShortScoreOfEveryArchitecture(t *testing.T) {
	for _, a := range arch.All() {
		s, err := readShort(a)
		if err != nil || len(s.Mutants) == 0 {
			t.Errorf("%s: %+v, %v", a, s, err)
		}
		for _, m := range s.Mutants {
			if !slices.Contains(drawn, m.Fault) {
				t.Errorf("%s: fault %q", a, m.Fault)
			}
		}
		for _, name := range s.User {
			if !slices.ContainsFunc(userFaults, func(u userFault) bool { return u.name == name }) {
				t.Errorf("%s: no fault %q of user space", a, name)
			}
		}
	}
}
