package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/model"

	"github.com/unwedge/unwedge/harness/result"

	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
)

// stateWord says how a task in a state sleeps.
func stateWord(t *model.Task) string {
	switch t.State {
	case "D":
		return "is blocked (D)"
	case "R":
		return "runs"
	case "T", "t":
		return "is stopped"
	case "?", "":
		if len(t.Frames) == 0 {
			return "is nowhere to be seen"
		}
	}
	return "sleeps"
}

// in gives " in syscall() → fn" of the last task.
func (f *facts) where() string {
	s := ""
	if f.end.Syscall != nil && f.end.Syscall.Name != "" && f.wait.mech != onStop {
		s = " in " + f.end.Syscall.Name + "()"
	}
	if f.wait.fn != "" {
		if s == "" {
			return " in " + f.wait.fn
		}
		s += " → " + f.wait.fn
	}
	return s
}

// deadlock: the chain of owners comes back to where it was.
func deadlock(f *facts) *result.Diagnosis {
	if f.chain.ring == 0 || f.end == nil || !isLockWait(f.wait.mech) {
		return nil
	}
	out := f.hang(result.CauseDeadlock, result.WhereKernel, result.Certain)
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
			out.Evidence = append(out.Evidence, f.taskEvidence(t))
		}
	}
	out.Title = "hang: deadlock: " + strings.Join(funcs, ", ")
	out.Summary = "tasks wait for locks of each other: " + strings.Join(names, " → ") + " and round again"
	if f.selfLocked() {
		out.Summary = f.end.String() + " waits in " + orUnknown(f.wait.fn) + " for a lock that it holds itself"
	}
	out.Remedy = "a lock-order bug in the kernel: the functions are " + strings.Join(funcs, " and ") + "; a kernel with CONFIG_PROVE_LOCKING names the locks"
	f.ownerEvidence(out)
	return out
}

// selfLocked says whether the last task of the chain owns what it waits for.
func (f *facts) selfLocked() bool {
	for _, o := range f.d.Owners {
		if o.WaiterPID == f.end.PID && o.OwnerPID == f.end.PID {
			return true
		}
	}
	return false
}

func (f *facts) ownerEvidence(out *result.Diagnosis) {
	for _, o := range f.d.Owners {
		for _, t := range f.chain.tasks {
			if o.WaiterPID == t.PID {
				e := result.Evidence{What: "khungtaskd names the owner", Lines: f.d.Evidence(o.Offset, o.End, model.Caller{}, 1), Offset: o.Offset, Source: sourceConsole}
				if o.End == 0 {
					e = result.Evidence{What: "memory names the owner", Lines: []string{fmt.Sprintf("%s of PID %d: owned by %s (PID %d)", o.Lock, o.WaiterPID, o.OwnerComm, o.OwnerPID)}, Offset: -1, Source: sourceMemory}
				}
				out.Evidence = append(out.Evidence, e)
				break
			}
		}
		if len(out.Evidence) > 12 {
			return
		}
	}
}

// lockWait: the boot ends at a mutex, rwsem or semaphore, or at its owner.
func lockWait(f *facts) *result.Diagnosis {
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
	out := f.hang(cause, result.WhereKernel, result.Certain)
	out.Function = w.fn
	what := strings.TrimPrefix(w.why, "a ")
	out.Title = fmt.Sprintf("hang: %s blocked on a %s in %s", stableComm(waiter), what, w.fn)
	if at == len(f.chain.tasks)-1 {
		out.Summary = fmt.Sprintf("%s waits for a %s in %s; the log does not name its owner", f.who(), what, w.fn)
		out.Remedy = "find the owner: a kernel with CONFIG_DETECT_HUNG_TASK_BLOCKER (6.15) or CONFIG_LOCKDEP names it; among the tasks of the dump it is one that took the lock and then waits"
		if waiter.State != "D" {
			out.Confidence = result.Likely
		}
		f.ownerEvidence(out)
		return out
	}
	owner := f.chain.tasks[at+1]
	ow := f.chain.waits[at+1]
	out.Task = &result.Blocked{Comm: owner.Comm, PID: owner.PID, State: owner.State}
	out.Title += " held by " + stableComm(owner)
	out.Summary = fmt.Sprintf("%s waits for a %s in %s that %s likely owns; the owner %s%s", waiter.String(), what, w.fn, owner.String(), stateWord(owner), atFunc(ow))
	out.Remedy = "look at why the owner, " + owner.String() + ", does not let go" + atFunc(ow)
	if ow.mech == onNothing { // what else it does, it may still come back from
		out.Summary = fmt.Sprintf("%s waits for a %s in %s that is held by %s, which has exited and is not going to release it", waiter.String(), what, w.fn, owner.String())
		out.Remedy = "a path that ends with the lock held: look at what " + owner.Comm + " did last that takes the lock of " + w.fn
	}
	if waiter != f.chain.tasks[0] {
		out.Evidence = append(out.Evidence, f.taskEvidence(waiter))
	}
	f.ownerEvidence(out)
	return out
}

