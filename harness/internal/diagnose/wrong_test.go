package diagnose

import (
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// Stacks of tasks that wait, from outside in the functions that say for what.
const (
	inFlock     = asleep + "locks_lock_inode_wait __do_sys_flock __x64_sys_flock" + syscall
	inWait4     = asleep + "do_wait kernel_wait4 __do_sys_wait4" + syscall
	inEpoll     = asleep + "ep_poll do_epoll_wait __x64_sys_epoll_wait" + syscall
	inPause     = asleep + "__x64_sys_pause" + syscall
	inPpoll     = asleep + "schedule_hrtimeout_range_clock schedule_hrtimeout_range do_sys_poll __arm64_sys_ppoll" + syscall
	inGetrandom = asleep + "wait_for_random_bytes __x64_sys_getrandom" + syscall
	inNanosleep = asleep + "do_nanosleep hrtimer_nanosleep __x64_sys_nanosleep" + syscall
	inDisk      = asleep + "io_schedule folio_wait_bit_common ext4_fill_super get_tree_bdev vfs_get_tree path_mount __x64_sys_mount" + syscall
	inMutex     = asleep + "schedule_preempt_disabled __mutex_lock mutex_lock take_it vfs_read ksys_read" + syscall
)

func thread(t model.Task, tgid int) model.Task {
	t.TGID, t.PPID = tgid, 0
	return t
}

func under(t model.Task, ppid int) model.Task {
	t.PPID = ppid
	return t
}

func withArgs(t model.Task, name string, args ...uint64) model.Task {
	t.Syscall = &model.Syscall{Name: name, Args: args}
	return t
}

const toInit = "[    0.000000] Linux version 6.1.0 (gcc)\n[    0.000001] Kernel command line: root=/dev/vda1\n[    0.500000] smp: Brought up 1 node, 1 CPU\n[    1.000000] Run /init as init process\n"

// What a program says on the console, and what merely waits beside the boot, is
// not taken for what holds it up.
func TestWhatMisleads(t *testing.T) {
	init, locker := blocked(1, "init", "S", inWait4), blocked(60, "locker", "S", inFlock)
	both := []model.Task{init, locker}
	systemd := blocked(1, "systemd", "S", inEpoll)
	complaint := "[    1.100000] BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580\n[    1.100001] CPU: 0 PID: 7 Comm: kworker/0:1 Not tainted\n[    1.100002] Call Trace:\n[    1.100003]  <TASK>\n[    1.100004]  __might_resched+0x1/0x2\n[    1.100005]  foo_work+0x1/0x2\n[    1.100006]  </TASK>\n"
	for _, tc := range []struct {
		name       string
		log        string
		tasks      []model.Task
		owners     []model.Owner
		cause      result.Cause
		confidence result.Confidence
		task       int
	}{
		{"nothing beside", "", both, nil, result.CauseUserLock, result.Certain, 60},
		{"a program misses a device, and goes on", "hwclock: /dev/rtc0 does not exist\n", both, nil, result.CauseUserLock, result.Certain, 60},
		{"a device that was not necessary", "[ TIME ] Timed out waiting for device /dev/sdb1.\n", both, nil, result.CauseUserLock, result.Certain, 60},
		{"the root device was missed before a lock", "dracut-initqueue[99]: Warning: /dev/vda1 does not exist\n", both, nil, result.CauseUserLock, result.Certain, 60},
		{"the root device is missed", "dracut-initqueue[99]: Warning: /dev/vda1 does not exist\n", []model.Task{systemd, blocked(60, "dracut-initqueu", "S", inNanosleep)}, nil, result.CauseRootDevice, result.Certain, 0},
		{"a daemon refuses", "mydaemon: Refusing to continue\n", both, nil, result.CauseUserLock, result.Certain, 60},
		{"something freezes", "container: Freezing execution.\n", both, nil, result.CauseUserLock, result.Certain, 60},
		{"PID 1 does not freeze", "[    2.000000] systemd[1]: Freezing execution.\n", []model.Task{systemd, locker}, nil, result.CauseUserLock, result.Likely, 60},
		{"PID 1 freezes", "[    2.000000] systemd[1]: Freezing execution.\n", []model.Task{blocked(1, "systemd", "S", inPause), locker}, nil, result.CauseSystemdFreezes, result.Certain, 1},
		{"PID 1 freezes on arm64", "[    2.000000] systemd[1]: Freezing execution.\n", []model.Task{blocked(1, "systemd", "S", inPpoll), locker}, nil, result.CauseSystemdFreezes, result.Certain, 1},
		{"a library fails its own FIPS check", "openssl: FIPS integrity check failed\n", both, nil, result.CauseUserLock, result.Certain, 60},
		{"an emergency shell that was left", "You are in emergency mode\n[    3.000000] systemd[1]: Switching root.\n", []model.Task{systemd}, nil, result.CauseUnknown, result.Unknown, 1},
		{"an emergency shell by its prompt", "Entering emergency mode. Exit the shell to continue.\ndracut:/# \n", []model.Task{blocked(1, "systemd", "S", inEpoll)}, nil, result.CauseEmergency, result.Certain, 0},
		{"a panic that a program prints", "Kernel panic - not syncing: Attempted to kill init!\n", both, nil, result.CauseUserLock, result.Certain, 60},
		{"a dump that a program prints", "sysrq: Show State\ntask:init            state:D stack:0     pid:1     ppid:0      flags:0x00000002\nCall Trace:\n wait_for_random_bytes+0x1/0x2\nSched Debug Version\n", nil, nil, result.CauseUnknown, result.Unknown, 0},
		{"a complaint of a debugging option", complaint, both, nil, result.CauseUserLock, result.Certain, 60},
		{"a complaint, and nothing else", complaint, []model.Task{systemd}, nil, result.CauseUnknown, result.Unknown, 1},

		{"a thread of its own is no child", "", []model.Task{init, thread(blocked(5, "init", "S", inFlock), 1), under(blocked(60, "napper", "S", inNanosleep), 1)}, nil, result.CauseUserService, result.Likely, 60},
		{"the child of a thread", "", []model.Task{init, thread(blocked(5, "init", "S", inNanosleep), 1), under(locker, 5)}, nil, result.CauseUserLock, result.Certain, 60},
		{"of two children, either", "", []model.Task{init, locker, blocked(61, "other", "S", inNanosleep)}, nil, result.CauseUserLock, result.Likely, 60},
		{"wait4 for a PID of another namespace", "", []model.Task{init, blocked(50, "jail", "S", inWait4), under(withArgs(blocked(51, "jail-init", "S", inWait4), "wait4", 2), 50), under(locker, 51), blocked(2, "kthreadd", "S", asleep+"kthreadd ret_from_fork")}, nil, result.CauseUserLock, result.Certain, 60},
		{"a daemon beside a service, both blocked", "", []model.Task{systemd, blocked(60, "daemon", "S", inGetrandom), blocked(61, "service", "D", inDisk)}, nil, result.CauseEntropy, result.Likely, 60},
		{"one blocked in the kernel, and nothing else", "", []model.Task{systemd, blocked(61, "mount", "D", inDisk)}, nil, result.CauseMount, result.Certain, 61},
		{"a daemon that waits for a lock", "", []model.Task{systemd, locker}, nil, result.CauseUserLock, result.Likely, 60},

		{"it reads random numbers, and gets them", "", []model.Task{init, blocked(60, "dd", "R", asleep+"__cond_resched get_random_bytes_user random_read_iter vfs_read ksys_read"+syscall)}, nil, result.CauseUserService, result.Likely, 60},
		{"it waits for the memory it reads them to", "", []model.Task{init, blocked(60, "dd", "D", asleep+"io_schedule folio_wait_bit_common filemap_fault handle_mm_fault random_read_iter vfs_read ksys_read"+syscall)}, nil, result.CauseIO, result.Certain, 60},
		{"the kernel gathers what it needs", "", []model.Task{init, blocked(60, "seeder", "R", "try_to_generate_entropy wait_for_random_bytes __x64_sys_getrandom"+syscall)}, nil, result.CauseEntropy, result.Likely, 60},

		{"a driver waits for firmware", "", []model.Task{init, blocked(60, "modprobe", "D", timed+"__wait_for_common wait_for_completion_killable_timeout fw_load_sysfs_fallback fw_load_from_user_helper firmware_fallback_sysfs _request_firmware chip_probe@chip really_probe do_one_initcall do_init_module __x64_sys_finit_module"+syscall)}, nil, result.CauseProbe, result.Likely, 60},

		{"an owner of another kind of lock", "", []model.Task{blocked(1, "init", "D", inMutex), blocked(60, "innocent", "S", inNanosleep)}, []model.Owner{{WaiterComm: "init", WaiterPID: 1, Lock: "rw-semaphore", OwnerComm: "innocent", OwnerPID: 60}}, result.CauseMutex, result.Certain, 1},
		{"an owner whose PID another has", "", []model.Task{blocked(1, "init", "D", inMutex), blocked(60, "innocent", "S", inNanosleep)}, []model.Owner{{WaiterComm: "init", WaiterPID: 1, Lock: "mutex", OwnerComm: "guilty", OwnerPID: 60}}, result.CauseMutex, result.Certain, 60},
		{"the last word on an owner", "", []model.Task{blocked(1, "init", "D", inMutex), blocked(60, "innocent", "S", inNanosleep)}, []model.Owner{{WaiterComm: "init", WaiterPID: 1, Lock: "mutex", OwnerComm: "innocent", OwnerPID: 60}, {WaiterComm: "init", WaiterPID: 1, Lock: "mutex"}}, result.CauseMutex, result.Certain, 1},
		{"the last to take a semaphore", "", []model.Task{blocked(1, "init", "D", asleep+"schedule_timeout ___down_common __down down take_it vfs_read"+syscall), blocked(60, "last", "S", inNanosleep)}, []model.Owner{{WaiterComm: "init", WaiterPID: 1, Lock: "semaphore", OwnerComm: "last", OwnerPID: 60}}, result.CauseSemaphore, result.Likely, 60},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := Diagnose(Input{Dump: parsed(toInit + tc.log), Memory: tc.tasks, Owners: tc.owners, Ending: EndingSilent})
			pid := 0
			if d.Task != nil {
				pid = d.Task.PID
			}
			if d.Cause != tc.cause || d.Confidence != tc.confidence || pid != tc.task {
				t.Errorf("%s (%s), PID %d, want %s (%s), PID %d\n%s: %s\n%q", d.Cause, d.Confidence, pid, tc.cause, tc.confidence, tc.task, d.Title, d.Summary, d.Notes)
			}
			if strings.Contains(d.Summary, "the owner sleeps") && strings.Contains(d.Summary, "guilty") {
				t.Errorf("the state of another task is shown: %s", d.Summary)
			}
			check(t, d)
		})
	}
}

