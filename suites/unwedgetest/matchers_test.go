package unwedgetest_test

import (
	"strings"
	"testing"

	"github.com/onsi/gomega/types"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/stage"
	"github.com/unwedge/unwedge/suites/unwedgetest"
)

func booted() *result.Result {
	return &result.Result{
		Scenario: unwedgetest.Cell("tiny", arch.X86_64), Outcome: scenarios.Booted, Expected: true,
		Reports: []agentproto.Report{{Stage: stage.Init}, {Stage: stage.Userspace}},
		Dir:     "/runs/1",
	}
}

func starved() *result.Result {
	return &result.Result{
		Scenario: unwedgetest.Cell("random", arch.X86_64), Outcome: scenarios.Hung, Why: "no progress",
		Reports: []agentproto.Report{{Stage: stage.Init}}, Dir: "/runs/2",
		Diagnosis: &result.Diagnosis{
			Kind: result.KindHang, Cause: result.CauseEntropy, Function: "wait_for_random_bytes", Syscall: "getrandom",
			Summary: "init waits for random numbers", Remedy: "add virtio-rng",
			Chain: []result.Link{{Comm: "init", PID: 1, State: "S", Func: "wait_for_random_bytes", Syscall: "getrandom"}},
		},
	}
}

func ended(o scenarios.Outcome) *result.Result {
	r := booted()
	r.Outcome, r.Expected, r.Reports = o, false, nil
	return r
}

func TestMatchers(t *testing.T) {
	distro := booted()
	distro.Scenario = unwedgetest.Cell("distro", arch.X86_64)
	for _, c := range []struct {
		name    string
		matcher types.GomegaMatcher
		yes, no []*result.Result
	}{
		{"ReachUserspace", unwedgetest.ReachUserspace(), []*result.Result{booted()}, []*result.Result{starved(), ended(scenarios.Panicked), distro}},
		{"ReachStage", unwedgetest.ReachStage(stage.Init), []*result.Result{booted(), starved()}, []*result.Result{ended(scenarios.Hung)}},
		{"BeBlockedIn", unwedgetest.BeBlockedIn("wait_for_random_bytes"), []*result.Result{starved()}, []*result.Result{booted(), ended(scenarios.Hung)}},
		{"BeBlockedIn another", unwedgetest.BeBlockedIn("pipe_read"), nil, []*result.Result{starved()}},
		{"HaveCause", unwedgetest.HaveCause(result.CauseEntropy), []*result.Result{starved()}, []*result.Result{booted()}},
		{"HaveCause, one of", unwedgetest.HaveCause(result.CauseOOM, result.CauseEntropy), []*result.Result{starved()}, []*result.Result{booted()}},
		{"HaveCause another", unwedgetest.HaveCause(result.CauseOOM), nil, []*result.Result{starved()}},
		{"HaveOutcome", unwedgetest.HaveOutcome(scenarios.Stopped), []*result.Result{ended(scenarios.Stopped)}, []*result.Result{booted()}},
		{"HaveHung", unwedgetest.HaveHung(), []*result.Result{starved()}, []*result.Result{booted(), ended(scenarios.Slow)}},
		{"HavePanicked", unwedgetest.HavePanicked(), []*result.Result{ended(scenarios.Panicked)}, []*result.Result{booted(), starved()}},
		{"BeAsExpected", unwedgetest.BeAsExpected(), []*result.Result{booted()}, []*result.Result{starved(), ended(scenarios.WrongState)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range c.yes {
				if ok, err := c.matcher.Match(r); !ok || err != nil {
					t.Errorf("%s boot: %v, %v; want a match", r.Outcome, ok, err)
				}
			}
			for _, r := range c.no {
				if ok, err := c.matcher.Match(r); ok || err != nil {
					t.Errorf("%s boot: %v, %v; want no match", r.Outcome, ok, err)
				}
				if msg := c.matcher.FailureMessage(r); !strings.Contains(msg, r.Dir) {
					t.Errorf("the message does not say where the artifacts are:\n%s", msg)
				}
			}
		})
	}
}

func TestTheFailureMessageIsTheDiagnosis(t *testing.T) {
	msg := unwedgetest.ReachUserspace().FailureMessage(starved())
	for _, want := range []string{
		"Expected the boot to reach user space", "hung", `"init"`, "HUNG", "entropy-starvation",
		"init (PID 1, state S) getrandom() in wait_for_random_bytes", "add virtio-rng", "/runs/2",
	} {
		if !strings.Contains(msg, want) {
			t.Errorf("no %q in\n%s", want, msg)
		}
	}
	if msg := unwedgetest.HaveHung().NegatedFailureMessage(starved()); !strings.HasPrefix(msg, "Expected the boot not to end as hung, but it did.") {
		t.Errorf("negated:\n%s", msg)
	}
}

func TestAGuestsTextIsTameInMessages(t *testing.T) {
	r := starved()
	r.Why = "\x1b[2J"
	r.Reports[0].Stage = "\x1b]0;x\a"
	r.Diagnosis.Summary = "\x1b[31m"
	msg := unwedgetest.ReachUserspace().FailureMessage(r)
	if strings.ContainsAny(msg, "\x1b\a") {
		t.Errorf("control characters in %q", msg)
	}
}

func TestOnlyResultsAreMatched(t *testing.T) {
	for _, actual := range []any{nil, "booted", (*result.Result)(nil), result.Result{}} {
		if ok, err := unwedgetest.HaveHung().Match(actual); ok || err == nil {
			t.Errorf("%#v: %v, %v; want an error", actual, ok, err)
		}
	}
}

func TestKernels(t *testing.T) {
	for _, c := range []struct {
		env  string
		want []unwedgetest.Kernel
	}{
		{"", []unwedgetest.Kernel{
			{Arg: "deb:linux-image-cloud-amd64@bookworm", Arch: arch.X86_64},
			{Arg: "deb:linux-image-cloud-arm64@bookworm", Arch: arch.AArch64},
		}},
		{"a, b,", []unwedgetest.Kernel{
			{Arg: "a", Arch: arch.X86_64}, {Arg: "a", Arch: arch.AArch64}, {Arg: "b", Arch: arch.X86_64}, {Arg: "b", Arch: arch.AArch64},
		}},
	} {
		t.Setenv("UNWEDGE_KERNEL", c.env)
		got := unwedgetest.Kernels()
		if len(got) != len(c.want) {
			t.Fatalf("%q: %v, want %v", c.env, got, c.want)
		}
		for i := range got {
			if got[i] != c.want[i] {
				t.Errorf("%q: %v, want %v", c.env, got[i], c.want[i])
			}
		}
	}
}

func TestPickWantsACellThatIsThere(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic for a cell that the scenario lacks")
		}
	}()
	unwedgetest.Pick(unwedgetest.Cells("distro", arch.X86_64), scenarios.None, scenarios.Tiny)
}
