package diagnose

import (
	"github.com/unwedge/unwedge/harness/result"
)

// startJob: there are no tasks, but systemd says what it waits for.
func startJob(f facts) *result.Diagnosis {
	e, ok := f.log.lastJob()
	if !ok || f.in.Ending == EndingReset {
		return nil // a machine that resets itself waits for no job
	}
	out := &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseUserService, Where: f.log.userWhere(), Confidence: result.Likely,
		Title:    "hang: start job " + e.Subject,
		Summary:  "systemd waits for the start job " + e.Subject + times(e),
		Remedy:   "look at that unit; take a task dump (sysrq-t) to see which of its processes waits, and for what",
		Evidence: []result.Evidence{f.log.eventEvidence("systemd's start job"+times(e), e)},
	}
	if f.end != nil {
		out.Evidence = append(out.Evidence, f.tasks.evidence(f.end))
	}
	return out
}
