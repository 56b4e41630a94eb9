package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/findings"
	"github.com/unwedge/unwedge/harness/result"
)

// reported starts a Diagnosis of a report that is no crash.
func reported(f facts, r *dump.Report) *result.Diagnosis {
	out := &result.Diagnosis{
		Kind: result.KindReport, Cause: result.CauseReport, Where: result.WhereKernel, Confidence: result.Likely,
		Title: r.Title, Function: r.Func, Task: reportedTask(r),
		Summary:  "the kernel reported a fault: " + r.Text,
		Remedy:   "a kernel bug: report the trace",
		Evidence: []result.Evidence{f.log.reportEvidence("the kernel's report", r)},
	}
	if r.Kind == dump.ReportWorkqueue && r.Func != "" {
		out.Summary += "; the pool that is stuck works on " + r.Func
		out.Remedy = "a kernel bug: find out why " + r.Func + " does not end"
	}
	return out
}

// worst is the first of the reports of the last boot with the highest severity; nil
// where nothing is worse than a note.
func worst(f facts) *dump.Report {
	var out *dump.Report
	rank := result.Note.Rank()
	for i := range f.log.Reports {
		r := &f.log.Reports[i]
		if n := findings.Severity(r).Rank(); f.log.ours(r) && n > rank {
			out, rank = r, n
		}
	}
	return out
}

// excerpt: the log does not show how the boot ended. A fault that the kernel reported is
// what somebody cut it out for.
func excerpt(f facts) *result.Diagnosis {
	r := worst(f)
	if r == nil || f.in.Ending != "" {
		return nil
	}
	out := reported(f, r)
	out.Summary += "; the log does not show how the boot ended"
	if findings.Severity(r) == result.Warning {
		out.Confidence = result.Possible
	}
	return out
}