// What systemd waited for is not why the machine reset.
func TestResetDuringAJob(t *testing.T) {
	log := []byte(toInit + "[    3.000000] systemd[1]: Switching root.\n(1 of 3) Job systemd-random-seed.service/start running (8s / 10min)\n")
	if d := Diagnose(Input{Dump: parsed(log), Ending: EndingReset}); d.Kind != result.KindReset || d.Cause != result.CauseTripleFault {
		t.Errorf("%s/%s %q", d.Kind, d.Cause, d.Title)
	}
	if d := Diagnose(Input{Dump: parsed(log), Ending: EndingSilent}); d.Cause != result.CauseUserService {
		t.Errorf("hung: %s/%s %q", d.Kind, d.Cause, d.Title)
	}
}

// A CPU that rests is not locked up any more, as after a host that was slow.
func TestALockupThatIsOver(t *testing.T) {
	log := []byte(toInit + "[   30.000000] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [modprobe:50]\n[   30.000001] CPU: 0 PID: 50 Comm: modprobe Not tainted\n[   30.000002] RIP: 0010:slow_thing+0x5/0x10\n")
	in := Input{Dump: parsed(log), Memory: []model.Task{blocked(1, "init", "S", inWait4), blocked(60, "locker", "S", inFlock)}, Ending: EndingSilent}
	for _, tc := range []struct {
		cpu  VCPU
		want result.Cause
	}{{VCPU{Idle: true, Symbol: "default_idle+0x5/0x20"}, result.CauseUserLock}, {VCPU{Symbol: "slow_thing+0x5/0x10", BusyFraction: 1}, result.CauseSoftLockup}} {
		in.VCPUs = []VCPU{tc.cpu}
		d := Diagnose(in)
		if d.Cause != tc.want {
			t.Errorf("%+v: %s, want %s", tc.cpu, d.Cause, tc.want)
		}
		if over := strings.Contains(strings.Join(d.Notes, "\n"), "is idle now"); over != tc.cpu.Idle {
			t.Errorf("%+v: notes %q", tc.cpu, d.Notes)
		}
	}
}

