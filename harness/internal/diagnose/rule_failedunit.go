package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// failedUnit: the log ends before the boot does, and all it shows is that systemd
// could not start a unit. Many a boot goes on without one.
func failedUnit(f facts) *result.Diagnosis {
	b := &f.log.Boot
	failed := b.All(dump.EventUnitFailed)
	if len(failed) == 0 || b.Stage == dump.StageLogin || booted(f) != nil {
		return nil
	}
	last := failed[len(failed)-1]
	out := &result.Diagnosis{
		Kind: result.KindUnknown, Cause: result.CauseUserService, Where: result.WhereUserspace, Confidence: result.Possible,
		Title:   "failed unit: " + dump.Normalise(last.Subject),
		Summary: "the log ends before a login; the kernel and systemd ran, and " + last.Subject + " failed to start",
		Remedy:  "read that unit's own lines (journalctl -b -u UNIT); a longer log shows whether the boot went on without it",
	}
	if b.Stage == dump.StageInitramfs {
		out.Where = result.WhereInitramfs
	}
	if f.in.Ending == EndingSilent || f.in.Ending == EndingDeadline {
		out.Kind = result.KindHang
	}
	for _, e := range failed[:min(len(failed), 6)] {
		out.Evidence = append(out.Evidence, f.log.eventEvidence("a unit that failed", e))
	}
	out.Evidence = append(out.Evidence, f.log.lastLine("the last line of the console")...)
	return out
}