func atFunc(w wait) string {
	if w.fn == "" {
		return ""
	}
	return " in " + w.fn
}

// moduleLoad: a module's init or a driver's probe does not return.
func moduleLoad(f *facts) *result.Diagnosis {
	if f.end == nil || !f.wait.inModule && !f.wait.inProbe {
		return nil
	}
	cause, what := result.CauseModule, "module initialisation"
	if f.wait.inProbe {
		cause, what = result.CauseProbe, "a driver's probe"
	}
	out := f.hang(cause, result.WhereKernel, asConfidence(!f.wait.guessed))
	mod := ""
	if f.wait.module != "" {
		mod = " of module " + f.wait.module
	}
	driver := ""
	if f.wait.probe != "" {
		driver = " (" + f.wait.probe + ")"
	}
	out.Title = fmt.Sprintf("hang: %s%s does not return%s: blocked in %s", what, mod, driver, f.wait.fn)
	out.Summary = fmt.Sprintf("%s %s%s: %s%s%s does not return", f.who(), stateWord(f.end), f.where(), what, mod, driver)
	out.Remedy = "a driver that waits for hardware or for another part of the kernel: boot with initcall_debug, and with the module blacklisted (module_blacklist=" + orName(f.wait.module) + ") to see whether the boot goes on"
	if f.wait.mech == onIdempotent {
		out.Confidence = result.Likely
		out.Notes = append(out.Notes, "the same module is being loaded by another task that is not in the dump")
	}
	if f.wait.mech == onFirmware {
		out.Confidence = result.Likely
		out.Summary += "; it waits for user space to hand over a firmware file, and gives up after 60 s"
		out.Remedy = "put the firmware that the driver asks for into the initramfs, or boot a kernel without CONFIG_FW_LOADER_USER_HELPER_FALLBACK (firmware_config.force_sysfs_fallback=0)"
	}
	if f.end.State == "R" || f.wait.mech == onHelper {
		out.Confidence = result.Likely // it may be on its way
	}
	return out
}

func orName(s string) string {
	if s == "" {
		return "NAME"
	}
	return s
}

// mountStuck: a mount does not return.
func mountStuck(f *facts) *result.Diagnosis {
	if f.end == nil || !f.wait.inMount {
		return nil
	}
	out := f.hang(result.CauseMount, result.WhereKernel, asConfidence(f.end.State == "D" && !f.wait.guessed))
	fs := ""
	if f.wait.mount != "" {
		fs = " (" + f.wait.mount + ")"
	}
	out.Title = "hang: mount does not return" + fs + ": " + stableComm(f.end) + " blocked in " + f.wait.fn
	out.Summary = fmt.Sprintf("%s %s%s: a mount%s waits for %s", f.who(), stateWord(f.end), f.where(), fs, orWhat(f.wait.why))
	out.Remedy = "look at the device under the file system: block errors or time-outs on the console, a device without a back end on the host, or a file server that does not answer"
	f.ioErrors(out)
	return out
}

func orWhat(s string) string {
	if s == "" {
		return "something in the kernel"
	}
	return s
}

func (f *facts) ioErrors(out *result.Diagnosis) {
	if e, ok := f.d.Boot.Event(dump.EventIOError); ok {
		out.Evidence = append(out.Evidence, f.eventEvidence("I/O errors", e))
	}
}

// initcall: PID 1 is still the kernel's own and an initcall does not return.
func initcall(f *facts) *result.Diagnosis {
	if f.end != nil && f.wait.inInitcall {
		out := f.hang(result.CauseInitcall, result.WhereKernel, asConfidence(f.end.State == "D" && !f.wait.guessed))
		out.Title = "hang: initcall " + orUnknown(f.wait.initcall) + " does not return: blocked in " + f.wait.fn
		out.Summary = fmt.Sprintf("the kernel's own start-up (%s) %s in the initcall %s%s", f.end.String(), stateWord(f.end), orUnknown(f.wait.initcall), atFunc(f.wait))
		out.Remedy = "leave the initcall out to see whether the boot goes on: initcall_blacklist=" + orName(f.wait.initcall)
		return out
	}
	calls := f.d.Boot.All(dump.EventInitcall)
	if f.end != nil || len(calls) == 0 || f.d.Boot.Stage.Rank() >= dump.StageInit.Rank() {
		return nil
	}
	e := calls[len(calls)-1]
	out := f.hang(result.CauseInitcall, result.WhereKernel, result.Likely)
	out.Function = e.Subject
	out.Title = "hang: initcall " + e.Subject + " does not return"
	out.Summary = "the kernel called the initcall " + e.Subject + " and it has not returned"
	out.Remedy = "leave the initcall out to see whether the boot goes on: initcall_blacklist=" + e.Subject
	out.Evidence = append(out.Evidence, f.eventEvidence("the last initcall that was entered", e))
	return out
}