// The crash that ends in a panic need not be the first.
func TestWhichCrashPanicked(t *testing.T) {
	crash := func(at, fn, comm, pid string) string {
		return strings.ReplaceAll("[   @.000000] BUG: kernel NULL pointer dereference, address: 0\n[   @.000001] CPU: 0 PID: "+pid+" Comm: "+comm+" Not tainted 6.1.0 #1\n[   @.000002] RIP: 0010:"+fn+"+0x5/0x10\n[   @.000003] Call Trace:\n[   @.000004]  <TASK>\n[   @.000005]  "+fn+"_caller+0x5/0x10\n[   @.000006]  </TASK>\n", "@", at)
	}
	const panic = "[   40.000000] Kernel panic - not syncing: Fatal exception in interrupt\n"
	one, two := crash("20", "first", "a", "50"), crash("30", "second", "b", "60")
	if d := Explain([]byte(toInit + one + panic)); d.Kind != result.KindPanic || d.Function != "first" || d.Confidence != result.Certain {
		t.Errorf("one crash: %s in %s (%s)", d.Kind, d.Function, d.Confidence)
	}
	if d := Explain([]byte(toInit + one + two + panic)); d.Function != "first" || d.Confidence != result.Likely || !strings.Contains(strings.Join(d.Notes, "\n"), "a later crash, in b (PID 60)") {
		t.Errorf("two: %s (%s), %q", d.Function, d.Confidence, d.Notes)
	}
	const killed = "[   40.000000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\n"
	if d := Explain([]byte(toInit + one + crash("30", "first", "swapper/0", "1") + killed)); d.Cause != result.CauseOops || d.Function != "first" {
		t.Errorf("PID 1 crashed in the kernel, after another task: %s in %s", d.Cause, d.Function)
	}
	if d := Explain([]byte(toInit + one + killed)); d.Cause != result.CauseInitDied {
		t.Errorf("another task crashed, and init ended: %s", d.Cause)
	}
}

