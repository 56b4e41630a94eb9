package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
)

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
func crashedIn(l log, r *dump.Report) string {
	if fn := crashesAgain(l, r); fn != "" {
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
