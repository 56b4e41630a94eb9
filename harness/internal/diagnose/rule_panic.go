package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/result"
)

// plainPanic: a panic for any other reason.
func plainPanic(f facts) *result.Diagnosis {
	p := f.log.panicReport()
	if p == nil {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindPanic, Cause: result.CausePanic, Where: result.WhereKernel, Confidence: result.Certain,
		Title: p.Title, Function: p.Func,
		Summary:  "the kernel panicked: " + strings.TrimPrefix(p.Text, "Kernel panic - not syncing: "),
		Evidence: []result.Evidence{f.log.reportEvidence("the panic", p)},
		Remedy:   "read the trace",
	}
	if p.Func != "" {
		out.Remedy += "; the function to look at first is " + p.Func
	}
	out.Task = reportedTask(p)
	if strings.Contains(p.Text, "sysrq triggered crash") {
		out.Where, out.Remedy = result.WhereUserspace, "none: sysrq-c requested the crash"
		out.Summary = "the kernel panicked because sysrq-c asked it to"
	}
	return out
}