// A dump of an earlier capture, or one that a later one contradicts, is not the hang.
func TestAnOldDumpIsNoHang(t *testing.T) {
	dumped := func(at, fn string) string {
		return strings.ReplaceAll("[    @.000000] sysrq: Show State\n[    @.000100] task:init            state:D stack:0     pid:1     tgid:1     ppid:0      flags:0x00000002\n[    @.000200] Call Trace:\n[    @.000300]  <TASK>\n[    @.000400]  __schedule+0x34d/0x9e0\n[    @.000500]  schedule+0x5a/0xd0\n[    @.000600]  wait_for_random_bytes+0x34d/0x400\n[    @.000700]  "+fn+"+0x1a/0x300\n[    @.000800]  entry_SYSCALL_64_after_hwframe+0x6e/0xd8\n[    @.000900]  </TASK>\n", "@", at)
	}
	const end = "[    9.900000] Sched Debug Version: v0.11, 6.1.0 #1\n"
	log := toInit + dumped("9", "one") + end + "[   20.000000] a line\n"
	for _, tc := range []struct {
		name  string
		log   string
		asked int64
		want  result.Confidence
	}{
		{"the last look", log, 0, result.Certain},
		{"an earlier look", log, int64(len(log)) - 10, result.Likely},
		{"the later one is torn, and other", log + dumped("21", "two"), 0, result.Likely},
		{"the later one is torn, and the same", log + dumped("21", "one"), 0, result.Certain},
	} {
		if d := Diagnose(Input{Dump: parsed(tc.log), Asked: tc.asked, Ending: EndingSilent}); d.Cause != result.CauseEntropy || d.Confidence != tc.want {
			t.Errorf("%s: %s (%s), want %s; %q", tc.name, d.Cause, d.Confidence, tc.want, d.Notes)
		}
	}
}

