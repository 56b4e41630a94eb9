package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/model"

	"github.com/unwedge/unwedge/harness/result"

	"fmt"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/dump"
)

// emergency: user space gave up and waits for a person.
func emergency(f *facts) *result.Diagnosis {
	e, ok := f.d.Boot.Event(dump.EventEmergency)
	if !ok || !f.lasts(e) { // somebody has left the shell, and the boot went on
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindHalted, Cause: result.CauseEmergency, Where: result.WhereUserspace, Confidence: result.Certain,
		Title:    "emergency shell",
		Summary:  "user space gave up and offers an emergency shell",
		Remedy:   "read what failed before it",
		Evidence: []result.Evidence{f.eventEvidence("the emergency shell", e)},
	}
	if f.d.Boot.Stage.Rank() < dump.StageSwitchRoot.Rank() {
		out.Where = result.WhereInitramfs
	}
	for _, k := range []dump.EventKind{dump.EventSwitchFailed, dump.EventUnitFailed, dump.EventDependency, dump.EventNoInit} {
		all := f.d.Boot.All(k)
		if len(all) == 0 {
			continue
		}
		first := all[0]
		if out.Title == "emergency shell" {
			out.Title += ": " + oneLine(dump.Normalise(orFail(first)))
			out.Summary += " after: " + first.Text
		}
		out.Evidence = append(out.Evidence, f.eventEvidence("what failed first", first))
	}
	return out
}

func orFail(e dump.Event) string {
	if e.Subject == "" {
		return e.Text
	}
	return "failed: " + e.Subject
}

// userWait: the chain ends at a task that waits for something of user space.
func userWait(f *facts) *result.Diagnosis {
	if f.end == nil || !f.chain.fromInit || f.end.KernelThread {
		return nil
	}
	w := f.wait
	job, hasJob := f.job()
	cause, remedy, ok := f.userCause(hasJob)
	if !ok {
		return nil
	}
	out := f.hang(cause, result.WhereUserspace, result.Likely)
	if f.d.Boot.Stage.Rank() < dump.StageSwitchRoot.Rank() {
		out.Where = result.WhereInitramfs
	}
	out.Title = fmt.Sprintf("hang: %s waits in %s", stableComm(f.end), orCall(f.end, w))
	out.Summary = fmt.Sprintf("%s %s%s: it waits for %s", f.who(), stateWord(f.end), f.where(), orWhat(w.why))
	if w.mech == onCPU {
		out.Title = "hang: " + stableComm(f.end) + " runs and does not end"
		out.Summary = fmt.Sprintf("%s is running%s", f.who(), f.where())
		if slices.ContainsFunc(f.in.VCPUs, func(c VCPU) bool { return c.User && c.BusyFraction >= 0.9 }) {
			out.Cause = result.CauseSpin
			out.Title = "hang: " + stableComm(f.end) + " spins in user space"
			out.Summary = f.who() + " runs in user space, at full load, and does nothing that can be seen"
			out.Remedy = "the process is in an endless loop, or computes for very long: its program counter is in the registers"
		}
	}
	if out.Remedy == "" {
		out.Remedy = remedy
	}
	if hasJob {
		out.Title = "hang: start job " + job.Subject + ": " + out.Title[len("hang: "):]
		out.Summary += "; systemd says that a start job is running for " + job.Subject + times(job)
		out.Evidence = append(out.Evidence, f.eventEvidence("systemd's start job"+times(job), job))
	}
	if w.mech == onFileLock && f.end.State != "D" {
		out.Confidence = asConfidence(!f.chain.assumed)
		f.lockHolders(out)
	}
	return out
}

// userCause says why the last task waits for user space, as far as the kind of
// its wait tells, and what would help; ok is false where it does not.
func (f *facts) userCause(hasJob bool) (cause result.Cause, remedy string, ok bool) {
	cause = result.CauseUserService
	switch w := f.wait; w.mech {
	case onFileLock:
		cause = result.CauseUserLock
		remedy = "find the process that holds the lock: it is in the dump, probably asleep, and took the same file"
	case onPipe, onFifo:
		remedy = "find the process at the other end of the pipe: it has not written, or not closed it"
	case onSocket:
		remedy = "find the service at the other end of the socket"
	case onFutex:
		remedy = "the process waits for one of its own threads or for a shared lock: a user-space dump (gdb, coredump) tells more"
	case onTTYWrite, onTTY:
		remedy = "the process waits for its terminal: a console without a reader, or a program that asks a question"
	case onSleep:
		remedy = "the process polls and sleeps in between: look at what it polls for"
	case onSignal, onStop:
		remedy = "the process waits for a signal that nobody sends"
		if w.mech == onStop {
			remedy = "look for who stopped the process (SIGSTOP, a terminal, a debugger): it goes on with SIGCONT"
		}
	case onChild:
		remedy = "the process waits for a child that is not in the dump"
	case onPoll:
		if !hasJob && f.end.PID == 1 {
			return cause, "", false // PID 1 and everything under it is idle: unknown
		}
		remedy = "the process waits for an event"
	case onCPU:
		remedy = "the process runs: it is busy, slow, or in an endless loop"
	default:
		return cause, "", false
	}
	return cause, remedy, true
}

// lockHolders says that the holder of a file lock is not in the dump by name.
func (f *facts) lockHolders(out *result.Diagnosis) {
	if fact := f.tasks.fact(f.end, f.wait); fact != nil && len(fact.Holders) > 0 {
		out.Remedy = "look at why the holder does not let go of the lock"
		return
	}
	out.Notes = append(out.Notes, "a task dump does not name the holder of a file lock; /proc/locks does")
}

func orCall(t *model.Task, w wait) string {
	if t.Syscall != nil && t.Syscall.Name != "" && w.mech != onStop { // one stops on the way out of any
		return t.Syscall.Name
	}
	return orUnknown(w.fn)
}

// job is the start job that systemd printed last.
func (f *facts) job() (dump.Event, bool) {
	e, ok := f.d.Boot.Event(dump.EventStartJob)
	if !ok || !f.latestJob(e) {
		return dump.Event{}, false
	}
	return e, true
}

// startJob: there are no tasks, but systemd says what it waits for.
func startJob(f *facts) *result.Diagnosis {
	e, ok := f.job()
	if !ok || f.in.Ending == EndingReset {
		return nil // a machine that resets itself waits for no job
	}
	out := &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseUserService, Where: result.WhereUserspace, Confidence: result.Likely,
		Title:    "hang: start job " + e.Subject,
		Summary:  "systemd waits for the start job " + e.Subject + times(e),
		Remedy:   "look at that unit; take a task dump (sysrq-t) to see which of its processes waits and for what",
		Evidence: []result.Evidence{f.eventEvidence("systemd's start job"+times(e), e)},
	}
	if f.d.Boot.Stage.Rank() < dump.StageSwitchRoot.Rank() {
		out.Where = result.WhereInitramfs
	}
	if f.end != nil {
		out.Evidence = append(out.Evidence, f.taskEvidence(f.end))
	}
	return out
}
