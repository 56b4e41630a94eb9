package unwedgetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onsi/gomega/types"

	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// ReachUserspace succeeds if the boot reached the stage at which its scenario counts
// as booted: userspace with the tiny initramfs, multi-user with a root file system.
func ReachUserspace() types.GomegaMatcher {
	return &matcher{"reach user space", func(r *result.Result) (bool, string) {
		want := r.Scenario.BootedStage()
		return reached(r, want), fmt.Sprintf("%s; the stage %s was not reported", stages(r), want)
	}}
}

// ReachStage succeeds if the agent reported the stage.
func ReachStage(want stage.Stage) types.GomegaMatcher {
	return &matcher{"reach the stage " + string(want), func(r *result.Result) (bool, string) {
		return reached(r, want), stages(r)
	}}
}

// BeBlockedIn succeeds if the boot hung and its diagnosis says that the task that
// blocks it sleeps in that kernel function. It also matches a result.Diagnosis.
func BeBlockedIn(function string) types.GomegaMatcher {
	return &matcher{"be blocked in " + function, func(r *result.Result) (bool, string) {
		switch d := r.Diagnosis; {
		case r.Outcome != scenarios.Hung:
			return false, "it " + ended(r)
		case d == nil || d.Function == "":
			return false, "it hung, and the diagnosis names no kernel function"
		default:
			return d.Function == function, "it is blocked in " + d.Function
		}
	}}
}

// HaveCause succeeds if the diagnosis names that cause, or one of those if several
// are right. It also matches a result.Diagnosis, or what harness.Explain returns.
func HaveCause(want result.Cause, or ...result.Cause) types.GomegaMatcher {
	what := "have the cause " + string(want)
	for _, c := range or {
		what += " or " + string(c)
	}
	return &matcher{what, func(r *result.Result) (bool, string) {
		if r.Diagnosis == nil {
			return false, "it " + ended(r) + ", and there is no diagnosis"
		}
		return r.Diagnosis.Cause == want || slices.Contains(or, r.Diagnosis.Cause), "the cause is " + string(r.Diagnosis.Cause)
	}}
}

// HaveOutcome succeeds if the boot ended so.
func HaveOutcome(want scenarios.Outcome) types.GomegaMatcher {
	return &matcher{"end as " + string(want), func(r *result.Result) (bool, string) {
		return r.Outcome == want, "it " + ended(r)
	}}
}

// HaveHung succeeds if the boot hung.
func HaveHung() types.GomegaMatcher { return HaveOutcome(scenarios.Hung) }

// HavePanicked succeeds if the kernel panicked.
func HavePanicked() types.GomegaMatcher { return HaveOutcome(scenarios.Panicked) }

// BeAsExpected succeeds if the boot ended as its scenario asks, with the cause
// that the scenario asks for.
func BeAsExpected() types.GomegaMatcher {
	return &matcher{"end as its scenario asks", func(r *result.Result) (bool, string) {
		want := string(r.Scenario.ExpectedOutcome())
		if r.Scenario.Expect.Cause != "" {
			want += " with the cause " + r.Scenario.Expect.Cause
		}
		return r.Expected, fmt.Sprintf("it %s; its scenario asks for: %s", ended(r), want)
	}}
}

// BeClean succeeds if the kernel reported nothing worse than a note, but for findings
// that are known: no oops, no WARNING, nothing of a sanitizer or of lockdep. It also
// matches a result.Explanation, by the last boot of the log.
func BeClean() types.GomegaMatcher {
	return &matcher{"be clean", func(r *result.Result) (bool, string) {
		if result.Clean(r.Findings) {
			return true, "it was"
		}
		return false, "the kernel reported: " + result.Worst(r.Findings).Title
	}}
}

// matcher asks something of a *result.Result. Its failure message is the answer and
// the whole report.
type matcher struct {
	what string
	ask  func(*result.Result) (ok bool, but string)
}

// Match implements types.GomegaMatcher.
func (m *matcher) Match(actual any) (bool, error) {
	r, err := asResult(actual)
	if err != nil {
		return false, fmt.Errorf("expect a boot to %s: %w", m.what, err)
	}
	ok, _ := m.ask(r)
	return ok, nil
}

// FailureMessage implements types.GomegaMatcher.
func (m *matcher) FailureMessage(actual any) string { return m.message("to", actual) }

// NegatedFailureMessage implements types.GomegaMatcher.
func (m *matcher) NegatedFailureMessage(actual any) string { return m.message("not to", actual) }

func (m *matcher) message(to string, actual any) string {
	r, err := asResult(actual)
	if err != nil {
		return err.Error()
	}
	but := "it did"
	if to == "to" {
		_, but = m.ask(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Expected the boot %s %s, but %s.\n\n", to, m.what, but)
	if e, ok := actual.(result.Explanation); ok {
		report.Explanation(&b, e, report.Style{})
	} else if d, ok := actual.(result.Diagnosis); ok {
		report.Diagnosis(&b, d, report.Style{})
	} else if err := report.Text(&b, r, report.Style{}); err != nil { // a Builder takes all
		return err.Error()
	}
	return b.String()
}

// asResult makes a Result of a Diagnosis alone.
func asResult(actual any) (*result.Result, error) {
	if e, ok := actual.(result.Explanation); ok {
		r, err := asResult(e.Diagnosis)
		if err == nil {
			r.Findings = e.LastBoot()
		}
		return r, err
	}
	if d, ok := actual.(result.Diagnosis); ok {
		r := &result.Result{Outcome: scenarios.Outcome(d.Kind), Diagnosis: &d}
		if d.Kind == result.KindHang || d.Kind == result.KindLockup {
			r.Outcome = scenarios.Hung
		}
		return r, nil
	}
	r, ok := actual.(*result.Result)
	switch {
	case !ok:
		return nil, fmt.Errorf("want a *result.Result, a result.Explanation or a result.Diagnosis, got %T", actual)
	case r == nil:
		return nil, errors.New("the Result is nil")
	}
	return r, nil
}

func reached(r *result.Result, want stage.Stage) bool {
	return slices.ContainsFunc(r.Reports, func(rep agentproto.Report) bool { return rep.Stage == want })
}

// stages says which stages the agent reported.
func stages(r *result.Result) string {
	if len(r.Reports) == 0 {
		return "it " + ended(r) + " before user space reported anything"
	}
	var names []string
	for _, rep := range r.Reports {
		if name := fmt.Sprintf("%.32q", rep.Stage); len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	return "it " + ended(r) + ", after the stages " + strings.Join(names, ", ")
}

// ended is the outcome as a verb.
func ended(r *result.Result) string {
	switch r.Outcome {
	case scenarios.Rebooting:
		return "kept resetting itself"
	case scenarios.WrongState:
		return "booted in the wrong state"
	case scenarios.Slow:
		return "was too slow"
	default:
		return string(r.Outcome)
	}
}
