package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// isCrash separates the BUGs that kill the task (include/linux/bug.h, BUG;
// arch/x86/kernel/traps.c, handle_stack_overflow) from those of debugging options,
// after which the kernel goes on.
func isCrash(r *dump.Report) bool {
	return strings.Contains(r.Text, "ernel BUG at ") || strings.Contains(r.Text, "stack guard page was hit")
}

// atomicSleep recognises the report after which little works: a task that sleeps
// with preemption off leaves something undone (kernel/sched/core.c,
// __schedule_bug).
func atomicSleep(r *dump.Report) bool {
	return strings.HasPrefix(r.Text, "BUG: scheduling while atomic")
}

// crashedIn is the function that crashed. The title may blame its caller: where a
// memory copy, a list operation or a task switch crashes, the caller usually is to
// blame.
func crashedIn(l log, r *dump.Report) string {
	if fn := crashesAgain(l, r); fn != "" {
		return fn
	}
	if r.IP != "" && (r.Kind == dump.ReportOops || strings.HasPrefix(r.Text, "kernel BUG at")) {
		return model.BaseName(r.IP)
	}
	return r.Func
}

// crashesAgain is the function in which the handling of a crash crashes again and
// again until the stack overflows; "" for none. The innermost frame of such a stack
// is arbitrary. x86 prints a "RIP:" line for each exception.
func crashesAgain(l log, r *dump.Report) string {
	if !strings.Contains(r.Text, "stack guard page was hit") {
		return ""
	}
	seen := map[string]bool{}
	for _, line := range l.Evidence(r.Offset, r.End, r.Caller, 4*maxReportLines) {
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
