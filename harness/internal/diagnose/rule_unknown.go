package diagnose

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// unknown is the honest answer, with whatever evidence there is.
func unknown(f facts) *result.Diagnosis {
	out := &result.Diagnosis{
		Kind: result.KindUnknown, Cause: result.CauseUnknown, Where: result.WhereUnknown, Confidence: result.Unknown,
		Title:   "unknown, last stage " + string(f.log.Boot.Stage),
		Summary: "the facts do not say why the boot stopped; the last stage was " + string(f.log.Boot.Stage),
		Remedy:  "take a task dump of the hung guest: sysrq-9, then w, t and l",
	}
	if f.in.Ending == EndingSilent || f.in.Ending == EndingDeadline {
		out.Kind = result.KindHang
	}
	if f.end != nil {
		out.Task = blockedTask(f.end)
		out.Function = f.wait.fn
		if f.end.Syscall != nil {
			out.Syscall = f.end.Syscall.Name
		}
		out.Evidence = append(out.Evidence, f.tasks.evidence(f.end))
		out.Remedy = "look at the stack of " + f.end.String() + " in the evidence"
		if f.chain.fromInit && f.end.PID == 1 {
			out.Summary = fmt.Sprintf("%s is idle%s and nothing below it is blocked; the dump does not say what it waits for", f.end.String(), f.chain.where())
			if s := f.tasks.section; s != nil && s.Kind == dump.SectionState {
				out.Where = result.WhereUserspace
			}
		}
	}
	out.Evidence = append(out.Evidence, f.log.lastLine("the last line of the console")...)
	if out.Kind != result.KindHang || out.Task == nil {
		out.Evidence = append(out.Evidence, f.cpus.evidence()...) // finish adds it otherwise
	}
	out.Evidence = append(out.Evidence, f.agent.evidence()...)
	return out
}
