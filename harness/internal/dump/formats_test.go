package dump

import (
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// TestLockupFormats: what the kernel's detectors print, by version; the bounds
// are those at which a form was first seen.
func TestLockupFormats(t *testing.T) {
	for _, tc := range []struct {
		name, log string
		kind      ReportKind
		cpu       int
		comm      string
		pid, secs int
	}{
		{"3.12", "BUG: soft lockup - CPU#0 stuck for 22s! [sh:77]", ReportSoft, 0, "sh", 77, 22},
		{"4.3 to 4.9", "NMI watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [kworker/1:2:77]", ReportSoft, 1, "kworker/1:2", 77, 22},
		{"4.15", "watchdog: BUG: soft lockup - CPU#12 stuck for 143s! [modprobe:a:77]", ReportSoft, 12, "modprobe:a", 77, 143},
		{"hard, 3.x", "NMI watchdog: Watchdog detected hard LOCKUP on cpu 3", ReportHard, 3, "", 0, 0},
		{"hard, 4.15", "watchdog: Watchdog detected hard LOCKUP on cpu 3", ReportHard, 3, "", 0, 0},
		{"hard, ppc", "Watchdog CPU:59 Hard LOCKUP", ReportHard, 59, "", 0, 0},
		{"RCU, 3.0", "INFO: rcu_sched_state detected stall on CPU 0 (t=15000 jiffies)", ReportRCU, 0, "", 0, 0},
		{"RCU, 3.x", "INFO: rcu_sched detected stalls on CPUs/tasks: { 2} (detected by 0, t=60002 jiffies, g=1, c=0, q=0)", ReportRCU, -1, "", 0, 0},
		{"RCU, 3.x self", "INFO: rcu_sched self-detected stall on CPU { 1}  (t=60000 jiffies g=1 c=0 q=0)", ReportRCU, 1, "", 0, 0},
		{"RCU, 4.x", "INFO: rcu_sched detected stalls on CPUs/tasks:\n\t0-...: (1 GPs behind) idle=1b7/140000000000000/0 softirq=1/1 fqs=1", ReportRCU, 0, "", 0, 0},
		{"RCU, 4.19", "rcu: INFO: rcu_preempt self-detected stall on CPU\nrcu: \t1-....: (2099 ticks this GP) idle=2f6/1/0x4000000000000002 softirq=10/10 fqs=1049", ReportRCU, 1, "", 0, 0},
		{"RCU expedited", "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-.... } 21002 jiffies s: 57 root: 0x1/.", ReportRCU, -1, "", 0, 0},
		{"workqueue", "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 334s!", ReportWorkqueue, -1, "", 0, 0},
		{"hung task, a colon in the name", "INFO: task cat:a:1803 blocked for more than 368 seconds.", ReportHungTask, -1, "cat:a", 1803, 368},
		{"hung task in I/O, 6.17", "INFO: task dd:1803 blocked in I/O wait for more than 42 seconds.", ReportHungTask, -1, "dd", 1803, 42},
	} {
		d := Parse(printk(tc.log + "\n"))
		if len(d.Reports) != 1 {
			t.Errorf("%s: %d reports", tc.name, len(d.Reports))
			continue
		}
		if r := d.Reports[0]; r.Kind != tc.kind || r.CPU != tc.cpu || r.Comm != tc.comm || r.PID != tc.pid || r.Seconds != tc.secs {
			t.Errorf("%s: %s on CPU %d, %s:%d, %d s", tc.name, r.Kind, r.CPU, r.Comm, r.PID, r.Seconds)
		}
	}
}

// TestOwnerFormats: who holds the lock, as khungtaskd says from 6.15 on.
func TestOwnerFormats(t *testing.T) {
	for log, want := range map[string]model.Owner{
		"INFO: task cat:a:12 is blocked on a mutex likely owned by task dd:b:34.":                   {WaiterComm: "cat:a", WaiterPID: 12, Lock: "mutex", OwnerComm: "dd:b", OwnerPID: 34},
		"INFO: task cat:12 is blocked on a mutex, but the owner is not found.":                      {WaiterComm: "cat", WaiterPID: 12, Lock: "mutex"},
		"INFO: task cat:12 blocked on a semaphore likely last held by task dd:34":                   {WaiterComm: "cat", WaiterPID: 12, Lock: "semaphore", OwnerComm: "dd", OwnerPID: 34},
		"INFO: task cat:12 <reader> blocked on an rw-semaphore likely owned by task dd:34 <writer>": {WaiterComm: "cat", WaiterPID: 12, Lock: "rw-semaphore", OwnerComm: "dd", OwnerPID: 34},
		"INFO: task cat:12 <writer> blocked on an rw-semaphore, but the owner is not found.":        {WaiterComm: "cat", WaiterPID: 12, Lock: "rw-semaphore"},
	} {
		d := Parse(printk(log + "\n"))
		if len(d.Owners) != 1 {
			t.Errorf("%s: %d owners", log, len(d.Owners))
			continue
		}
		got := d.Owners[0]
		got.Offset, got.End = 0, 0
		if got != want {
			t.Errorf("%s: %+v", log, got)
		}
	}
}

// TestStackFormats: the traces of one sleeping task in the forms of archs and
// versions; the chain is the same.
func TestStackFormats(t *testing.T) {
	const head = "task:sh              state:D stack:    0 pid:   77 ppid:     1 flags:0x00000000\n"
	for name, trace := range map[string]string{
		"before 4.10":           "Call Trace:\n [<ffffffff81234567>] schedule+0x12/0x34\n [<ffffffff81234568>] ? noise+0x12/0x34\n [<ffffffff81234569>] foo_open+0x12/0x34 [foo]\n",
		"4.10":                  "Call Trace:\n schedule+0x12/0x34\n ? noise+0x12/0x34\n foo_open+0x12/0x34 [foo]\n",
		"5.16":                  "Call Trace:\n <TASK>\n schedule+0x12/0x34\n ? __pfx_noise+0x10/0x10\n foo_open+0x12/0x34 [foo]\n </TASK>\n",
		"all unreliable":        "Call Trace:\n ? schedule+0x12/0x34\n ? foo_open+0x12/0x34 [foo]\n",
		"interrupted":           "Call Trace:\n <TASK>\n schedule+0x12/0x34\n foo_open+0x12/0x34 [foo]\n </TASK>\n <IRQ>\n",
		"arm64":                 "Call trace:\n schedule+0x12/0x34\n foo_open+0x12/0x34 [foo]\n",
		"arm64, 4.4":            "Call trace:\n[<ffffffc000085d4c>] schedule+0x12/0x34\n[<ffffffc000085d4d>] foo_open+0x12/0x34 [foo]\n",
		"arm64, 6.13":           "Call trace:\n schedule+0x12/0x34 (T)\n foo_open+0x12/0x34 [foo] (P)\n",
		"arm32":                 "[<c0701234>] (schedule) from [<bf001234>] (foo_open+0x12/0x34 [foo])\n r7:c0701234 r6:00000000\n",
		"arm32, 5.18":           " schedule from foo_open+0x12/0x34 [foo]\n",
		"ppc":                   "Call Trace:\n[c000000001234560] [c0000000000a1b2c] schedule+0x12/0x34\n[c000000001234570] [c0000000000a1b2d] noise+0x12/0x34 (unreliable)\n[c000000001234580] [c0000000000a1b2e] foo_open+0x12/0x34 [foo]\n",
		"mips and loongarch":    "Stack : 9000000001234567 0000000000000000 0000000000000000 90000000012345ff\n        0000000000000001 0000000000000002\nCall Trace:\n[<9000000001234567>] schedule+0x12/0x34\n[<9000000001234568>] foo_open+0x12/0x34 [foo]\n",
		"/proc/PID/stack":       "[<0>] schedule+0x12/0x34\n[<0>] foo_open+0x12/0x34 [foo]\n",
		"/proc/PID/stack, old":  "[<0000000000000000>] schedule+0x12/0x34\n[<0000000000000000>] foo_open+0x12/0x34 [foo]\n[<ffffffffffffffff>] 0xffffffffffffffff\n",
		"symbolised, syzkaller": "Call Trace:\n schedule+0x12/0x34 kernel/sched/core.c:12\n foo_open+0x12/0x34 drivers/foo/foo.c:34 [foo]\n",
		"symbolised, script":    "Call Trace:\n schedule (kernel/sched/core.c:12 kernel/sched/core.c:34 (discriminator 3))\n foo_open (drivers/foo/foo.c:34) [foo]\n",
	} {
		d := Parse(printk("sysrq: Show Blocked State\n" + head + trace + "sysrq: HELP : x\n"))
		s, ok := d.Last(SectionBlocked)
		if !ok || len(s.Tasks) != 1 {
			t.Errorf("%s: %d tasks", name, len(d.Sections))
			continue
		}
		var fns []string
		for _, f := range s.Tasks[0].Chain() {
			fns = append(fns, f.Func)
		}
		if got := strings.Join(fns, " "); got != "schedule foo_open" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestSysrqBanners: the three forms of the banner.
func TestSysrqBanners(t *testing.T) {
	for _, b := range []string{"SysRq : Show State", "sysrq: SysRq : Show State", "sysrq: Show State"} {
		if d := Parse(printk(b + "\n")); len(d.Sections) != 1 || d.Sections[0].Kind != SectionState {
			t.Errorf("%s: %+v", b, d.Sections)
		}
	}
}

// TestStages: the last milestone of the console is the stage.
func TestStages(t *testing.T) {
	const kernel = "[    0.000000] Linux version 6.1.0 (gcc) #1 SMP\n[    0.000000] Command line: quiet\n[    0.100000] x\n"
	for _, tc := range []struct {
		log  string
		want Stage
	}{
		{"", StageNone},
		{"SeaBIOS (version 1.16.2)\n", StageFirmware},
		{"U-Boot 2024.01\nStarting kernel ...\n", StageLoader},
		{"EFI stub: Booting Linux Kernel...\nEFI stub: Exiting boot services...\n", StageLoader},
		{"early console in setup code\nProbing EDD (edd=off to disable)... ok\n", StageDecompress},
		{"Decompressing Linux... Parsing ELF... done.\nBooting the kernel.\n", StageDecompress},
		{"Uncompressing Linux... done, booting the kernel.\n", StageDecompress},
		{"[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x413fd0c1]\n", StageEarly},
		{kernel, StageEarly},
		{kernel + "[    0.200000] smp: Brought up 1 node, 2 CPUs\n", StageInitcalls},
		{kernel + "[    0.200000] smp: Brought up 1 node, 2 CPUs\n[    1.000000] Waiting for root device /dev/vda...\n", StageRootWait},
		{kernel + "[    1.000000] Run /init as init process\n", StageInit},
		{kernel + "[    1.000000] Run /init as init process\n[    2.000000] dracut: dracut-057\n", StageInitramfs},
		{kernel + "[    1.000000] Run /init as init process\n[    3.000000] systemd[1]: Switching root.\n", StageSwitchRoot},
		{kernel + "[    1.000000] Run /init as init process\n[    3.000000] systemd[1]: Switching root.\nhost login:\n", StageLogin},
	} {
		if d := Parse([]byte(tc.log)); d.Boot.Stage != tc.want {
			t.Errorf("%q: %s, want %s", tc.log, d.Boot.Stage, tc.want)
		}
	}
}
