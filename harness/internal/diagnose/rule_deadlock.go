package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/result"
)

// deadlock: the chain of owners comes back to where it was.
func deadlock(f facts) *result.Diagnosis {
	if f.chain.ring == 0 || f.end == nil || !isLockWait(f.wait.mech) {
		return nil
	}
	out := hang(f, result.CauseDeadlock, result.WhereKernel, result.Certain)
	var names, funcs []string
	first := len(f.chain.tasks) - f.chain.ring
	for i, t := range f.chain.tasks[first:] {
		w := f.chain.waits[first+i]
		names = append(names, t.String())
		if isLockWait(w.mech) {
			funcs = append(funcs, w.fn)
		} else {
			out.Confidence = asConfidence(!f.chain.assumed)
		}
		if t != f.end && first+i > 0 {
			out.Evidence = append(out.Evidence, f.tasks.evidence(t))
		}
	}
	out.Title = "hang: deadlock: " + strings.Join(funcs, ", ")
	out.Summary = "tasks wait for locks of each other: " + strings.Join(names, " → ") + " and round again"
	if selfLocked(f) {
		out.Summary = f.end.String() + " waits in " + orUnknown(f.wait.fn) + " for a lock that it holds itself"
	}
	out.Remedy = "a lock-order bug in the kernel: the functions are " + strings.Join(funcs, " and ") + "; a kernel with CONFIG_PROVE_LOCKING names the locks"
	ownerEvidence(f, out)
	return out
}
