package diagnose

import (
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// rebootLoop: the log holds several starts of a kernel.
func rebootLoop(f facts) *result.Diagnosis {
	b := &f.log.Boot
	n := b.KernelCount
	if n < 2 || f.tasks.section != nil || b.Stage.Rank() >= dump.StageSystem.Rank() || f.in.Ending == EndingSilent {
		return nil
	}
	out := &result.Diagnosis{Kind: result.KindRebootLoop, Cause: result.CauseRebootLoop, Where: result.WhereUnknown, Confidence: asConfidence(n >= 3)}
	for _, k := range []*dump.Banner{&b.Kernels[0], &b.Kernels[len(b.Kernels)-1]} {
		out.Evidence = append(out.Evidence, result.Evidence{What: "a kernel's first line", Lines: f.log.Evidence(k.Offset, min(k.Offset+400, f.log.Bytes), model.Caller{}, 1), Offset: k.Offset, Source: sourceConsole})
	}
	times := strconv.Itoa(n) + " times"
	var fatal, ordered *dump.Report
	for i := range f.log.Reports {
		switch r := &f.log.Reports[i]; r.Kind {
		case dump.ReportPanic:
			fatal = r
		case dump.ReportReboot:
			if strings.Contains(r.Text, "estart") {
				ordered = r
			}
		}
	}
	switch {
	case fatal != nil:
		one := oneBoot(f, fatal.Boot)
		out.Cause, out.Remedy, out.Where, out.Function, out.Task = one.Cause, one.Remedy, one.Where, one.Function, one.Task
		out.Title = "reboot loop: " + fatal.Title
		out.Summary = "the machine started " + times + "; it resets after a panic: " + one.Summary
		out.Evidence = append(out.Evidence, f.log.reportEvidence("the panic before a restart", fatal))
		out.Notes = append(out.Notes, "boot with panic=0, or run QEMU with -no-reboot, to stop at the panic")
	case ordered != nil:
		out.Where = result.WhereUserspace
		out.Title = "reboot loop: user space restarts the machine"
		out.Summary = "the machine started " + times + " because user space restarted it cleanly each time"
		out.Remedy = "find what requests the restart in user space's last lines before 'reboot: Restarting system'"
		out.Evidence = append(out.Evidence, f.log.reportEvidence("the clean restart", ordered))
	case f.log.lastCrash(f.log.Bytes) != nil: // the crash, not the reset, is what went wrong
		return nil
	default:
		out.Cause, out.Where = result.CauseTripleFault, result.WhereKernel
		out.Confidence = result.Likely
		out.Title = "reboot loop: reset without a word"
		out.Summary = "the machine started " + times + " and reset each time without a panic: a triple fault, a watchdog or the firmware"
		out.Remedy = tripleFaultRemedy
	}
	return out
}

// oneBoot diagnoses one boot of a log alone.
func oneBoot(f facts, n int) result.Diagnosis {
	d := *f.log.Dump
	d.Sections, d.Loose, d.Reports = nil, nil, nil
	for _, r := range f.log.Reports {
		if r.Boot == n {
			r.Boot = 0
			d.Reports = append(d.Reports, r)
		}
	}
	d.Boot.Events = nil
	for _, e := range f.log.Boot.Events {
		if e.Boot == n {
			e.Boot = 0
			d.Boot.Events = append(d.Boot.Events, e)
		}
	}
	d.Boot.KernelCount = 1
	d.Boot.Kernels = nil
	return Diagnose(Input{Dump: &d, Scenario: f.in.Scenario})
}
