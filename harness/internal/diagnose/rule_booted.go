package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// booted: the boot completed, and nothing that stopped it fired.
func booted(f facts) *result.Diagnosis {
	if !cameThrough(f) {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindBooted, Cause: result.CauseNone, Where: result.WhereUnknown, Confidence: result.Likely,
		Title:    "no fault found: the boot came to its end",
		Summary:  "the boot completed, and nothing shows a fault",
		Evidence: append(f.log.lastLine("the last line of the console"), f.agent.evidence()...),
	}
	if r := worst(f); r != nil {
		found := reported(f, r)
		if crashed(r) {
			found = crash(f, r)
		}
		out.Cause, out.Where, out.Title, out.Function, out.Remedy = found.Cause, found.Where, found.Title, found.Function, found.Remedy
		out.Summary = "the boot completed, but the kernel reported a fault on the way: " + r.Text
		out.Evidence = append(found.Evidence, out.Evidence...)
	}
	return out
}

// survived says that the boot came to its end after a report.
func survived(f facts, r *dump.Report) bool { return cameThrough(f) && r.Offset < f.log.end() }

// cameThrough says that the boot came to its end.
func cameThrough(f facts) bool {
	n := len(f.agent)
	agent := n > 0 && (f.agent[n-1].Stage == stage.MultiUser || f.agent[n-1].Stage == stage.Userspace)
	return agent || f.log.end() >= 0 && f.in.Ending != EndingSilent
}
