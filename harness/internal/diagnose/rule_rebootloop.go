package diagnose

import (
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// rebootLoop: the machine resets again and again: a reset follows a reset.
func rebootLoop(f facts) *result.Diagnosis {
	n := resets(f)
	if n < 2 {
		return nil
	}
	return restarted(f, restartWords{
		kind: result.KindRebootLoop, confidence: asConfidence(f.log.Boot.KernelCount >= 3), head: "reboot loop: ",
		silently: "reboot loop: reset without a word", times: "the machine started " + strconv.Itoa(f.log.Boot.KernelCount) + " times", each: " each time",
	})
}

// oneReset: the machine reset, and the boot after it has not come to an end in the
// log. A lab that tries once more looks the same, so that what the last boot itself
// shows comes before this.
func oneReset(f facts) *result.Diagnosis {
	if resets(f) != 1 || f.log.Boot.KernelCount != 2 {
		return nil
	}
	return restarted(f, restartWords{
		kind: result.KindReset, confidence: result.Likely, head: "the machine reset: ",
		silently: "the machine reset without a word", times: "the machine started twice", each: "",
	})
}

// resets counts the resets in the log: every boot but the last ended in one, unless it
// is the last that came through or hangs.
func resets(f facts) int {
	b := &f.log.Boot
	if b.KernelCount < 2 || f.tasks.section != nil || b.Stage.Rank() >= dump.StageSystem.Rank() || f.log.atPrompt() || f.in.Ending == EndingSilent {
		return 0
	}
	n := b.KernelCount - 1
	ended := f.log.firstReport(func(r *dump.Report) bool {
		return r.Kind == dump.ReportPanic || r.Kind == dump.ReportReboot && strings.Contains(r.Text, "estart")
	})
	if ended != nil || f.in.Ending == EndingReset {
		n++
	}
	return n
}

// restartWords are how a loop is told from a single reset.
type restartWords struct {
	kind                        result.Kind
	confidence                  result.Confidence
	head, silently, times, each string
}

// restarted tells why the machine started again.
func restarted(f facts, w restartWords) *result.Diagnosis {
	b := &f.log.Boot
	out := &result.Diagnosis{Kind: w.kind, Cause: result.CauseRebootLoop, Where: result.WhereUnknown, Confidence: w.confidence}
	for _, k := range []*dump.Banner{&b.Kernels[0], &b.Kernels[len(b.Kernels)-1]} {
		out.Evidence = append(out.Evidence, result.Evidence{What: "a kernel's first line", Lines: f.log.Evidence(k.Offset, min(k.Offset+400, f.log.Bytes), model.Caller{}, 1), Offset: k.Offset, Source: sourceConsole})
	}
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
		out.Title = w.head + fatal.Title
		out.Summary = w.times + "; it resets after a panic: " + one.Summary
		out.Evidence = append(out.Evidence, f.log.reportEvidence("the panic before a restart", fatal))
		out.Notes = append(out.Notes, "boot with panic=0, or run QEMU with -no-reboot, to stop at the panic")
	case ordered != nil && w.kind != result.KindRebootLoop: // one restart on purpose is no fault
		return nil
	case ordered != nil:
		out.Where = result.WhereUserspace
		out.Title = w.head + "user space restarts the machine"
		out.Summary = w.times + " because user space restarted it cleanly" + w.each
		out.Remedy = "find what requests the restart in user space's last lines before 'reboot: Restarting system'"
		out.Evidence = append(out.Evidence, f.log.reportEvidence("the clean restart", ordered))
	case f.log.lastCrash(f.log.Bytes) != nil: // the crash, not the reset, is what went wrong
		return nil
	default:
		out.Cause, out.Where = result.CauseTripleFault, result.WhereKernel
		out.Confidence = result.Likely
		out.Title = w.silently
		out.Summary = w.times + " and reset" + w.each + " without a panic: a triple fault, a watchdog or the firmware"
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
