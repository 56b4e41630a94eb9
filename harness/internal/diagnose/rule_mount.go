package diagnose

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// mountStuck: a mount does not return.
func mountStuck(f facts) *result.Diagnosis {
	if f.end == nil || !f.wait.inMount {
		return nil
	}
	out := hang(f, result.CauseMount, result.WhereKernel, asConfidence(f.end.State == "D" && !f.wait.guessed))
	fs := ""
	if f.wait.mount != "" {
		fs = " (" + f.wait.mount + ")"
	}
	out.Title = "hang: mount does not return" + fs + ": " + stableComm(f.end) + " blocked in " + f.wait.fn
	out.Summary = fmt.Sprintf("%s %s%s: a mount%s waits for %s", f.chain.who(), stateWord(f.end), f.chain.where(), fs, orWhat(f.wait.why))
	out.Remedy = "look at the device under the file system: block errors or time-outs on the console, a device without a back end on the host, or a file server that does not answer"
	out.Evidence = append(out.Evidence, f.log.lastEvent("I/O errors", dump.EventIOError)...)
	return out
}
