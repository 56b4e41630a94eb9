package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// dracutFatal: dracut gave up for a reason other than its FIPS check.
func dracutFatal(f facts) *result.Diagnosis {
	fatal, ok := f.log.Boot.Event(dump.EventFatal)
	refusing, halted := f.log.Boot.Event(dump.EventRefusing)
	if !ok && !halted {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindHalted, Cause: result.CauseEmergency, Where: result.WhereInitramfs, Confidence: result.Certain,
		Title:   "dracut gave up",
		Summary: "dracut hit a fatal error",
		Remedy:  "read dracut's lines before the error; boot with rd.debug for more",
	}
	if ok {
		out.Title += ": " + dump.Normalise(fatal.Subject)
		out.Summary = "dracut gave up: " + fatal.Subject
		out.Evidence = append(out.Evidence, f.log.eventEvidence("dracut's error", fatal))
	}
	if halted {
		out.Evidence = append(out.Evidence, f.log.eventEvidence("dracut halts the boot", refusing))
	}
	return out
}
