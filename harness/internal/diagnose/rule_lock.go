package diagnose

import (
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/result"
)

// lockWait: the boot ends at a mutex, rwsem or semaphore, or at its owner.
func lockWait(f facts) *result.Diagnosis {
	if f.end == nil {
		return nil
	}
	at := -1
	for i, w := range f.chain.waits {
		if isLockWait(w.mech) {
			at = i
		}
	}
	if at < 0 {
		return nil
	}
	waiter, w := f.chain.tasks[at], f.chain.waits[at]
	if at != len(f.chain.tasks)-1 && f.wait.mech != onOther {
		// The owner waits for something that is a cause of its own.
		if f.wait.inModule || f.wait.inProbe || f.wait.inMount || f.wait.mech == onIO {
			return nil
		}
	}
	cause := map[mechanism]result.Cause{onMutex: result.CauseMutex, onRWSem: result.CauseRWSem, onSemaphore: result.CauseSemaphore}[w.mech]
	out := hang(f, cause, result.WhereKernel, result.Certain)
	out.Function = w.fn
	what := strings.TrimPrefix(w.why, "a ")
	out.Title = fmt.Sprintf("hang: %s blocked on a %s in %s", stableComm(waiter), what, w.fn)
	if at == len(f.chain.tasks)-1 {
		out.Summary = fmt.Sprintf("%s waits in %s for a %s; its owner is not known", f.chain.who(), w.fn, what)
		out.Remedy = "find the owner: a kernel with CONFIG_DETECT_HUNG_TASK_BLOCKER (6.15) or CONFIG_LOCKDEP names it; in the dump it is a task that took the lock and then waits"
		if waiter.State != "D" {
			out.Confidence = result.Likely
		}
		ownerEvidence(f, out)
		titledByReport(f, out)
		return out
	}
	owner := f.chain.tasks[at+1]
	ow := f.chain.waits[at+1]
	out.Task = blockedTask(owner)
	out.Title += " held by " + stableComm(owner)
	out.Summary = fmt.Sprintf("%s waits in %s for a %s that %s likely owns; the owner %s%s", waiter.String(), w.fn, what, owner.String(), stateWord(owner), atFunc(ow))
	out.Remedy = "find out why the owner, " + owner.String() + ", does not release the lock: it " + stateWord(owner) + atFunc(ow)
	if ow.mech == onNothing { // any other owner may still release it
		out.Summary = fmt.Sprintf("%s waits in %s for a %s held by %s, which has exited and will never release it", waiter.String(), w.fn, what, owner.String())
		out.Remedy = "some path returns with the lock held: look at what " + owner.Comm + " did last with the lock that " + w.fn + " takes"
	}
	if waiter != f.chain.tasks[0] {
		out.Evidence = append(out.Evidence, f.tasks.evidence(waiter))
	}
	ownerEvidence(f, out)
	return out
}
