package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// outOfMemory: the kernel panicked because it ran out of memory.
func outOfMemory(f facts) *result.Diagnosis {
	p := f.log.panicReport("Out of memory", "out of memory", "System is deadlocked on memory")
	if p == nil {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindPanic, Cause: result.CauseOOM, Where: result.WhereUnknown, Confidence: result.Certain,
		Title:    "kernel panic: out of memory",
		Summary:  "the guest ran out of memory and the kernel had nothing left to kill",
		Remedy:   "give the guest more memory (-m), or a smaller initramfs: an unpacked initramfs lives in memory",
		Evidence: []result.Evidence{f.log.reportEvidence("the panic", p)},
	}
	if r := f.log.report(dump.ReportOOM); r != nil {
		out.Evidence = append(out.Evidence, f.log.reportEvidence("the OOM killer", r))
		out.Task = reportedTask(r)
	}
	return out
}
