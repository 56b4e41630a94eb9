package diagnose

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// kernelWait: the task that the boot waits for is blocked in the kernel, and no more
// specific rule knew why.
func kernelWait(f facts) *result.Diagnosis {
	if f.end == nil || f.end.State == "R" {
		return nil
	}
	w := f.wait
	// A stack that a tool printed has no state: I/O and RCU are always waited for in D, and
	// what else is here was printed alone (see onlyStack).
	inD := f.end.State == "D" || f.end.State == stateUnknown && (w.mech == onIO || w.mech == onRCU || w.mech == onOther)
	if !inD && w.mech != onHelper && w.mech != onFuse && !inStartUp(f) && !worksForAnother(f) {
		return nil
	}
	cause, remedy := result.CauseKernelWait, "look at the stack: the kernel function that waits is "+orUnknown(w.fn)
	switch w.mech {
	case onIO:
		cause, remedy = result.CauseIO, "look at the block device: errors or time-outs on the console, or a back end on the host that does not answer"
	case onRCU:
		cause, remedy = result.CauseRCU, "look for what keeps the RCU grace period from ending: a CPU that spins or that the host does not schedule (sysrq-l)"
	case onHelper:
		cause, remedy = result.CauseModule, "the kernel waits for a helper program (modprobe) that is not in the dump or does not exit"
	case onAsync, onProbes, onFlush:
		cause, remedy = result.CauseProbe, "look at the kworkers in the dump: one of them runs the probe or work item that does not finish"
	}
	out := hang(f, cause, result.WhereKernel, result.Certain)
	if w.why == "" || w.mech == onOther || w.mech == onCompletion || f.end.State != "D" {
		out.Confidence = result.Likely
	}
	out.Title = fmt.Sprintf("hang: %s blocked in %s", stableComm(f.end), orUnknown(w.fn))
	titledByReport(f, out)
	out.Summary = fmt.Sprintf("%s %s%s and waits for %s", f.chain.who(), stateWord(f.end), f.chain.where(), orWhat(w.why))
	out.Remedy = remedy
	out.Evidence = append(out.Evidence, f.log.lastEvent("I/O errors", dump.EventIOError)...)
	return out
}

// inStartUp says that the last task is PID 1 before it runs /init: any sleep of its
// own is then suspect, whatever its state.
func inStartUp(f facts) bool {
	return f.end.PID == 1 && f.end.State != "R" && f.end.Has("kernel_init_freeable", "kernel_init") && f.end.Syscall == nil
}

// worksForAnother says that the last task is a worker with a work item that another
// waits for.
func worksForAnother(f facts) bool {
	return len(f.chain.tasks) > 1 && f.end.KernelThread && f.end.Has("process_one_work", "async_run_entry_fn", "process_scheduled_works")
}
