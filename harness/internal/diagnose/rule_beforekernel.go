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
	last := f.log.wentOn()
	if len(said.list) == 0 || f.log.panicReport() != nil {
		return nil // what a kernel panicked for outweighs where its reboot ended
	}
	if !said.stops && last == nil && f.log.Boot.FirmwareCount == 0 {
		return nil // other programs print such words, and nothing shows a boot loader
	}
	out := said.answer(f.log, result.KindEarlyDeath)
	if last != nil {
		if said.list[0].After {
			out.Summary += "; the last step before it was: " + last.Text
		}
		out.Evidence = append(out.Evidence, f.log.eventEvidence("how far the boot had got", *last))
	}
	return out
}
