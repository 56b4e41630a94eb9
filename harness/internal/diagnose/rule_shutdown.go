package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// orderedShutdown: user space or the kernel turned the machine off, or rebooted
// it, on purpose.
func orderedShutdown(f facts) *result.Diagnosis {
	r := f.log.report(dump.ReportReboot)
	if r == nil && f.in.Ending != EndingShutdown {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindShutdown, Cause: result.CauseShutdown, Where: result.WhereUserspace, Confidence: result.Certain,
		Title:   "the guest shut itself down",
		Summary: "the guest powered off cleanly before the boot completed",
		Remedy:  "look in user space's last lines for what requested it",
	}
	if r != nil {
		if strings.Contains(r.Text, "estart") {
			out.Summary = "the guest rebooted cleanly before the boot completed"
		}
		out.Title = "the guest shut itself down: " + strings.TrimPrefix(r.Text, "reboot: ")
		out.Evidence = []result.Evidence{f.log.reportEvidence("the kernel's last line", r)}
	}
	out.Evidence = append(out.Evidence, f.log.lastEvent("user space shuts down", dump.EventShutdown)...)
	if e, ok := f.log.Boot.Event(dump.EventUnitFailed); ok && f.log.latestJob(e) {
		out.Summary += "; before that a unit had failed: " + e.Subject
		out.Evidence = append(out.Evidence, f.log.eventEvidence("the unit that failed", e))
	}
	return out
}
