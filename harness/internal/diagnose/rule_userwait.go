package diagnose

import (
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/harness/result"
)

// userWait: the chain ends at a task that waits for something in user space.
func userWait(f facts) *result.Diagnosis {
	if f.end == nil || !f.chain.fromInit || f.end.KernelThread {
		return nil
	}
	w := f.wait
	job, hasJob := f.log.lastJob()
	cause, remedy, ok := userCause(f, hasJob)
	if !ok {
		return nil
	}
	out := hang(f, cause, f.log.userWhere(), result.Likely)
	out.Title = fmt.Sprintf("hang: %s waits in %s", stableComm(f.end), orCall(f.end, w))
	out.Summary = fmt.Sprintf("%s %s%s: it waits for %s", f.chain.who(), stateWord(f.end), f.chain.where(), orWhat(w.why))
	if w.mech == onCPU {
		out.Title = "hang: " + stableComm(f.end) + " runs and does not end"
		out.Summary = fmt.Sprintf("%s is running%s", f.chain.who(), f.chain.where())
		if slices.ContainsFunc(f.cpus, func(c VCPU) bool { return c.User && c.BusyFraction >= 0.9 }) {
			out.Cause = result.CauseSpin
			out.Title = "hang: " + stableComm(f.end) + " spins in user space"
			out.Summary = f.chain.who() + " keeps a vCPU busy in user space, without visible progress"
			out.Remedy = "the process is in an endless loop, or computes for very long: its program counter is in the registers"
		}
	}
	if out.Remedy == "" {
		out.Remedy = remedy
	}
	if hasJob {
		out.Title = "hang: start job " + job.Subject + ": " + out.Title[len("hang: "):]
		out.Summary += "; systemd reports a start job running for " + job.Subject + times(job)
		out.Evidence = append(out.Evidence, f.log.eventEvidence("systemd's start job"+times(job), job))
	}
	if w.mech == onFileLock && f.end.State != "D" {
		out.Confidence = asConfidence(!f.chain.assumed)
		lockHolders(f, out)
	}
	return out
}

// userCause says why the last task waits for user space, judged by the kind of its
// wait, and what would help; ok is false if that is not known.
func userCause(f facts, hasJob bool) (cause result.Cause, remedy string, ok bool) {
	cause = result.CauseUserService
	switch w := f.wait; w.mech {
	case onFileLock:
		cause = result.CauseUserLock
		remedy = "find the process that holds the lock: it is in the dump, probably asleep, and has locked the same file"
	case onPipe, onFifo:
		remedy = "find the process at the other end of the pipe: it has neither written to the pipe nor closed it"
	case onSocket:
		remedy = "find the service at the other end of the socket"
	case onFutex:
		remedy = "the process waits for one of its own threads or for a shared lock: a user-space dump (gdb, coredump) shows more"
	case onTTYWrite, onTTY:
		remedy = "the process waits for its terminal: a console without a reader, or a program that asks a question"
	case onSleep:
		remedy = "the process polls and sleeps in between: look at what it polls for"
	case onSignal, onStop:
		remedy = "the process waits for a signal that nobody sends"
		if w.mech == onStop {
			remedy = "find what stopped the process (SIGSTOP, a terminal, a debugger): SIGCONT resumes it"
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

// lockHolders points to the holder of a file lock, or says how to find it.
func lockHolders(f facts, out *result.Diagnosis) {
	if fact := f.tasks.shown(f.end, f.wait); fact != nil && len(fact.Holders) > 0 {
		out.Remedy = "find out why the holder does not release the lock"
		return
	}
	out.Notes = append(out.Notes, "a task dump does not name the holder of a file lock; /proc/locks does")
}
