package diagnose

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// initcall: PID 1 is still the kernel's own and an initcall does not return.
func initcall(f facts) *result.Diagnosis {
	if f.end != nil && f.wait.inInitcall {
		out := hang(f, result.CauseInitcall, result.WhereKernel, asConfidence(f.end.State == "D" && !f.wait.guessed))
		out.Title = "hang: initcall " + orUnknown(f.wait.initcall) + " does not return: blocked in " + f.wait.fn
		out.Summary = fmt.Sprintf("kernel start-up (%s) %s in the initcall %s%s", f.end.String(), stateWord(f.end), orUnknown(f.wait.initcall), atFunc(f.wait))
		out.Remedy = "skip the initcall to see whether the boot goes on: initcall_blacklist=" + orName(f.wait.initcall)
		return out
	}
	calls := f.log.Boot.All(dump.EventInitcall)
	if f.end != nil || len(calls) == 0 || f.log.Boot.Stage.Rank() >= dump.StageInit.Rank() {
		return nil
	}
	e := calls[len(calls)-1]
	out := hang(f, result.CauseInitcall, result.WhereKernel, result.Likely)
	out.Function = e.Subject
	out.Title = "hang: initcall " + e.Subject + " does not return"
	out.Summary = "the kernel called the initcall " + e.Subject + ", which has not returned"
	out.Remedy = "skip the initcall to see whether the boot goes on: initcall_blacklist=" + e.Subject
	out.Evidence = append(out.Evidence, f.log.eventEvidence("the last initcall entered", e))
	return out
}
