package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/diagnose"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/vcpu"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func answer(o scenarios.Outcome, d diagnose.Diagnosis) *result.Result {
	return &result.Result{Outcome: o, Diagnosis: &d, Times: result.Times{Stalled: 2 * time.Second, Diagnosed: 9 * time.Second}}
}

func TestScore(t *testing.T) {
	spin := Mutant{"do_it", "spin", "start_kernel"}
	sleep := Mutant{"do_it", "sleep", "core initcalls"}
	crash := Mutant{"do_it", "crash", "core initcalls"}
	reset := Mutant{"do_it", "reset", "core initcalls"}
	lockup := diagnose.Diagnosis{Kind: diagnose.KindLockup, Cause: diagnose.CauseSpin, Function: "do_it"}
	elsewhere := lockup
	elsewhere.Function = "do_it_all"
	shown := elsewhere
	shown.Evidence = []diagnose.Evidence{{Lines: []string{" ? do_it+0x5/0x10"}}}
	noName := diagnose.Diagnosis{Kind: diagnose.KindHang, Cause: diagnose.CauseKernelWait}
	chained := noName
	chained.Chain = []diagnose.Link{{Func: "do_it"}}
	oops := diagnose.Diagnosis{Kind: diagnose.KindOops, Cause: diagnose.CauseOops, Title: "invalid opcode in do_it"}
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
		"unknown":                   {spin, answer(scenarios.Hung, diagnose.Diagnosis{Kind: diagnose.KindHang, Cause: diagnose.CauseUnknown}), "do_it+0x1/0x2\n", Unknown, ByConsole},
		"silent":                    {spin, answer(scenarios.Hung, diagnose.Diagnosis{Kind: diagnose.KindEarlyDeath, Cause: diagnose.CauseSilent}), "", Unknown, Nowhere},
		"slow":                      {spin, answer(scenarios.Slow, diagnose.Diagnosis{}), "", Missed, NotJudged},
		"came through":              {spin, &result.Result{Outcome: scenarios.Booted}, "", NoEffect, NotJudged},
		"in the chain":              {sleep, answer(scenarios.Hung, chained), "", Right, ByDiagnosis},
		"right kind, no place":      {sleep, answer(scenarios.Hung, noName), "", Unplaced, Nowhere},
		"sleeps":                    {sleep, answer(scenarios.Hung, lockup), "", Wrong, ByDiagnosis},
		"slept where it must not":   {sleep, answer(scenarios.Panicked, oops), "BUG: scheduling while atomic: swapper\n", Right, ByDiagnosis},
		"crashed, in the title":     {crash, answer(scenarios.Panicked, oops), "", Right, ByDiagnosis},
		"reset, nothing to be told": {reset, answer(scenarios.Rebooting, diagnose.Diagnosis{Kind: diagnose.KindRebootLoop, Cause: diagnose.CauseTripleFault}), "", Right, NotJudged},
		"crashed, no handlers yet":  {Mutant{"do_it", "crash", noHandlers}, answer(scenarios.Rebooting, diagnose.Diagnosis{Kind: diagnose.KindReset, Cause: diagnose.CauseTripleFault}), "", Right, NotJudged},
		"crashed, with handlers":    {crash, answer(scenarios.Rebooting, diagnose.Diagnosis{Kind: diagnose.KindReset, Cause: diagnose.CauseTripleFault}), "", Wrong, Nowhere},
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
	r := answer(scenarios.Hung, diagnose.Diagnosis{Kind: diagnose.KindHang})
	r.Stalls = []result.Stall{{Registers: []vcpu.Sample{{Symbol: "do_it+0x5/0x20"}}}}
	if got := place(truthOf(Mutant{"do_it", "spin", ""}, "x86_64"), r, nil); got != ByRegisters {
		t.Errorf("named in %q", got)
	}
	if got := place(truthOf(Mutant{"do_it.constprop.0", "spin", ""}, "x86_64"), r, nil); got != ByRegisters {
		t.Errorf("with a suffix of the compiler's: named in %q", got)
	}
	if got := place(truthOf(Mutant{"o_it", "spin", ""}, "x86_64"), r, nil); got != Nowhere {
		t.Errorf("part of a name: named in %q", got)
	}
}

func TestScoreUserFault(t *testing.T) {
	u := userFault{name: "flock", kinds: isHang, causes: []diagnose.Cause{diagnose.CauseUserLock}, syscall: "flock"}
	d := diagnose.Diagnosis{Kind: diagnose.KindHang, Cause: diagnose.CauseUserLock, Syscall: "flock"}
	if s := score(u.truth(arch.X86_64), answer(scenarios.Hung, d), nil); s.Verdict != Right {
		t.Errorf("%+v", s)
	}
	d.Cause = diagnose.CauseEntropy
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
		out = append(out, Entered{n, uint64(i)})
	}
	return out
}

