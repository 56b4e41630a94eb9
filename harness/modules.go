package harness

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
)

// triedModules holds what became of the external modules against what was
// predicted.
func triedModules(trials []ModuleTrial, reports []agentproto.Report) []result.Module {
	var out []result.Module
	for _, t := range trials {
		m := result.Module{Label: t.Label, Wanted: t.Want, Predicted: t.Predicted}
		for _, r := range reports {
			if r.Module != nil && r.Module.Label == t.Label {
				m.Got = r.Module
			}
		}
		m.Difference = t.difference(m.Got)
		out = append(out, m)
	}
	return out
}

// difference says in one sentence what is not as it was predicted, or as the
// scenario asks; "" if all is.
func (t ModuleTrial) difference(got *agentproto.ModuleTried) string {
	safe := func(s string) string { return console.SanitizeMax(s, 200) }
	p := t.Predicted
	switch {
	case got == nil:
		return "the guest did not try it"
	case got.Errno != p.Errno:
		return fmt.Sprintf("predicted %s, but finit_module returned %s", cmp.Or(p.Errno, "success"), cmp.Or(safe(got.Errno), "success"))
	}
	lines := p.Lines
	if p.Loads() {
		lines = []string{t.Says}
	}
	for _, want := range lines {
		if !slices.ContainsFunc(got.Log, func(l string) bool { return strings.Contains(l, want) }) {
			return fmt.Sprintf("the kernel did not log %q", want)
		}
	}
	switch {
	case p.Loads() && got.Param != t.Param:
		return fmt.Sprintf("its parameter is %q, expected %q", safe(got.Param), t.Param)
	case p.Verdict != t.Want:
		return fmt.Sprintf("%s, as predicted, where the scenario asks for %s: %s", p.Verdict, t.Want, p.Why)
	}
	return ""
}

// wrongModule says what of a booted guest's external modules is not as it must
// be, "" if all is. The last one, which is as it was built, says most.
func wrongModule(tried []result.Module) string {
	for _, m := range slices.Backward(tried) {
		if m.Difference != "" {
			return fmt.Sprintf("external module, %s: %s", m.Label, m.Difference)
		}
	}
	return ""
}
