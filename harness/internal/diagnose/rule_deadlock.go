package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/result"
)

// deadlock: the chain of owners leads back to one of its tasks.
func deadlock(f facts) *result.Diagnosis {
	if f.chain.ring == 0 || f.end == nil || !isLockWait(f.wait.mech) {
		return nil
	}
	out := hang(f, result.CauseDeadlock, result.WhereKernel, result.Certain)
	var funcs []string
	first := len(f.chain.tasks) - f.chain.ring
	for i, t := range f.chain.tasks[first:] {
		w := f.chain.waits[first+i]
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
	out.Summary = "tasks wait for each other's locks: " + roundTrip(f.chain.tasks[first:])
	if selfLocked(f) {
		out.Summary = f.end.String() + " waits in " + orUnknown(f.wait.fn) + " for a lock that it holds itself"
	}
	out.Remedy = "a lock-order bug in the kernel: the functions are " + strings.Join(funcs, " and ") + "; a kernel with CONFIG_PROVE_LOCKING names the locks"
	ownerEvidence(f, out)
	return out
}
