package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/notice"
	"github.com/unwedge/unwedge/harness/result"
)

// beforeKernel: QEMU, the firmware or the boot loader says why no kernel runs.
func beforeKernel(f facts) *result.Diagnosis {
	if f.log.Boot.KernelRuns {
		return nil
	}
	said := f.log.said(notice.BeforeKernel)
	if len(said.list) == 0 {
		return nil
	}
	out := said.answer(f.log, result.KindEarlyDeath)
	if last := f.log.wentOn(); last != nil {
		if said.list[0].After {
			out.Summary += "; the last step before it was: " + last.Text
		}
		out.Evidence = append(out.Evidence, f.log.eventEvidence("how far the boot had got", *last))
	}
	return out
}
