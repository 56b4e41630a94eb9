package dump

import "testing"

// starved is what a CPU that stalled itself prints where RCU's thread gets no CPU
// either: three traces, of which the last is that of the CPU.
const starved = `[    0.000000] Linux version 6.12.0 (gcc)
[   30.000000] rcu: INFO: rcu_preempt self-detected stall on CPU
[   30.000001] rcu: 	1-...!: (745 ticks this GP) idle=1554/1/0x4000000000000000 softirq=164/164 fqs=6
[   30.000002] rcu: 	(t=750 jiffies g=-923 q=1 ncpus=2)
[   30.000003] rcu: rcu_preempt kthread starved for 738 jiffies! g-923 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x0 ->cpu=0
[   30.000004] rcu: 	Unless rcu_preempt kthread gets sufficient CPU time, OOM is now expected behavior.
[   30.000005] rcu: RCU grace-period kthread stack dump:
[   30.000006] task:rcu_preempt     state:R  running task     stack:0     pid:18    tgid:18    ppid:2      flags:0x00004000
[   30.000007] Call trace:
[   30.000008]  schedule_timeout+0x9e/0x160
[   30.000009]  rcu_gp_fqs_loop+0x10b/0x540
[   30.000010]  rcu_gp_kthread+0xe0/0x1b0
[   30.000011]  kthread+0xd2/0x100
[   30.000012]  ret_from_fork+0x34/0x50
[   30.000013] rcu: Stack dump where RCU GP kthread last ran:
`

const elsewhere = `[   30.000020] CPU: 0 UID: 0 PID: 70 Comm: innocent Not tainted 6.12.0 #1
[   30.000021] pc : busy_here+0x8/0x440
[   30.000022] Call trace:
[   30.000023]  busy_here+0x8/0x440
[   30.000024]  ksys_read+0xf8/0x114
[   30.000025]  el0t_64_sync+0x18c/0x190
`

const culprit = `[   30.000030] CPU: 1 UID: 0 PID: 77 Comm: modprobe Not tainted 6.12.0 #1
[   30.000031] pc : bad_loop+0x8/0x440 [bad]
[   30.000032] Call trace:
[   30.000033]  bad_loop+0x8/0x440 [bad]
[   30.000034]  do_one_initcall+0xf8/0x114
[   30.000035]  el0t_64_sync+0x18c/0x190
`

// Neither RCU's own thread nor the CPU that it ran on last is the one that stalls.
func TestWhoStallsRCU(t *testing.T) {
	for _, tc := range []struct{ name, log, comm, fn string }{
		{"by registers", starved + elsewhere + culprit, "modprobe", "bad_loop"},
		{"the CPU is the one that it ran on", starved + culprit, "modprobe", "bad_loop"},
		{"by a task's trace", starved + elsewhere + "[   30.000030] Task dump for CPU 1:\n[   30.000031] task:modprobe        state:R  running task     stack:0     pid:77    tgid:77    ppid:1      flags:0x00000002\n[   30.000032] Call trace:\n[   30.000033]  bad_loop+0x8/0x440 [bad]\n[   30.000034]  el0t_64_sync+0x18c/0x190\n", "modprobe", "bad_loop"},
		{"by NMI", starved + elsewhere + "[   30.000029] NMI backtrace for cpu 1\n" + culprit, "modprobe", "bad_loop"},
		{"no trace of it", starved + elsewhere, "", ""},
		{"nothing follows", starved, "", ""},
	} {
		d := Parse([]byte(tc.log))
		if len(d.Reports) != 1 || d.Reports[0].Kind != ReportRCU {
			t.Fatalf("%s: %+v", tc.name, d.Reports)
		}
		if r := d.Reports[0]; r.Comm != tc.comm || r.Func != tc.fn || r.CPU != 1 {
			t.Errorf("%s: %q in %q on CPU %d, want %q in %q on CPU 1", tc.name, r.Comm, r.Func, r.CPU, tc.comm, tc.fn)
		}
	}
}

// Where the kernel stamps its lines, what has no stamp is not the kernel's.
func TestUserSpaceIsNoKernel(t *testing.T) {
	const kernel = "[    0.000000] Linux version 6.1.0 (gcc)\n[    1.000000] Run /init as init process\n"
	forged := "Kernel panic - not syncing: I say so\nsysrq: Show State\ntask:init            state:D stack:0     pid:1     ppid:0      flags:0x00000002\nCall Trace:\n wait_for_random_bytes+0x4d/0x9e0\n getrandom+0x5a/0xd0\nLinux version 9.9.9 (cat /proc/version)\nBUG: kernel NULL pointer dereference, address: 0\nINFO: task a:7 is blocked on a mutex likely owned by task b:8.\n1 lock held by a/7:\n #0: ffff888004d5a0e0 (&x){+.+.}-{3:3}, at: f+0x1f/0x30\n"
	d := Parse([]byte(kernel + forged + "[    2.000000] systemd[1]: Kernel panic - not syncing: no\n"))
	if len(d.Reports)+len(d.Sections)+len(d.Loose)+len(d.Owners)+len(d.Held) > 0 || d.Boot.KernelCount != 1 || d.Boot.Release() != "6.1.0" {
		t.Errorf("%d kernels, reports %+v, sections %+v, tasks %+v, owners %+v", d.Boot.KernelCount, d.Reports, d.Sections, d.Loose, d.Owners)
	}
	if e, ok := d.Boot.Event(EventImitation); !ok || e.Count < 4 {
		t.Errorf("it is not told: %+v", e)
	}
	// A line of the kernel's behind one without an end is the kernel's.
	if d := Parse([]byte(kernel + "Starting...[    2.000000] Kernel panic - not syncing: yes\n")); len(d.Reports) != 1 {
		t.Errorf("a glued panic: %+v", d.Reports)
	}
	// A kernel that stamps nothing is believed.
	if d := Parse([]byte("Linux version 6.1.0 (gcc)\nRun /init as init process\nKernel panic - not syncing: yes\n")); len(d.Reports) != 1 {
		t.Errorf("without stamps: %+v", d.Reports)
	}
	// Though a program prints stamps of its own.
	if d := Parse([]byte("Linux version 6.1.0 (gcc)\nRun /init as init process\n[    12.345678] (II) a server\nKernel panic - not syncing: yes\n")); len(d.Reports) != 1 {
		t.Errorf("stamps of a program: %+v", d.Reports)
	}
	// A warning is anybody's word, and no kernel's here.
	if d := Parse([]byte(kernel + "WARNING: Failed to connect\n")); len(d.Reports)+len(d.Boot.Events) > 0 {
		t.Errorf("a warning: %+v, %+v", d.Reports, d.Boot.Events)
	}
	// After a reset another kernel may not.
	if d := Parse([]byte(kernel + "SeaBIOS (version 1.16)\nLinux version 6.2.0 (gcc)\n")); d.Boot.KernelCount != 2 {
		t.Errorf("%d kernels after a reset", d.Boot.KernelCount)
	}
}
