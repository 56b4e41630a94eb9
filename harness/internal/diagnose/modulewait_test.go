package diagnose_test

import (
	"slices"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// in puts frames into a module.
func in(module string, frames []model.Frame, funcs ...string) []model.Frame {
	for i := range frames {
		if slices.Contains(funcs, frames[i].Func) {
			frames[i].Module = module
		}
	}
	return frames
}

// A driver's start waits for the driver's threads, which wait for a mutex; what
// other drivers' threads do is another matter.
func TestModuleWaitsForItsOwnThreads(t *testing.T) {
	thread := func(comm string, pid int, module, fn string) model.Task {
		return model.Task{Comm: comm, PID: pid, State: "D", KernelThread: true,
			Frames: in(module, stack("__schedule", "schedule", "schedule_preempt_disabled", "__mutex_lock", fn, "kthread", "ret_from_fork"), fn)}
	}
	tasks := []model.Task{
		{Comm: "init", PID: 1, State: "D", Frames: in("broken", stack(
			"__schedule", "schedule", "schedule_timeout", "wait_for_completion", "broken_start", "do_one_initcall", "do_init_module", "__do_sys_finit_module", "do_syscall_64"), "broken_start")},
		thread("other", 70, "fine", "fine_thread"),
		thread("broken_1", 82, "broken", "broken_first"),
	}
	d := diagnose.Diagnose(diagnose.Input{Dump: parsed(silentBoot), Ending: diagnose.EndingSilent, Memory: tasks})
	if d.Cause != result.CauseMutex || d.Function != "broken_first" || d.Task == nil || d.Task.PID != 82 || len(d.Chain) != 2 || d.Confidence == result.Certain {
		t.Errorf("one thread: %s/%s %q, function %q, task %+v, %s", d.Kind, d.Cause, d.Title, d.Function, d.Task, d.Confidence)
	}
	// Of two, one is named, and the other told of.
	both := append(tasks, thread("broken_2", 83, "broken", "broken_second"))
	d = diagnose.Diagnose(diagnose.Input{Dump: parsed(silentBoot), Ending: diagnose.EndingSilent, Memory: both})
	if d.Cause != result.CauseMutex || d.Function != "broken_first" || !slices.Contains(d.Notes, "1 other task fits as well as broken_1 (PID 82)") {
		t.Errorf("two threads: %s/%s %q, function %q, notes %q", d.Kind, d.Cause, d.Title, d.Function, d.Notes)
	}
	// Where the owners are known, it is a deadlock.
	d = diagnose.Diagnose(diagnose.Input{Dump: parsed(silentBoot), Ending: diagnose.EndingSilent, Memory: both, Owners: []model.Owner{
		{Lock: "mutex", WaiterPID: 82, OwnerPID: 83, OwnerComm: "broken_2"}, {Lock: "mutex", WaiterPID: 83, OwnerPID: 82, OwnerComm: "broken_1"},
	}})
	if d.Cause != result.CauseDeadlock || d.Title != "hang: deadlock: broken_first, broken_second" {
		t.Errorf("with owners: %s/%s %q", d.Kind, d.Cause, d.Title)
	}
}
