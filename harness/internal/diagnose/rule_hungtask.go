package diagnose

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// hungTask: there is no task dump, but khungtaskd reported.
func hungTask(f facts) *result.Diagnosis {
	r := f.log.firstReport(func(r *dump.Report) bool { return r.Kind == dump.ReportHungTask && !survived(f, r) })
	if r == nil {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseHungTask, Where: result.WhereKernel, Confidence: result.Likely,
		Title: r.Title, Function: r.Func, Task: &result.Blocked{Comm: r.Comm, PID: r.PID, State: orState(r.State)},
		Summary:  fmt.Sprintf("%s (PID %d) has been blocked for more than %d s in %s", r.Comm, r.PID, r.Seconds, orUnknown(r.Func)),
		Remedy:   "take a task dump (sysrq-t) to see what it waits for",
		Evidence: []result.Evidence{f.log.reportEvidence("the first hung task", r)},
	}
	t := model.Task{Comm: r.Comm, PID: r.PID, State: orState(r.State), Frames: r.Frames, CPU: -1}
	w := classify(&t)
	if len(r.Frames) > 0 {
		out.Summary += ", waiting for " + orWhat(w.why)
		if c, ok := map[mechanism]result.Cause{onMutex: result.CauseMutex, onRWSem: result.CauseRWSem, onSemaphore: result.CauseSemaphore, onIO: result.CauseIO, onRCU: result.CauseRCU}[w.mech]; ok {
			out.Cause = c
		}
	}
	for _, o := range f.log.Owners {
		if o.WaiterPID == r.PID && o.OwnerPID > 0 {
			out.Summary += fmt.Sprintf("; the %s is likely owned by %s (PID %d)", o.Lock, o.OwnerComm, o.OwnerPID)
			break
		}
	}
	return out
}

// hungTaskPanic: khungtaskd was configured to panic.
func hungTaskPanic(f facts) *result.Diagnosis {
	p := f.log.panicReport("hung_task: blocked tasks")
	if p == nil {
		return nil
	}
	out := hungTask(f)
	if out == nil {
		return nil
	}
	out.Kind = result.KindPanic
	out.Evidence = append(out.Evidence, f.log.reportEvidence("the panic", p))
	return out
}

// titledByReport gives a hang the title of khungtaskd's report of the task, where the
// log has that and no dump of the tasks: it can be looked up.
func titledByReport(f facts, out *result.Diagnosis) {
	if f.log.Dump == nil || len(f.log.Sections) > 0 || out.Task == nil {
		return
	}
	r := f.log.firstReport(func(r *dump.Report) bool {
		return r.Kind == dump.ReportHungTask && r.PID == out.Task.PID && r.Comm == out.Task.Comm
	})
	if r != nil {
		out.Title = r.Title
	}
}
