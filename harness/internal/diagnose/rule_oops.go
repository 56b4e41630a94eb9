package diagnose

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/findings"
	"github.com/unwedge/unwedge/harness/result"
)

// oops: the kernel crashed in a task and went on without it. What that task
// held stays locked.
func oops(f facts) *result.Diagnosis {
	r := f.log.firstReport(func(r *dump.Report) bool {
		return crashed(r) && !survived(f, r)
	})
	if r == nil {
		return nil
	}
	return crash(f, r)
}

// crashed says whether a task crashed, or slept where it must not.
func crashed(r *dump.Report) bool {
	return r.Kind == dump.ReportOops || r.Kind == dump.ReportBug && (len(r.Frames) > 0 || r.IP != "") && (isCrash(r) || atomicSleep(r))
}

// crash is the Diagnosis of a report of a crash.
func crash(f facts, r *dump.Report) *result.Diagnosis {
	at := crashedIn(f.log, r)
	out := &result.Diagnosis{
		Kind: result.KindOops, Cause: result.CauseOops, Where: result.WhereKernel, Confidence: result.Certain,
		Title: r.Title, Function: at,
		Summary:  "the kernel crashed: " + r.Text,
		Remedy:   "a kernel bug: report the trace; locks the crashed task held are never released",
		Evidence: []result.Evidence{f.log.reportEvidence("the first oops", r)},
	}
	if at != "" {
		out.Summary = fmt.Sprintf("the kernel crashed in %s: %s", at, r.Text)
	}
	if atomicSleep(r) { // no crash: the task may have survived it
		out.Confidence = result.Likely
		out.Summary = "sleeping function called from atomic context: " + r.Text
		if at != "" {
			out.Summary = fmt.Sprintf("sleeping function called from atomic context in %s: %s", at, r.Text)
		}
		out.Remedy = "a kernel bug: report the trace; work left undone or locks left held may block the boot"
		out.Evidence[0].What = "the kernel's report"
	}
	out.Task = reportedTask(r)
	return out
}

// reportPanic: the panic only carries out what a setting makes of a report.
func reportPanic(f facts) *result.Diagnosis {
	p := f.log.panicReport()
	if p == nil {
		return nil
	}
	r := findings.CarriedOut(f.log.Dump, p)
	if r == nil {
		return nil
	}
	var out *result.Diagnosis
	switch r.Kind {
	case dump.ReportOops, dump.ReportBug, dump.ReportKASAN:
		out = crash(f, r)
	default:
		out = reported(f, r)
		out.Summary = "the kernel was told to panic on such a report: " + r.Text
	}
	out.Kind, out.Confidence = result.KindPanic, result.Certain
	out.Evidence = append(out.Evidence, f.log.reportEvidence("the panic", p))
	if r := f.log.lastCrash(p.Offset); r != nil && out.Task != nil && r.Comm != "" && (r.PID != out.Task.PID || r.Comm != out.Task.Comm) {
		out.Confidence = result.Likely // the first crash may have nothing to do with the later one
		out.Notes = append(out.Notes, fmt.Sprintf("the panic follows a later crash, in %s (PID %d): %s", r.Comm, r.PID, r.Title))
	}
	return out
}
