package diagnose_test

import (
	"testing"

	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// A CPU in a module has no function of the kernel's own. PID 1 was woken, and
// waits for nothing but the CPU.
func TestMemoryNamesTheModuleThatSpins(t *testing.T) {
	spinner := model.Task{Comm: "unwedge_rcu", PID: 82, State: "R", Running: true, KernelThread: true, Frames: append(
		[]model.Frame{{Func: "rcu_reader", Off: 0x18, Size: 0x20, Module: "broken", Reliable: true}}, stack("kthread", "ret_from_fork")...)}
	loader := model.Task{Comm: "init", PID: 1, State: "R", Frames: stack(
		"__schedule", "schedule", "schedule_timeout", "wait_for_completion", "broken_init", "do_one_initcall", "do_init_module", "__do_sys_finit_module", "do_syscall_64")}
	in := diagnose.Input{
		Dump: parsed(silentBoot), Ending: diagnose.EndingSilent, Memory: []model.Task{loader, spinner},
		VCPUs: []diagnose.VCPU{{PC: 0xffffffffc0230198, BusyFraction: 1}},
	}
	d := diagnose.Diagnose(in)
	if d.Kind != result.KindLockup || d.Cause != result.CauseSpin || d.Function != "rcu_reader" || d.Task == nil || d.Task.PID != 82 {
		t.Errorf("%s/%s %q, function %q, task %+v", d.Kind, d.Cause, d.Title, d.Function, d.Task)
	}
	// Of two that run, none is known to be on that CPU; and a CPU in user mode
	// says nothing of either.
	other := spinner
	other.PID, other.Comm = 83, "other"
	in.Memory = append(in.Memory, other)
	if d := diagnose.Diagnose(in); d.Cause == result.CauseSpin {
		t.Errorf("of two: %q", d.Title)
	}
	in.Memory = []model.Task{loader, spinner}
	in.VCPUs[0].User = true
	if d := diagnose.Diagnose(in); d.Cause == result.CauseSpin {
		t.Errorf("in user mode: %q", d.Title)
	}
}
