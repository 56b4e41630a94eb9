package diagnose

import (
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// blocked makes a task as it is read from a guest's memory: no log, no
// registers, no padding.
func blocked(pid int, comm, state, chain string) model.Task {
	t := model.Task{PID: pid, TGID: pid, Comm: comm, State: state, CPU: -1, PPID: 1}
	switch {
	case pid == 1:
		t.PPID = 0
		t.KernelThread = comm == "swapper/0" // kernel_init is one until it starts /init
	case strings.Contains(chain, "kthread"), pid == 2:
		t.PPID, t.KernelThread = 2, true
	}
	for _, fn := range strings.Fields(chain) {
		name, mod, _ := strings.Cut(fn, "@")
		t.Frames = append(t.Frames, model.Frame{Func: name, Off: 0x12, Size: 0x34, Module: mod, Reliable: true})
	}
	return t
}

// What stacks begin and end with.
const (
	asleep    = "__schedule schedule "
	timed     = asleep + "schedule_timeout "
	completed = timed + "__wait_for_common wait_for_completion "
	initcalls = " do_one_initcall kernel_init_freeable kernel_init ret_from_fork"
	startUp   = " kernel_init_freeable kernel_init ret_from_fork"
	inWork    = " process_one_work worker_thread kthread ret_from_fork"
	inThread  = " kthread ret_from_fork"
	syscall   = " do_syscall_64 entry_SYSCALL_64_after_hwframe"
	armCall   = " invoke_syscall el0_svc_common do_el0_svc el0_svc el0t_64_sync"
	idleWork  = asleep + "worker_thread" + inThread
)

// TestTasksFromMemory: a hang before user space, where no sysrq is answered,
// is located by the tasks alone.
func TestTasksFromMemory(t *testing.T) {
	idle := []model.Task{blocked(2, "kthreadd", "S", asleep+"kthreadd ret_from_fork"), blocked(9, "kworker/0:1", "I", idleWork), blocked(14, "ksoftirqd/0", "S", asleep+"smpboot_thread_fn"+inThread)}
	for _, tc := range []struct {
		name       string
		tasks      []model.Task
		owners     []model.Owner
		cause      result.Cause
		confidence result.Confidence
		title      string
		function   string
		says       string // a part of the summary or the notes
	}{
		{"msleep in an initcall", []model.Task{blocked(1, "swapper/0", "D", timed+"msleep stuck_init"+initcalls)}, nil,
			result.CauseInitcall, result.Certain, "hang: initcall stuck_init does not return: blocked in stuck_init", "stuck_init", "initcall stuck_init"},
		{"an initcall's callee sleeps", []model.Task{blocked(1, "swapper/0", "D", timed+"msleep wait_for_chip chip_setup chip_init"+initcalls)}, nil,
			result.CauseInitcall, result.Certain, "hang: initcall chip_init does not return: blocked in wait_for_chip", "wait_for_chip", "initcall chip_init"},
		{"an interruptible sleep in an initcall", []model.Task{blocked(1, "swapper/0", "S", timed+"msleep_interruptible stuck_init.isra.0"+initcalls)}, nil,
			result.CauseInitcall, result.Likely, "hang: initcall stuck_init does not return: blocked in stuck_init", "stuck_init", "initcall"},
		{"start-up sleeps outside of initcalls", []model.Task{blocked(1, "swapper/0", "D", completed+"bring_up"+startUp)}, nil,
			result.CauseKernelWait, result.Likely, "hang: kernel_init blocked in bring_up", "bring_up", "another part of the kernel"},
		{"interruptibly so", []model.Task{blocked(1, "swapper/0", "S", timed+"bring_up"+startUp)}, nil,
			result.CauseKernelWait, result.Likely, "hang: kernel_init blocked in bring_up", "bring_up", "something in the kernel"},
		{"arm64 names the switch", []model.Task{blocked(1, "swapper/0", "D", "__switch_to "+timed+"msleep stuck_init"+initcalls)}, nil,
			result.CauseInitcall, result.Certain, "hang: initcall stuck_init does not return: blocked in stuck_init", "stuck_init", "initcall stuck_init"},
		{"flush_work is followed to the worker", []model.Task{blocked(1, "swapper/0", "D", completed+"__flush_work flush_work net_init"+initcalls), blocked(30, "kworker/u4:1", "D", timed+"msleep slow_work"+inWork)}, nil,
			result.CauseKernelWait, result.Likely, "hang: kworker blocked in slow_work", "slow_work", "swapper/0 (PID 1) waits for kworker/u4:1 (PID 30)"},
		{"a worker that sleeps interruptibly", []model.Task{blocked(1, "swapper/0", "D", completed+"__flush_work flush_work net_init"+initcalls), blocked(30, "kworker/u4:1", "S", timed+"slow_work"+inWork)}, nil,
			result.CauseKernelWait, result.Likely, "hang: kworker blocked in slow_work", "slow_work", "waits for kworker/u4:1"},
		{"async_synchronize is followed to the probe", []model.Task{blocked(1, "swapper/0", "D", asleep+"async_synchronize_cookie_domain async_synchronize_full"+startUp), blocked(31, "kworker/u4:2", "D", timed+"msleep chip_probe platform_probe really_probe __driver_probe_device driver_probe_device __driver_attach_async_helper async_run_entry_fn"+inWork)}, nil,
			result.CauseProbe, result.Certain, "hang: a driver's probe does not return (chip_probe): blocked in chip_probe", "chip_probe", "swapper/0 (PID 1) waits for kworker/u4:2"},
		{"a completion is followed to the only blocked thread", []model.Task{blocked(1, "swapper/0", "D", completed+"wait_ready chip_init"+initcalls), blocked(40, "chipd", "D", timed+"msleep chipd_main"+inThread)}, nil,
			result.CauseKernelWait, result.Likely, "hang: chipd blocked in chipd_main", "chipd_main", "the only other blocked kernel thread"},
		{"of two blocked threads none is chosen", []model.Task{blocked(1, "swapper/0", "D", completed+"wait_ready chip_init"+initcalls), blocked(40, "chipd", "D", timed+"msleep chipd_main"+inThread), blocked(41, "otherd", "D", timed+"msleep otherd_main"+inThread)}, nil,
			result.CauseInitcall, result.Certain, "hang: initcall chip_init does not return: blocked in wait_ready", "wait_ready", "initcall chip_init"},
		{"of two blocked threads the one that waits for nobody", []model.Task{blocked(1, "swapper/0", "D", completed+"crypto_larval_wait chip_init"+initcalls), blocked(40, "cryptomgr_probe", "D", completed+"crypto_larval_wait cryptomgr_probe"+inThread), blocked(41, "cryptomgr_test", "D", timed+"msleep shash_async_finup alg_test cryptomgr_test"+inThread)}, nil,
			result.CauseKernelWait, result.Likely, "hang: cryptomgr_test blocked in shash_async_finup", "shash_async_finup", "does not wait for a completion itself"},
		{"a mutex without an owner that is known", []model.Task{blocked(1, "swapper/0", "D", asleep+"schedule_preempt_disabled __mutex_lock.constprop.0 __mutex_lock_slowpath mutex_lock take_it chip_init"+initcalls)}, nil,
			result.CauseMutex, result.Certain, "hang: kernel_init blocked on a mutex in take_it", "take_it", "its owner is not known"},
		{"a mutex with its owner", []model.Task{blocked(1, "swapper/0", "D", asleep+"schedule_preempt_disabled __mutex_lock mutex_lock take_it chip_init"+initcalls), blocked(40, "chipd", "D", timed+"msleep hold_it"+inThread)}, []model.Owner{{WaiterComm: "swapper/0", WaiterPID: 1, Lock: "mutex", OwnerComm: "chipd", OwnerPID: 40}},
			result.CauseMutex, result.Certain, "hang: kernel_init blocked on a mutex in take_it held by chipd", "take_it", "chipd (PID 40) likely owns"},
		{"a mutex whose owner is dead", []model.Task{blocked(1, "init", "D", asleep+"schedule_preempt_disabled __mutex_lock mutex_lock take_it vfs_read ksys_read"+syscall), blocked(40, "leaker", "Z", "")}, []model.Owner{{WaiterComm: "init", WaiterPID: 1, Lock: "mutex", OwnerComm: "leaker", OwnerPID: 40}},
			result.CauseMutex, result.Certain, "hang: init blocked on a mutex in take_it held by leaker", "take_it", "has exited and will never release it"},
		{"a mutex whose owner idles: it may still come back", []model.Task{blocked(1, "init", "D", asleep+"__mutex_lock mutex_lock take_it vfs_read"+syscall), blocked(40, "holder", "S", asleep+"futex_wait_queue __futex_wait futex_wait do_futex __x64_sys_futex"+syscall)}, []model.Owner{{WaiterComm: "init", WaiterPID: 1, Lock: "mutex", OwnerComm: "holder", OwnerPID: 40}},
			result.CauseMutex, result.Certain, "hang: init blocked on a mutex in take_it held by holder", "take_it", "holder (PID 40) likely owns; the owner sleeps"},
		{"a mutex that its waiter holds", []model.Task{blocked(1, "swapper/0", "D", asleep+"__mutex_lock mutex_lock take_twice chip_init"+initcalls)}, []model.Owner{{WaiterComm: "swapper/0", WaiterPID: 1, Lock: "mutex", OwnerComm: "swapper/0", OwnerPID: 1}},
			result.CauseDeadlock, result.Certain, "hang: deadlock: take_twice", "take_twice", "that it holds itself"},
		{"ABBA", []model.Task{blocked(1, "swapper/0", "D", asleep+"__mutex_lock mutex_lock take_b chip_init"+initcalls), blocked(40, "chipd", "D", asleep+"__mutex_lock mutex_lock take_a"+inThread)}, []model.Owner{{WaiterPID: 1, Lock: "mutex", OwnerComm: "chipd", OwnerPID: 40}, {WaiterPID: 40, Lock: "mutex", OwnerComm: "swapper/0", OwnerPID: 1}},
			result.CauseDeadlock, result.Certain, "hang: deadlock: take_b, take_a", "take_a", "→ swapper/0 (PID 1)"},
		{"a rwsem", []model.Task{blocked(1, "swapper/0", "D", asleep+"schedule_preempt_disabled rwsem_down_write_slowpath down_write register_it chip_init"+initcalls)}, nil,
			result.CauseRWSem, result.Certain, "hang: kernel_init blocked on a read-write semaphore in register_it", "register_it", "its owner is not known"},
		{"a module's init", []model.Task{blocked(1, "init", "S", asleep+"do_wait kernel_wait4 __do_sys_wait4"+syscall), blocked(60, "modprobe", "D", timed+"msleep chip_init@chip do_one_initcall do_init_module load_module __do_sys_finit_module"+syscall)}, nil,
			result.CauseModule, result.Certain, "hang: module initialisation of module chip does not return: blocked in chip_init", "chip_init", "modprobe (PID 60)"},
		{"the same on arm64", []model.Task{blocked(1, "init", "S", "__switch_to "+asleep+"do_wait kernel_wait4 __arm64_sys_wait4"+armCall), blocked(60, "modprobe", "D", "__switch_to "+timed+"msleep chip_init@chip do_one_initcall do_init_module init_module_from_file __arm64_sys_finit_module"+armCall)}, nil,
			result.CauseModule, result.Certain, "hang: module initialisation of module chip does not return: blocked in chip_init", "chip_init", "modprobe (PID 60)"},
		{"a futex", []model.Task{blocked(1, "init", "S", asleep+"futex_wait_queue __futex_wait futex_wait do_futex __x64_sys_futex"+syscall)}, nil,
			result.CauseUserService, result.Likely, "hang: init waits in futex", "futex_wait_queue", "another thread (futex)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tasks := append(append([]model.Task(nil), tc.tasks...), idle...)
			got := Diagnose(Input{Dump: parsed("[    0.000000] Linux version 6.1.0 (gcc)\n[    0.100000] smp: Brought up 1 node, 1 CPU\n"), Memory: tasks, Owners: tc.owners, Ending: EndingSilent})
			if got.Kind != result.KindHang || got.Cause != tc.cause || got.Confidence != tc.confidence || got.Title != tc.title || got.Function != tc.function {
				t.Errorf("%s/%s/%s %q in %s, want %s/%s %q in %s\n%s\n%q", got.Kind, got.Cause, got.Confidence, got.Title, got.Function, tc.cause, tc.confidence, tc.title, tc.function, got.Summary, got.Notes)
			}
			if text := got.Summary + strings.Join(got.Notes, "\n"); !strings.Contains(text, tc.says) {
				t.Errorf("%q is not in %q", tc.says, text)
			}
			for _, e := range got.Evidence {
				if len(e.Lines) == 0 || e.Source != sourceMemory {
					t.Errorf("evidence: %+v", e)
				}
			}
			check(t, got)
		})
	}
}