// kernelWait: the task that the boot waits for is blocked in the kernel, and
// none of the more specific rules knew why.
func kernelWait(f *facts) *result.Diagnosis {
	if f.end == nil || f.end.State == "R" {
		return nil
	}
	w := f.wait
	if f.end.State != "D" && w.mech != onHelper && w.mech != onFuse && !f.startUp() && !f.inWork() {
		return nil
	}
	cause, remedy := result.CauseKernelWait, "look at the stack: the kernel function that waits is "+orUnknown(w.fn)
	switch w.mech {
	case onIO:
		cause, remedy = result.CauseIO, "look at the block device: errors or time-outs on the console, or a back end on the host that does not answer"
	case onRCU:
		cause, remedy = result.CauseRCU, "look for what keeps the RCU grace period from ending: a CPU that spins or that the host does not run (sysrq-l)"
	case onHelper:
		cause, remedy = result.CauseModule, "the kernel waits for a helper program (modprobe) that is not in the dump or does not end"
	case onAsync, onProbes, onFlush:
		cause, remedy = result.CauseProbe, "look at the kworkers in the dump: one of them runs the probe or work item that does not end"
	}
	out := f.hang(cause, result.WhereKernel, result.Certain)
	if w.why == "" || w.mech == onOther || w.mech == onCompletion || f.end.State != "D" {
		out.Confidence = result.Likely
	}
	out.Title = fmt.Sprintf("hang: %s blocked in %s", stableComm(f.end), orUnknown(w.fn))
	out.Summary = fmt.Sprintf("%s %s%s and waits for %s", f.who(), stateWord(f.end), f.where(), orWhat(w.why))
	out.Remedy = remedy
	f.ioErrors(out)
	return out
}

// startUp says that the last task is PID 1 before it runs /init: then it has
// nothing to wait for in good order, whatever its state.
func (f *facts) startUp() bool {
	return f.end.PID == 1 && f.end.State != "R" && f.end.Has("kernel_init_freeable", "kernel_init") && f.end.Syscall == nil
}

// inWork says that the last task is a worker with a work item that another
// waits for.
func (f *facts) inWork() bool {
	return len(f.chain.tasks) > 1 && f.end.KernelThread && f.end.Has("process_one_work", "async_run_entry_fn", "process_scheduled_works")
}

// hungTask: there is no task dump, but khungtaskd reported.
func hungTask(f *facts) *result.Diagnosis {
	r := f.report(dump.ReportHungTask)
	if r == nil {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseHungTask, Where: result.WhereKernel, Confidence: result.Likely,
		Title: r.Title, Function: r.Func, Task: &result.Blocked{Comm: r.Comm, PID: r.PID, State: orState(r.State)},
		Summary:  fmt.Sprintf("%s (PID %d) has been blocked for more than %d s in %s", r.Comm, r.PID, r.Seconds, orUnknown(r.Func)),
		Remedy:   "take a task dump (sysrq-t) to see what it waits for",
		Evidence: []result.Evidence{f.reportEvidence("the first hung task", r)},
	}
	t := model.Task{Comm: r.Comm, PID: r.PID, State: orState(r.State), Frames: r.Frames, CPU: -1}
	w := classify(&t)
	if len(r.Frames) > 0 {
		out.Summary += ", waiting for " + orWhat(w.why)
		if c, ok := map[mechanism]result.Cause{onMutex: result.CauseMutex, onRWSem: result.CauseRWSem, onSemaphore: result.CauseSemaphore, onIO: result.CauseIO, onRCU: result.CauseRCU}[w.mech]; ok {
			out.Cause = c
		}
	}
	for _, o := range f.d.Owners {
		if o.WaiterPID == r.PID && o.OwnerPID > 0 {
			out.Summary += fmt.Sprintf("; the %s is likely owned by %s (PID %d)", o.Lock, o.OwnerComm, o.OwnerPID)
			break
		}
	}
	return out
}

func orState(s string) string {
	if s == "" {
		return "D"
	}
	return s
}
