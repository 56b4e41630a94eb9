package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// orderedShutdown: user space or the kernel turned the machine off in good
// order.
func orderedShutdown(f facts) *result.Diagnosis {
	r := f.log.report(dump.ReportReboot)
	if r == nil && f.in.Ending != EndingShutdown {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindShutdown, Cause: result.CauseShutdown, Where: result.WhereUserspace, Confidence: result.Certain,
		Title:   "the guest shut itself down",
		Summary: "the guest turned itself off in good order before the boot was complete",
		Remedy:  "look for who asked for it in the last lines of user space",
	}
	if r != nil {
		out.Title = "the guest shut itself down: " + strings.TrimPrefix(r.Text, "reboot: ")
		out.Evidence = []result.Evidence{f.log.reportEvidence("the kernel's last line", r)}
	}
	if e, ok := f.log.Boot.Event(dump.EventShutdown); ok {
		out.Evidence = append(out.Evidence, f.log.eventEvidence("user space shuts down", e))
	}
	return out
}
