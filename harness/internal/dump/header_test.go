package dump

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

type head struct {
	Comm            string
	State           string
	PID, PPID, TGID int
	Flags, TFlags   uint64
	Running         bool
}

func TestParseHeader(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     head
	}{
		{"2.6 i386", "cp            D C02371A0 19704060   136     91 (NOTLB)", head{Comm: "cp", State: "D", PID: 136, PPID: 91}},
		{"2.6.18 x86_64 with relatives", "init          S ffff81003fe61d98     0     1      0     2               (NOTLB)", head{Comm: "init", State: "S", PID: 1}},
		{"2.6.18 kernel thread", "kthread       S ffff81003fe3bd98     0     6      1     9     5 (L-TLB)", head{Comm: "kthread", State: "S", PID: 6, PPID: 1}},
		{"2.6.2x without flags", "bash          S ffff880078a35d98     0  3521   3519", head{Comm: "bash", State: "S", PID: 3521, PPID: 3519}},
		{"3.x x86_64", "mount           D ffff911e2b64e2a0     0 61208      1 0x00000084", head{Comm: "mount", State: "D", PID: 61208, PPID: 1, Flags: 0x84}},
		{"3.x 32-bit", "swapper/0       D c0a9cf00     0     1      0 0x00000000", head{Comm: "swapper/0", State: "D", PID: 1}},
		{"3.x running", "swapper/0       R  running task        0     0      1 0x00000000", head{Comm: "swapper/0", State: "R", PID: 0, PPID: 1, Running: true}},
		{"4.9", "systemd-udevd   D    0   639    593 0x00000004", head{Comm: "systemd-udevd", State: "D", PID: 639, PPID: 593, Flags: 4}},
		{"4.9 glued", "rcu_sched       I15016    11      2 0x80004000", head{Comm: "rcu_sched", State: "I", PID: 11, PPID: 2, Flags: 0x80004000}},
		{"5.8 blanks and brackets in the name", "(sd pam) [x]:1  S    0   639    593 0x00000004", head{Comm: "(sd pam) [x]:1", State: "S", PID: 639, PPID: 593, Flags: 4}},
		{"5.8 name that looks like a state", "a D 1           S    0   639    593 0x00000004", head{Comm: "a D 1", State: "S", PID: 639, PPID: 593, Flags: 4}},
		{"5.9", "task:systemd         state:S stack:12920 pid:    1 ppid:     0 flags:0x00000000", head{Comm: "systemd", State: "S", PID: 1}},
		{"6.1", "task:demo0           state:D stack:0     pid:308   ppid:2      flags:0x0000000a", head{Comm: "demo0", State: "D", PID: 308, PPID: 2, Flags: 0xa}},
		{"6.7", "task:demo0           state:D stack:0     pid:308   tgid:300   ppid:2      flags:0x0000000a", head{Comm: "demo0", State: "D", PID: 308, TGID: 300, PPID: 2, Flags: 0xa}},
		{"6.15", "task:cat             state:S stack:0     pid:1802  tgid:1802  ppid:1057   task_flags:0x400000 flags:0x00000004", head{Comm: "cat", State: "S", PID: 1802, TGID: 1802, PPID: 1057, TFlags: 0x400000, Flags: 4}},
		{"running", "task:busybox         state:R  running task     stack:0     pid:90    ppid:1      flags:0x00000008", head{Comm: "busybox", State: "R", PID: 90, PPID: 1, Flags: 8, Running: true}},
		{"collapsed blanks", "task:cat state:S stack:0 pid:1802 tgid:1802 ppid:1057 flags:0x00000004", head{Comm: "cat", State: "S", PID: 1802, TGID: 1802, PPID: 1057, Flags: 4}},
		{"hostile name", "task:x state:D pid:9 state:S stack:0     pid:308   ppid:2      flags:0x0000000a", head{Comm: "x state:D pid:9", State: "S", PID: 308, PPID: 2, Flags: 0xa}},
		{"kworker", "task:kworker/u8:1+ev state:D stack:0     pid:31    ppid:2      flags:0x00004000", head{Comm: "kworker/u8:1+ev", State: "D", PID: 31, PPID: 2, Flags: 0x4000}},
		{"a field of a later kernel", "task:cat             state:S stack:0     pid:1802  tgid:1802  ppid:1057   task_flags:0x400000 cpu:3 flags:0x00000004", head{Comm: "cat", State: "S", PID: 1802, TGID: 1802, PPID: 1057, TFlags: 0x400000, Flags: 4}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h, ok := parseHeader([]byte(tc.in))
			if !ok {
				t.Fatal("not recognised")
			}
			got := head{string(h.comm), string(rune(h.state)), h.pid, h.ppid, h.tgid, h.flags, h.taskFlags, h.running}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestNoHeader(t *testing.T) {
	for _, in := range []string{
		"  task                        PC stack   pid father",
		"task:",
		"task:x",
		"task: state:S",
		"task:x state:S stack:0",
		"task:x state:Q stack:0 pid:1 ppid:2 flags:0x00000000",
		"pci 0000:00:01.0: reg 0x10: [mem 0xfebc0000-0xfebc0fff]",
		"BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable 0x00000001",
		" I    kworker/1:2    52       298.918359         2   120         0.000000         0.067521         0.000000         0.000000 0 0 /",
		"usb 1-1: New USB device found, idVendor=0627, idProduct=0001",
		"S 1 2 3",
		"a name that is far too long to be one D    0   639    593 0x00000004",
		"",
	} {
		if h, ok := parseHeader([]byte(in)); ok {
			t.Errorf("%q was taken for a header: %+v", in, h)
		}
	}
}

func TestParseCPULine(t *testing.T) {
	for in, want := range map[string]cpuLine{
		"Pid: 12, comm: sh x Not tainted 2.6.32 #1":                 {cpu: -1, pid: 12, comm: []byte("sh x")},
		"CPU: 1 PID: 90 Comm: busybox Not tainted 6.1.0-50-amd64":   {cpu: 1, pid: 90, comm: []byte("busybox")},
		"CPU: 0 UID: 0 PID: 93 Comm: init Tainted: G        W  6.1": {cpu: 0, pid: 93, comm: []byte("init")},
		"CPU: 3 PID: 1 Comm: a: b Kdump: loaded Not tainted 5.4":    {cpu: 3, pid: 1, comm: []byte("a: b")},
	} {
		got, ok := parseCPULine([]byte(in))
		if !ok || got.cpu != want.cpu || got.pid != want.pid || string(got.comm) != string(want.comm) {
			t.Errorf("parseCPULine(%q) = %+v %q %v", in, got, got.comm, ok)
		}
	}
}

func TestParseFrame(t *testing.T) {
	type fr struct {
		Func, Mod string
		Off, Size uint64
		Guess     bool
	}
	for in, want := range map[string]fr{
		" schedule+0x5a/0xd0":                                           {"schedule", "", 0x5a, 0xd0, false},
		" ? schedule+0x5a/0xd0":                                         {"schedule", "", 0x5a, 0xd0, true},
		" [<ffffffff8105c93f>] sys_open+0x12/0x34":                      {"sys_open", "", 0x12, 0x34, false},
		" [<ffffffff8105c93f>] ? sys_open+0x12/0x34 [ext4]":             {"sys_open", "ext4", 0x12, 0x34, true},
		" [<c0105c93>] sys_open+0x12/0x34":                              {"sys_open", "", 0x12, 0x34, false},
		" [<ffffffff8805c93f>] :ext3:ext3_sync+0x12/0x34":               {"ext3_sync", "ext3", 0x12, 0x34, false},
		" foo.constprop.0+0x4c/0xf4":                                    {"foo.constprop.0", "", 0x4c, 0xf4, false},
		" read_dummy+0x48/0xa0 [hung_task_sem]":                         {"read_dummy", "hung_task_sem", 0x48, 0xa0, false},
		" read_dummy+0x48/0xa0 [ext4 8d3a0b1c]":                         {"read_dummy", "ext4", 0x48, 0xa0, false},
		" __switch_to+0x194/0x348 (T)":                                  {"__switch_to", "", 0x194, 0x348, false},
		"[c000000001234560] [c0000000000a1b2c] fn+0x1/0x2 (unreliable)": {"fn", "", 1, 2, true},
		"[<0>] do_wait+0x1/0x2":                                         {"do_wait", "", 1, 2, false},
		" vfs_read+0x1/0x2 fs/read_write.c:123 [inline]":                {"vfs_read", "", 1, 2, false},
	} {
		f, ok := parseFrame([]byte(in))
		got := fr{string(f.fn), string(f.mod), f.off, f.size, f.guess}
		if !ok || got != want {
			t.Errorf("parseFrame(%q) = %+v %v, want %+v", in, got, ok, want)
		}
	}
	for _, in := range []string{
		"EFLAGS: 00000246", " #0: ffff8880 (&x){++++}-{3:3}, at: foo+0x1/0x2", "initcall foo+0x0/0x12 returned 0", " +0x1/0x2", " foo+0x", " foo+0x1", " foo+0x1/", "  0x1+0x1/0x2",
	} {
		if f, ok := parseFrame([]byte(in)); ok {
			t.Errorf("%q was taken for a frame: %s", in, f.fn)
		}
	}
}

func TestOddFrames(t *testing.T) {
	for in, want := range map[string][]string{
		"[<c0012345>] (schedule) from [<c0056789>] (do_wait+0x12/0x34)":     {"schedule", "do_wait"},
		" schedule from do_wait+0x12/0x34":                                  {"schedule", "do_wait"},
		"<ffffffff80123456>{sys_wait4+12} <ffffffff80234567>{:ext3:foo+34}": {"sys_wait4", "foo"},
		" schedule (kernel/sched/core.c:123 kernel/sched/core.c:456)":       {"schedule"},
		" context_switch kernel/sched/core.c:123 [inline]":                  {"context_switch"},
		" some words of a message":                                          nil,
	} {
		var got []string
		for _, f := range parseOddFrames([]byte(in), nil) {
			got = append(got, string(f.fn))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -want +got:\n%s", in, diff)
		}
	}
}

func TestSyscallNames(t *testing.T) {
	for _, tc := range []struct {
		arch arch.Arch
		nr   int
		want string
	}{
		{"x86_64", 318, "getrandom"}, {"aarch64", 278, "getrandom"}, {"x86_64", 61, "wait4"}, {"aarch64", 260, "wait4"},
		{"x86_64", 313, "finit_module"}, {"aarch64", 273, "finit_module"}, {"x86_64", 462, "mseal"}, {"aarch64", 462, "mseal"},
		{"x86_64", -1, ""}, {"x86_64", 1 << 30, ""}, {"riscv64", 1, ""}, {"x86_64", 350, ""},
	} {
		if got := isa.Of(tc.arch).Syscall(tc.nr); got != tc.want {
			t.Errorf("SyscallName(%s, %d) = %q, want %q", tc.arch, tc.nr, got, tc.want)
		}
	}
	for fn, want := range map[string]string{
		"__x64_sys_getrandom": "getrandom", "__arm64_sys_wait4": "wait4", "__se_sys_futex": "futex", "ksys_read": "read", "SyS_wait4": "wait4",
		"sys_open": "open", "__do_sys_finit_module": "finit_module", "__x64_sys_newfstat": "fstat", "__ia32_sys_read": "read", "syscall_exit": "",
		"sys_ni_syscall": "", "schedule": "",
	} {
		got, _ := SyscallFromFrames([]model.Frame{{Func: "schedule", Reliable: true}, {Func: fn, Reliable: true}})
		if got != want {
			t.Errorf("SyscallFromFrames(%s) = %q, want %q", fn, got, want)
		}
	}
	// The entry point wins over what it calls.
	got, _ := SyscallFromFrames([]model.Frame{{Func: "ksys_read", Reliable: true}, {Func: "__x64_sys_pread64", Reliable: true}})
	if got != "pread64" {
		t.Errorf("entry point: %q", got)
	}
}