func TestPhases(t *testing.T) {
	got := phases(trace("_stext", "start_kernel", "memcpy", "kernel_init", "driver_init", "populate_rootfs", "free_initmem", "do_execve"))
	var names []string
	for _, p := range got {
		names = append(names, fmt.Sprintf("%s %d %v", p.Name, len(p.Functions), p.MaySleep))
	}
	want := []string{
		"before start_kernel 1 false", "start_kernel 2 false", "kernel_init, early initcalls 1 true", "core initcalls 1 true",
		"initramfs, device initcalls 1 true", userSpace + " 2 true",
	}
	if !slices.Equal(names, want) {
		t.Errorf("%q", names)
	}
}

func TestDraw(t *testing.T) {
	var early, late []string
	for i := range 50 {
		early, late = append(early, fmt.Sprint("early", i)), append(late, fmt.Sprint("late", i))
	}
	list := []Phase{{Name: "a", Functions: trace(early...)}, {Name: "b", Functions: trace(late...), MaySleep: true}}
	try := func(f string, _ mutate.Fault) error {
		if strings.HasSuffix(f, "7") {
			return errors.New("too short")
		}
		return nil
	}
	one, refused, err := draw(list, 40, 5, try)
	if err != nil || len(one) != 40 || refused == 0 {
		t.Fatal(len(one), refused, err)
	}
	two, _, _ := draw(list, 40, 5, try)
	other, _, _ := draw(list, 40, 6, try)
	if !slices.Equal(one, two) || slices.Equal(one, other) {
		t.Error("a draw does not depend on its seed alone")
	}
	// A longer draw begins with the shorter one, so a score can be enlarged.
	if short, _, _ := draw(list, 10, 5, try); !slices.Equal(short, one[:10]) {
		t.Error("a longer draw begins with others")
	}
	used := map[string]bool{}
	for i, m := range one {
		if used[m.Function] || strings.HasSuffix(m.Function, "7") || m.Phase != list[i%2].Name || m.Phase == "a" && m.Fault == "sleep" {
			t.Errorf("draw %d: %+v", i, m)
		}
		used[m.Function] = true
	}
	if _, _, err := draw(list, 200, 5, try); err == nil {
		t.Error("more mutants than functions were drawn")
	}
}

func TestReadTrace(t *testing.T) {
	const base = kerneltest.TextAddr
	syms := []kerneltest.Symbol{{Off: 0, Type: 'T', Name: "_text"}, {Off: 0x10, Type: 'T', Name: "start_kernel"}, {Off: 0x40, Type: 't', Name: "second"}, {Off: 0x80, Type: 'd', Name: "data"}}
	for i := range 60 {
		syms = append(syms, kerneltest.Symbol{Off: 0x200 + uint64(i), Type: 't', Name: "filler"})
	}
	elf := kerneltest.ELF(2, 62, kerneltest.Section{Name: ".text", Type: 1, Flags: 6, Addr: base, Data: make([]byte, 0x400)},
		kerneltest.Section{Name: ".rodata", Type: 1, Flags: 2, Addr: base + 0x20000, Data: kerneltest.Kallsyms(base, syms)})
	table, err := kallsyms.Parse(elf, arch.X86_64)
	if err != nil {
		t.Fatal(err)
	}
	block := func(off uint64) string {
		return fmt.Sprintf("----------------\nIN: \n%#016x:  55   pushq    %%rbp\n%#016x:  53  pushq %%rbx\n\n", base+off, base+off+0x30)
	}
	log := block(0x40) + block(0x44) + block(0x10) + block(0x40) + block(0x80) + "IN: \n0x00000000000fffff:  90 nop\nIN: \n0xfff"
	got, err := readTrace(strings.NewReader(log), table)
	var names []string
	for _, e := range got {
		names = append(names, e.Name)
	}
	if err != nil || !slices.Equal(names, []string{"second", "start_kernel"}) {
		t.Errorf("entered %q, %v", names, err)
	}
	// A line longer than the buffer, and a reader that fails.
	broken := io.MultiReader(strings.NewReader(strings.Repeat("x", 3<<20)+"\n"+block(0x40)), failing{})
	if _, err := readTrace(broken, table); err == nil {
		t.Error("a broken log is no error")
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("broken") }

func TestMarkdown(t *testing.T) {
	c := Card{
		Scores: []Score{
			{Truth: Truth{ID: "x86_64/spin/a", Arch: "x86_64", Fault: "spin"}, Verdict: Right, KindRight: true, CauseRight: true, Placed: ByDiagnosis},
			{Truth: Truth{ID: "x86_64/user/exit", Arch: "x86_64", Fault: "user: exit"}, Verdict: Wrong, Kind: diagnose.KindHang, Title: "a | b"},
			{Truth: Truth{ID: "x86_64/sleep/b", Arch: "x86_64", Fault: "sleep"}, Verdict: Missed, Dir: "runs/b"},
		},
		Healthy: []Healthy{{Cell: "tiny", Arch: "x86_64", Outcome: scenarios.Booted}, {Cell: "tiny", Arch: "x86_64", Outcome: scenarios.Hung, Dir: "healthy-1"}},
	}
	var b strings.Builder
	c.markdown(&b, "make score")
	for _, want := range []string{
		"| x86_64 | **all** | 3 | 2/3 |", "| x86_64 | user space | 1 |", `a \| b`, "False alarm: tiny", "| x86_64 |  | tiny | 0 | 2 | 1 | 0 |", "runs/b",
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
