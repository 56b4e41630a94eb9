package diagnose_test

import (
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// parsed is a console log as Input takes it.
func parsed[T string | []byte](text T) *dump.Dump { return dump.Parse([]byte(text)) }

// stack makes reliable frames, innermost first.
func stack(names ...string) []model.Frame {
	var out []model.Frame
	for _, n := range names {
		out = append(out, model.Frame{Func: n, Off: 0x10, Size: 0x20, Reliable: true})
	}
	return out
}

// sleepingInitcall is what memory shows where no sysrq route works yet.
var sleepingInitcall = []model.Task{
	{Comm: "swapper/0", PID: 0, State: "R", Running: true, CPU: 0},
	{Comm: "swapper/0", PID: 1, State: "D", CPU: -1, Frames: stack(
		"__schedule", "schedule", "schedule_timeout", "msleep", "arp_init", "inet_init", "do_one_initcall", "kernel_init_freeable", "kernel_init", "ret_from_fork")},
	{Comm: "kthreadd", PID: 2, State: "S", KernelThread: true, CPU: -1, Frames: stack("__schedule", "schedule", "kthreadd", "ret_from_fork")},
}

const silentBoot = "[    0.000000] Linux version 6.1.0-50-cloud-amd64 (a@b) #1 SMP\n[    0.500000] NET: Registered PF_INET protocol family\n"

func TestMemoryLocatesWhatSysrqCannotReach(t *testing.T) {
	d := diagnose.Diagnose(diagnose.Input{Dump: parsed(silentBoot), Ending: diagnose.EndingSilent, Memory: sleepingInitcall})
	if d.Kind != result.KindHang || d.Task == nil || d.Task.PID != 1 || !strings.Contains(d.Title, "arp_init") && d.Function != "arp_init" {
		t.Fatalf("%s: %q, function %q, task %+v", d.Kind, d.Title, d.Function, d.Task)
	}
	for _, e := range d.Evidence {
		if e.Source == "memory" && strings.Contains(strings.Join(e.Lines, "\n"), " arp_init+0x10/0x20") {
			return
		}
	}
	t.Errorf("no evidence from memory: %+v", d.Evidence)
}

// wholeDump is a sysrq-t of init in pipe_read.
const wholeDump = `[    9.000000] sysrq: Show State
[    9.000100] task:init            state:S stack:0     pid:1     ppid:0      flags:0x00000002
[    9.000200] Call Trace:
[    9.000300]  <TASK>
[    9.000400]  __schedule+0x34d/0x9e0
[    9.000500]  schedule+0x5a/0xd0
[    9.000600]  pipe_read+0x34d/0x400
[    9.000700]  vfs_read+0x1a/0x300
[    9.000800]  ksys_read+0x6b/0xf0
[    9.000900]  do_syscall_64+0x55/0xb0
[    9.000950]  entry_SYSCALL_64_after_hwframe+0x6e/0xd8
[    9.001000]  </TASK>
[    9.002000] Sched Debug Version: v0.11, 6.1.0 #1
[    9.003000] sysrq: Show Blocked State
`

// A whole sysrq-t leads where the list of tasks in memory has no end.
func TestWholeDumpIsPreferredToPartialMemory(t *testing.T) {
	log := silentBoot + wholeDump
	d := dump.Parse([]byte(log))
	sec, ok := d.Last(dump.SectionState)
	got := diagnose.Diagnose(diagnose.Input{Dump: parsed(log), Ending: diagnose.EndingSilent, Memory: sleepingInitcall, MemoryPartial: true})
	if !ok || !sec.Complete {
		t.Fatal("the dump is not whole")
	}
	if got.Function != "pipe_read" || got.Chain[0].Source != "sysrq-t" {
		t.Errorf("diagnosed from memory: %q, %+v", got.Title, got.Chain)
	}
	got = diagnose.Diagnose(diagnose.Input{Dump: parsed(log), Ending: diagnose.EndingSilent, Memory: sleepingInitcall})
	if got.Function != "arp_init" || got.Chain[0].Source != "memory" {
		t.Errorf("not diagnosed from memory: %q, %+v", got.Title, got.Chain)
	}
}

// What memory lacks, the printed dump fills in: a stack that was not unwound to
// its end, and a task of a list without one.
func TestDumpFillsInWhatMemoryLacks(t *testing.T) {
	broken := []model.Task{{Comm: "init", PID: 1, TGID: 1, State: "S", CPU: -1, Frames: stack("__schedule", "schedule")}}
	d := diagnose.Diagnose(diagnose.Input{Dump: parsed(silentBoot + wholeDump), Ending: diagnose.EndingSilent, Memory: broken})
	if d.Function != "pipe_read" || d.Chain[0].Source != "sysrq-t" || len(d.Evidence) == 0 || d.Evidence[0].Source != "sysrq-t" {
		t.Errorf("%q, %+v, %+v", d.Title, d.Chain, d.Evidence)
	}
	other := []model.Task{{Comm: "kthreadd", PID: 2, State: "S", KernelThread: true, CPU: -1, Frames: stack("__schedule", "schedule", "kthreadd", "ret_from_fork")}}
	torn := strings.Replace(wholeDump, "Sched Debug", "x", 1)
	torn = torn[:strings.Index(torn, "[    9.002")]
	d = diagnose.Diagnose(diagnose.Input{Dump: parsed(silentBoot + torn), Ending: diagnose.EndingSilent, Memory: other, MemoryPartial: true})
	if d.Function != "pipe_read" {
		t.Errorf("the torn dump was not used: %q", d.Title)
	}
	// A dump of an earlier look fills in nothing.
	d = diagnose.Diagnose(diagnose.Input{Dump: parsed(silentBoot + wholeDump), Asked: 1 << 20, Ending: diagnose.EndingSilent, Memory: broken})
	if d.Function == "pipe_read" || d.Compared != nil {
		t.Errorf("an old dump was used: %q", d.Title)
	}
}

// A loop in an initcall is a loop, not a wait; the lock's own functions are not
// where it is.
func TestMemoryNamesTheTaskThatSpins(t *testing.T) {
	tasks := []model.Task{
		{Comm: "kworker/u2:0", PID: 9, State: "R", Running: true, Frames: stack(
			"native_queued_spin_lock_slowpath", "_raw_spin_lock_irqsave", "spin_here", "process_one_work", "worker_thread", "kthread", "ret_from_fork")},
		{Comm: "swapper/0", PID: 1, State: "D", Frames: stack(
			"__schedule", "schedule", "schedule_timeout", "wait_for_completion", "__flush_work", "late_thing", "do_one_initcall", "kernel_init_freeable", "kernel_init", "ret_from_fork")},
	}
	in := diagnose.Input{
		Dump: parsed(silentBoot), Ending: diagnose.EndingSilent, Memory: tasks,
		VCPUs: []diagnose.VCPU{{PC: 1, Symbol: "native_queued_spin_lock_slowpath+0x5a/0x200", BusyFraction: 1}},
	}
	d := diagnose.Diagnose(in)
	if d.Kind != result.KindLockup || d.Cause != result.CauseSpin || d.Function != "spin_here" || d.Task == nil || d.Task.PID != 9 {
		t.Errorf("%s/%s %q, function %q, task %+v", d.Kind, d.Cause, d.Title, d.Function, d.Task)
	}
	in.VCPUs[0] = diagnose.VCPU{PC: 1, Symbol: "default_idle+0x5/0x20", Idle: true}
	if d := diagnose.Diagnose(in); d.Cause == result.CauseSpin {
		t.Errorf("an idle CPU spins: %q", d.Title)
	}
}

func TestMemoryShowsAnEarlyException(t *testing.T) {
	tasks := []model.Task{{Comm: "swapper", PID: 0, State: "R", Running: true, Frames: stack(
		"native_halt", "early_fixup_exception", "early_idt_handler_common", "parameq", "do_early_param", "parse_args", "setup_arch", "start_kernel")}}
	d := diagnose.Diagnose(diagnose.Input{Dump: parsed(silentBoot), Ending: diagnose.EndingSilent, Memory: tasks,
		VCPUs: []diagnose.VCPU{{PC: 1, Symbol: "native_halt+0xa/0x10", Idle: true}}})
	if d.Kind != result.KindPanic || d.Cause != result.CauseOops || d.Function != "parameq" || d.Title != "PANIC: early exception in parameq" {
		t.Errorf("%s/%s %q, function %q", d.Kind, d.Cause, d.Title, d.Function)
	}
}

// printk itself crashes, and so does the report on it.
func TestMemoryShowsACrashThatCannotBeReported(t *testing.T) {
	tasks := []model.Task{{Comm: "swapper", PID: 0, State: "R", Running: true, Frames: stack(
		"queued_spin_lock_slowpath", "die", "arm64_notify_die", "do_debug_exception", "el1_dbg", "el1h_64_sync_handler", "el1h_64_sync",
		"vprintk_emit", "vprintk_default", "vprintk", "_printk", "die", "arm64_notify_die", "do_debug_exception", "el1_dbg",
		"el1h_64_sync_handler", "el1h_64_sync", "vprintk_emit", "vprintk", "_printk", "smp_setup_processor_id", "start_kernel")}}
	in := diagnose.Input{Dump: parsed(silentBoot), Ending: diagnose.EndingSilent, Memory: tasks,
		VCPUs: []diagnose.VCPU{{PC: 1, Symbol: "queued_spin_lock_slowpath+0x78/0x430", BusyFraction: 1}}}
	if d := diagnose.Diagnose(in); d.Kind != result.KindOops || d.Function != "vprintk_emit" {
		t.Errorf("%s/%s %q, function %q", d.Kind, d.Cause, d.Title, d.Function)
	}
	// A page fault on the way is no crash.
	in.Memory = []model.Task{{Comm: "init", PID: 1, State: "R", Running: true, Frames: stack(
		"spin_here", "handle_mm_fault", "exc_page_fault", "asm_exc_page_fault", "copy_user", "ksys_read")}}
	in.VCPUs[0].Symbol = "spin_here+0x5/0x10"
	if d := diagnose.Diagnose(in); d.Cause != result.CauseSpin || d.Function != "spin_here" {
		t.Errorf("%s/%s %q, function %q", d.Kind, d.Cause, d.Title, d.Function)
	}
}

func TestForkBomb(t *testing.T) {
	var tasks []model.Task
	for pid := 1; pid <= 3000; pid++ {
		tasks = append(tasks, model.Task{Comm: "bomb", PID: pid, TGID: pid, PPID: pid / 2, State: "R"})
	}
	in := diagnose.Input{Dump: parsed(silentBoot), Ending: diagnose.EndingDeadline, Memory: tasks}
	if d := diagnose.Diagnose(in); d.Cause != result.CauseForkBomb || d.Task == nil || d.Task.PID != 1 || d.Title != "hang: fork bomb: bomb fills the process table" {
		t.Errorf("%s/%s %q, task %+v", d.Kind, d.Cause, d.Title, d.Task)
	}
	// Many threads of one program, and many kernel threads, are none.
	for i := range tasks {
		tasks[i].TGID, tasks[i].KernelThread = 1, i%2 == 0
	}
	if d := diagnose.Diagnose(in); d.Cause == result.CauseForkBomb {
		t.Errorf("threads are taken for a fork bomb: %q", d.Title)
	}
}

// The vCPU's registers, sampled often, know better than one reading of the stack.
func TestASampleMayHitAnInterrupt(t *testing.T) {
	in := diagnose.Input{
		Dump: parsed(silentBoot), Ending: diagnose.EndingSilent,
		Memory: []model.Task{{Comm: "swapper/0", PID: 1, State: "R", Running: true, Frames: stack(
			"vectors", "do_one_initcall", "kernel_init_freeable", "kernel_init", "ret_from_fork")}},
		VCPUs: []diagnose.VCPU{{PC: 1, Symbol: "arm64_efi_rt_init+0x8/0xac", BusyFraction: 1}},
	}
	d := diagnose.Diagnose(in)
	if d.Cause != result.CauseSpin || d.Function != "arm64_efi_rt_init" || d.Task == nil || d.Task.PID != 1 || strings.Contains(d.Summary, "vectors") {
		t.Errorf("%s/%s %q, function %q, task %+v, %s", d.Kind, d.Cause, d.Title, d.Function, d.Task, d.Summary)
	}
	in.Memory = append(in.Memory, model.Task{Comm: "kworker/1:0", PID: 20, State: "R", Running: true, Frames: stack("other")})
	if d := diagnose.Diagnose(in); d.Function == "arm64_efi_rt_init" && d.Task != nil {
		t.Errorf("one of two that run is taken: %+v", d.Task)
	}
}
