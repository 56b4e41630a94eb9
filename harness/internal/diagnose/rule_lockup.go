package diagnose

import (
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// lockup: the kernel's own detectors report a CPU that is stuck. The first report
// names the culprit best.
func lockup(f facts) *result.Diagnosis {
	r := lockupReport(f)
	if r == nil {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindLockup, Where: result.WhereKernel, Confidence: result.Certain,
		Title: r.Title, Function: r.Func,
		Evidence: []result.Evidence{f.log.reportEvidence("the detector's report", r)},
	}
	cpu := "a CPU"
	if r.CPU >= 0 {
		cpu = fmt.Sprintf("CPU %d", r.CPU)
	}
	in := ""
	if r.Func != "" {
		in = " in " + r.Func
	}
	switch r.Kind {
	case dump.ReportHard:
		out.Cause = result.CauseHardLockup
		out.Summary = cpu + " is stuck with interrupts disabled" + in
		out.Remedy = "look for an endless loop, or a spinlock that is never released, with interrupts off" + in
	case dump.ReportSoft:
		out.Cause = result.CauseSoftLockup
		out.Summary = fmt.Sprintf("%s ran %s for %d s without scheduling%s", cpu, orTask(r), r.Seconds, in)
		out.Remedy = "look for an endless loop" + in + "; under TCG on a loaded host a soft lockup may only mean that the guest is slow"
	case dump.ReportRCU:
		out.Cause = result.CauseRCUStall
		out.Summary = cpu + " passes no quiescent state" + in + ", so RCU grace periods do not end"
		out.Remedy = "look at what the stalled CPU does" + in + "; a host that does not schedule the vCPU causes the same report"
		if r.Unwoken != "" && r.Func == "" {
			out.Summary = fmt.Sprintf("RCU's %s kthread was not woken by its timer, so RCU grace periods do not end: timer interrupts may be lost", r.Unwoken)
			out.Remedy = "look at the clock event device of the CPU that the report names (Possible timer handling issue), and at what the host does with its vCPU"
		}
		if r.Starved != "" && r.Comm != "" {
			out.Summary = fmt.Sprintf("%s ran %s (PID %d)%s and did not let RCU's %s kthread run, so RCU grace periods do not end", cpu, r.Comm, r.PID, in, r.Starved)
		}
	}
	if at := model.BaseName(r.IP); dump.TakesLock(at) && r.Func != at {
		out.Summary += "; it spins for a lock that " + r.Func + " takes and does not get"
		out.Remedy = "find who took the lock of " + r.Func + " last and did not release it; lockdep (CONFIG_PROVE_LOCKING) and CONFIG_DEBUG_SPINLOCK name the owner"
	}
	out.Task = reportedTask(r)
	if r.Func == "" {
		out.Confidence = result.Likely
	}
	return out
}

// lockupPanic: a detector was configured to panic.
func lockupPanic(f facts) *result.Diagnosis {
	p := f.log.panicReport("softlockup: hung tasks", "Hard LOCKUP", "hard lockup", "RCU Stall", "Workqueue")
	if p == nil {
		return nil
	}
	out := lockup(f)
	if out == nil {
		out = &result.Diagnosis{Cause: result.CauseSoftLockup, Where: result.WhereKernel, Confidence: result.Likely, Title: p.Title, Summary: "a lockup detector panicked the kernel: " + p.Text}
		switch {
		case strings.Contains(p.Text, "ard"):
			out.Cause = result.CauseHardLockup
		case strings.Contains(p.Text, "RCU"):
			out.Cause = result.CauseRCUStall
		}
	}
	out.Kind = result.KindLockup
	out.Evidence = append(out.Evidence, f.log.reportEvidence("the panic", p))
	return out
}

// lockupReport is the first report of a stuck CPU. One from before the last stage is
// over, or it would be repeated; so is a lockup when every CPU is idle.
func lockupReport(f facts) *dump.Report {
	return f.log.firstReport(func(r *dump.Report) bool {
		switch r.Kind {
		case dump.ReportHard, dump.ReportSoft:
			return r.Offset >= f.log.Boot.StageOffset && !allRest(f)
		case dump.ReportRCU:
			return r.Offset >= f.log.Boot.StageOffset
		}
		return false
	})
}
