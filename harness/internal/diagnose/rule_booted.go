package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// booted: the boot completed, and nothing else fired.
func booted(f facts) *result.Diagnosis {
	b := &f.log.Boot
	n := len(f.agent)
	agent := n > 0 && (f.agent[n-1].Stage == stage.MultiUser || f.agent[n-1].Stage == stage.Userspace)
	target := false
	for _, e := range b.All(dump.EventTarget) {
		target = target || strings.HasPrefix(e.Subject, "multi-user.target") || strings.HasPrefix(e.Subject, "Multi-User") || strings.HasPrefix(e.Subject, "graphical.target")
	}
	if b.Stage != dump.StageLogin && !target && !agent || f.in.Ending == EndingSilent && !agent {
		return nil
	}
	return &result.Diagnosis{
		Kind: result.KindBooted, Cause: result.CauseNone, Where: result.WhereUnknown, Confidence: result.Likely,
		Title:    "no fault found: the boot came to its end",
		Summary:  "the boot completed, and nothing shows a fault",
		Evidence: append(f.log.lastLine("the last line of the console"), f.agent.evidence()...),
	}
}