// Of a kernel without types memory shows the stack of PID 1 and nothing else.
func TestUnknownState(t *testing.T) {
	one := blocked(1, "swapper/0", "?", "__switch_to "+timed+"msleep stuck_init"+initcalls)
	d := Diagnose(Input{Dump: parsed("[    0.000000] Linux version 6.1.0 (gcc)\n[    0.500000] smp: Brought up 1 node, 1 CPU\n"), Memory: []model.Task{one}, MemoryPartial: true, Ending: EndingSilent})
	if notes := strings.Join(d.Notes, "\n"); !strings.Contains(notes, "memory did not show all tasks") || strings.Contains(notes, "torn") {
		t.Errorf("notes %q", notes)
	}
	if d.Cause != result.CauseInitcall || d.Confidence != result.Likely || d.Title != "hang: initcall stuck_init does not return: blocked in stuck_init" || !strings.Contains(d.Summary, "sleeps in the initcall") {
		t.Errorf("%s (%s) %q: %s", d.Cause, d.Confidence, d.Title, d.Summary)
	}
	check(t, d)
}

// What the kernel waited for may have come: it does not say so, and a log alone may
// have been cut there.
func TestRootDeviceMayHaveAppeared(t *testing.T) {
	log := "[    0.000000] Linux version 6.1.0 (gcc)\n[    1.100000] Waiting for root device /dev/vda1...\n"
	for _, tc := range []struct {
		more   string
		ending Ending
		want   result.Confidence
	}{
		{"", EndingSilent, result.Certain},
		{"", "", result.Likely},
		{"[    1.200000] EXT4-fs (vda1): mounted filesystem\n", EndingSilent, result.Likely},
	} {
		d := Diagnose(Input{Dump: parsed(log + tc.more), Ending: tc.ending})
		if d.Cause != result.CauseRootDevice || d.Confidence != tc.want {
			t.Errorf("after %q (%q): %s (%s), want %s", tc.more, tc.ending, d.Cause, d.Confidence, tc.want)
		}
	}
}

// The processes that a server starts are no fork bomb, nor are threads.
func TestManyProcessesOfOneName(t *testing.T) {
	many := func(parent func(i int) int, tgid func(i int) int) []model.Task {
		tasks := []model.Task{blocked(1, "init", "S", inWait4), blocked(100, "httpd", "S", inEpoll)}
		for i := range 600 {
			c := under(blocked(200+i, "httpd", "S", inEpoll), parent(i))
			c.TGID = tgid(200 + i)
			tasks = append(tasks, c)
		}
		return tasks
	}
	self, none := func(pid int) int { return pid }, func(int) int { return 0 }
	for _, tc := range []struct {
		name       string
		tasks      []model.Task
		bomb       bool
		confidence result.Confidence
	}{
		{"each makes others", many(func(i int) int { return max(100, 200+i/2-1) }, self), true, result.Certain},
		{"one starts all", many(func(int) int { return 100 }, self), true, result.Likely},
		{"threads, whose process was not printed", many(func(int) int { return 1 }, none), false, ""},
		{"threads", many(func(int) int { return 1 }, func(int) int { return 100 }), false, ""},
	} {
		d := Diagnose(Input{Dump: parsed(toInit), Memory: tc.tasks, Ending: EndingSilent})
		if bomb := d.Cause == result.CauseForkBomb; bomb != tc.bomb || bomb && d.Confidence != tc.confidence {
			t.Errorf("%s: %s (%s): %s", tc.name, d.Cause, d.Confidence, d.Summary)
		}
	}
}

// A read of /dev/random could block on a seeded generator before 5.6.
func TestOldDevRandomIsNotUnseeded(t *testing.T) {
	log := strings.Replace(toInit, "6.1.0", "4.19.0", 1)
	old := blocked(60, "gpg", "S", asleep+"_random_read random_read vfs_read ksys_read"+syscall)
	d := Diagnose(Input{Dump: parsed(log), Memory: []model.Task{blocked(1, "init", "S", inWait4), old}, Ending: EndingSilent})
	if d.Cause != result.CauseEntropy || strings.Contains(d.Summary, "never seeded") || !strings.Contains(d.Summary, "/dev/random has too little entropy") {
		t.Errorf("%s: %s", d.Cause, d.Summary)
	}
}
