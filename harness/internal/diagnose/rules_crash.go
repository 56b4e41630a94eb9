package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/model"

	"github.com/unwedge/unwedge/harness/result"

	"fmt"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
)

// oops: the kernel crashed in a task and went on without it. What that task
// held stays locked.
func oops(f *facts) *result.Diagnosis {
	r := f.firstReport(func(r *dump.Report) bool {
		switch r.Kind {
		case dump.ReportBug:
			return len(r.Frames) > 0 && (isCrash(r) || atomicSleep(r))
		case dump.ReportKASAN:
			return f.crashed()
		}
		return r.Kind == dump.ReportOops
	})
	if r == nil {
		return nil
	}
	at := f.crashedIn(r)
	out := &result.Diagnosis{
		Kind: result.KindOops, Cause: result.CauseOops, Where: result.WhereKernel, Confidence: result.Certain,
		Title: r.Title, Function: at,
		Summary:  "the kernel crashed: " + r.Text,
		Remedy:   "a kernel bug: report the trace; locks the crashed task held are never released",
		Evidence: []result.Evidence{f.reportEvidence("the first oops", r)},
	}
	if at != "" {
		out.Summary = fmt.Sprintf("the kernel crashed in %s: %s", at, r.Text)
	}
	if atomicSleep(r) { // it has not crashed, and may have come through
		out.Confidence = result.Likely
		out.Summary = "the kernel found a bug of its own: " + r.Text
		if at != "" {
			out.Summary = fmt.Sprintf("the kernel found a bug of its own, a sleep in %s where none is allowed: %s", at, r.Text)
		}
		out.Remedy = "a kernel bug: report the trace; what it left undone, or locked, may hold the boot up"
		out.Evidence[0].What = "the first complaint"
	}
	if r.Comm != "" {
		out.Task = &result.Blocked{Comm: r.Comm, PID: r.PID, State: "R"}
	}
	return out
}

// isCrash tells the BUGs that end what the task did (include/linux/bug.h, BUG;
// arch/x86/kernel/traps.c, handle_stack_overflow) from those that are complaints,
// as of a debugging option, after which the kernel goes on.
func isCrash(r *dump.Report) bool {
	return strings.Contains(r.Text, "ernel BUG at ") || strings.Contains(r.Text, "stack guard page was hit")
}

// atomicSleep tells the complaint after which little works: who sleeps with
// preemption off has left something undone (kernel/sched/core.c,
// __schedule_bug).
func atomicSleep(r *dump.Report) bool {
	return strings.HasPrefix(r.Text, "BUG: scheduling while atomic")
}

// crashedIn is the function that crashed. The title may blame its caller: of
// what copies memory, keeps lists or switches tasks, the caller is to blame more
// often than not.
func (f *facts) crashedIn(r *dump.Report) string {
	if fn := f.crashesAgain(r); fn != "" {
		return fn
	}
	if r.IP != "" && (r.Kind == dump.ReportOops || strings.HasPrefix(r.Text, "kernel BUG at")) {
		return model.BaseName(r.IP)
	}
	return r.Func
}

// crashesAgain is the function that the kernel's own handling of a crash crashes
// in, over and over, until its stack has no more room; "" for none. What stands
// at the end of such a stack is wherever it ended. x86 prints a line "RIP:" where
// each exception was met.
func (f *facts) crashesAgain(r *dump.Report) string {
	if !strings.Contains(r.Text, "stack guard page was hit") {
		return ""
	}
	seen := map[string]bool{}
	for _, line := range f.d.Evidence(r.Offset, r.End, r.Caller, 4*maxReportLines) {
		_, rest, ok := strings.Cut(line, "RIP: 0010:")
		fn, _, named := strings.Cut(rest, "+0x")
		if !ok || !named {
			continue
		}
		if seen[fn] {
			return model.BaseName(fn)
		}
		seen[fn] = true
	}
	return ""
}

// crashed says whether a panic or an oops ended what a sanitizer reported.
func (f *facts) crashed() bool { return f.panicReport() != nil }

// lockupReport is the first report of a CPU that did not come back. One that was
// printed before the boot came to its last stage is over: it would be repeated. So
// is a lockup of CPUs that are all at rest.
func (f *facts) lockupReport() *dump.Report {
	return f.firstReport(func(r *dump.Report) bool {
		switch r.Kind {
		case dump.ReportHard, dump.ReportSoft:
			return r.Offset >= f.d.Boot.StageOffset && !f.allRest()
		case dump.ReportRCU:
			return r.Offset >= f.d.Boot.StageOffset
		}
		return false
	})
}

// allRest says that the registers show every virtual CPU of a silent guest at rest:
// one that did not come back for a while has come back.
func (f *facts) allRest() bool {
	return f.in.Ending == EndingSilent && len(f.in.VCPUs) > 0 && !slices.ContainsFunc(f.in.VCPUs, func(c VCPU) bool { return !c.Idle || c.User })
}

// lockup: the kernel's own detectors found a CPU that does not come back. The
// first report names the culprit best.
func lockup(f *facts) *result.Diagnosis {
	r := f.lockupReport()
	if r == nil {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindLockup, Where: result.WhereKernel, Confidence: result.Certain,
		Title: r.Title, Function: r.Func,
		Evidence: []result.Evidence{f.reportEvidence("the detector's report", r)},
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
		out.Summary = cpu + " did not even take interrupts" + in
		out.Remedy = "look for a spinning loop or a spinlock taken with interrupts off" + in
	case dump.ReportSoft:
		out.Cause = result.CauseSoftLockup
		out.Summary = fmt.Sprintf("%s ran %s without giving way for %d s%s", cpu, orTask(r), r.Seconds, in)
		out.Remedy = "look for an endless loop" + in + "; under TCG on a loaded host a soft lockup can also be mere slowness"
	case dump.ReportRCU:
		out.Cause = result.CauseRCUStall
		out.Summary = cpu + " does not pass a quiescent state, so RCU grace periods do not end" + in
		out.Remedy = "look at what the stalled CPU does" + in + "; a host that does not schedule the vCPU gives the same report"
	}
	if r.Comm != "" {
		out.Task = &result.Blocked{Comm: r.Comm, PID: r.PID, State: "R"}
	}
	if r.Func == "" {
		out.Confidence = result.Likely
	}
	return out
}

func orTask(r *dump.Report) string {
	if r.Comm == "" {
		return "one task"
	}
	return fmt.Sprintf("%s (PID %d)", r.Comm, r.PID)
}
