package diagnose

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/dump"
	"github.com/unwedge/unwedge/images/agentproto"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const realHang = "../dump/testdata/real/6.1-amd64-getrandom.log"

// TestFacts: what the harness knows changes the answer.
func TestFacts(t *testing.T) {
	hang := read(t, realHang)
	idle := read(t, "testdata/idle-unknown.log")
	early := []byte("[    0.000000] Linux version 6.1.0-arm64 (gcc) #1 SMP\n")
	rng := &Scenario{Entropy: "virtio-rng", HasVirtioRNG: true}
	for _, tc := range []struct {
		name       string
		in         Input
		kind       Kind
		cause      Cause
		where      Where
		confidence Confidence
		remedy     string // a part of it
		note       string // a part of one of them
	}{
		{"no source", Input{Log: hang, Scenario: &Scenario{Entropy: "none"}}, KindHang, CauseEntropy, WhereKernel, Certain, "-device virtio-rng-pci", ""},
		{"device, driver not known", Input{Log: hang, Scenario: rng}, KindHang, CauseEntropy, WhereKernel, Certain, "put virtio_rng (and virtio_pci) into the initramfs", "prints nothing when it binds"},
		{"the command line and the agent's lines are no driver", Input{Log: append([]byte("[    0.000000] Linux version 6.1.0 (gcc)\n[    0.000000] Kernel command line: rd.driver.pre=virtio_rng\n[    1.000000] unwedge-agent: {\"v\":1,\"stage\":\"init\",\"hwrng\":\"virtio_rng.0\"}\nmodprobe: FATAL: Module virtio_rng not found\n"), hang[strings.Index(string(hang), "[    6."):]...), Scenario: rng}, KindHang, CauseEntropy, WhereKernel, Certain, "put virtio_rng (and virtio_pci) into the initramfs", "prints nothing when it binds"},
		{"device without driver, says the agent", Input{Log: hang, Scenario: rng, Agent: []agentproto.Report{{Stage: "init", HWRNG: "none"}}}, KindHang, CauseEntropy, WhereInitramfs, Certain, "put virtio_rng", ""},
		{"a fatal error of dracut with fips=1 is not the FIPS check", Input{Log: []byte("[    0.000000] Linux version 6.1.0 (gcc)\n[    0.000000] Command line: fips=1\n[    1.000000] Run /init as init process\n[    2.000000] dracut: FATAL: No or empty root= argument\n[    2.000001] dracut: Refusing to continue\n")}, KindHalted, CauseEmergency, WhereInitramfs, Certain, "rd.debug", ""},
		{"device with driver", Input{Log: hang, Scenario: rng, Agent: []agentproto.Report{{Stage: "init", HWRNG: "virtio_rng.0"}}}, KindHang, CauseEntropy, WhereUnknown, Certain, "entropy source", "look at the device's back end"},
		{"the agent found it ready", Input{Log: hang, Agent: []agentproto.Report{{Stage: "init", CRNG: true}}}, KindHang, CauseEntropy, WhereKernel, Likely, "", "found the generator ready"},
		{"seeded after the dump", Input{Log: append(append([]byte(nil), hang...), "[   99.000000] random: crng init done\n"...)}, KindHang, CauseEntropy, WhereKernel, Likely, "", "seeded after the dump"},
		{"a shutdown after the dump does not hide the hang", Input{Log: append(append([]byte(nil), hang...), "[   99.000000] reboot: Power down\n"...)}, KindHang, CauseEntropy, WhereKernel, Certain, "", ""},
		{"idle and silent", Input{Log: idle, Ending: EndingSilent}, KindHang, CauseUnknown, WhereUserspace, NotConfident, "", ""},
		{"an agent that says crng=false is no proof", Input{Log: idle, Ending: EndingSilent, Agent: []agentproto.Report{{Stage: "init"}}}, KindHang, CauseUnknown, WhereUserspace, NotConfident, "", ""},
		{"nothing at all", Input{}, KindEarlyDeath, CauseSilent, WhereUnknown, Likely, "", ""},
		{"silent, but the agent talks", Input{Agent: []agentproto.Report{{Stage: "userspace"}}, Scenario: &Scenario{Console: "ttyS0"}}, KindHang, CauseWrongConsole, WhereHarness, Certain, "console=ttyS0", ""},
		{"silent, but a CPU is in user space", Input{VCPUs: []VCPU{{User: true}}}, KindHang, CauseWrongConsole, WhereHarness, Likely, "", ""},
		{"firmware only, and the kernel idles", Input{Log: []byte("SeaBIOS (version 1)\n"), VCPUs: []VCPU{{Idle: true, Symbol: "default_idle"}}}, KindHang, CauseWrongConsole, WhereHarness, Likely, "", ""},
		{"reset", Input{Log: early, Ending: EndingReset}, KindReset, CauseTripleFault, WhereKernel, Likely, "-no-reboot", ""},
		{"reset after a panic is a panic", Input{Log: read(t, "testdata/no-init.log"), Ending: EndingReset}, KindPanic, CauseNoInit, WhereInitramfs, Certain, "", ""},
		{"spinning", Input{Log: append(early, "[    0.100000] x\n[    0.200000] y\n[    0.300000] z\n[    0.400000] smp: Brought up 1 node, 2 CPUs\n"...), Ending: EndingSilent, VCPUs: []VCPU{{Idle: true, Symbol: "cpu_do_idle"}, {Symbol: "spin_here.isra.0+0x5/0x6b", BusyFraction: 1}}}, KindLockup, CauseSpin, WhereKernel, Likely, "spin_here", ""},
		{"start-up sleeps", Input{Log: append(early, "[    0.100000] x\n[    0.200000] y\n[    0.300000] z\n[    0.400000] smp: Brought up 1 node, 1 CPU\n"...), Ending: EndingSilent, VCPUs: []VCPU{{Idle: true, Symbol: "cpu_do_idle"}}}, KindHang, CauseKernelWait, WhereKernel, Likely, "initcall_debug", ""},
		{"idle, but its console may be elsewhere", Input{Log: append(early, "[    0.100000] x\n[    0.200000] y\n[    0.300000] z\n[    0.400000] smp: Brought up 1 node, 1 CPU\n[    0.500000] printk: bootconsole [uart0] disabled\n"...), Ending: EndingSilent, VCPUs: []VCPU{{Idle: true, Symbol: "cpu_do_idle"}}}, KindHang, CauseUnknown, WhereUnknown, NotConfident, "", ""},
		{"idle, but /init was started", Input{Log: append(early, "[    0.100000] x\n[    0.200000] y\n[    0.300000] z\n[    0.400000] Run /init as init process\n"...), Ending: EndingSilent, VCPUs: []VCPU{{Idle: true, Symbol: "cpu_do_idle"}}}, KindHang, CauseUnknown, WhereUnknown, NotConfident, "", ""},
		{"a delay loop before the console is up", Input{Ending: EndingSilent, VCPUs: []VCPU{{Symbol: "arch_timer_read_cntvct_el0+0x8/0x10", BusyFraction: 1}}}, KindEarlyDeath, CauseSilent, WhereKernel, Likely, "earlycon", ""},
		{"a loop before the console is up", Input{Ending: EndingSilent, VCPUs: []VCPU{{Symbol: "__set_fixmap+0x8/0x10", BusyFraction: 1}}}, KindLockup, CauseSpin, WhereKernel, Likely, "__set_fixmap", ""},
		{"shutdown", Input{Log: idle[:120], Ending: EndingShutdown}, KindShutdown, CauseShutdown, WhereUserspace, Certain, "", ""},
		{"the level swallowed the dump", Input{Log: []byte("[    0.000000] Linux version 6.1 (gcc)\n[    1.000000] Run /init as init process\n[    2.000000] sysrq: Show State\n"), Ending: EndingSilent}, KindHang, CauseUnknown, WhereUnknown, NotConfident, "", "sysrq-9 first"},
		{"refused keys are told", Input{Log: idle, Attempts: []Attempt{{Key: "t", Route: "serial-break", Detail: "no answer"}}}, KindUnknown, CauseUnknown, WhereUserspace, NotConfident, "", "sysrq-t by serial-break gave nothing: no answer"},
		{"a torn dump lowers the confidence", Input{Log: hang[:strings.Index(string(hang), "kworker/0:0")]}, KindHang, CauseEntropy, WhereKernel, Likely, "", "torn"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := Diagnose(tc.in)
			if d.Kind != tc.kind || d.Cause != tc.cause || d.Where != tc.where || d.Confidence != tc.confidence {
				t.Errorf("%s/%s/%s/%s, want %s/%s/%s/%s\n%s\n%q", d.Kind, d.Cause, d.Where, d.Confidence, tc.kind, tc.cause, tc.where, tc.confidence, d.Summary, d.Notes)
			}
			if !strings.Contains(d.Remedy, tc.remedy) {
				t.Errorf("remedy %q, want %q in it", d.Remedy, tc.remedy)
			}
			if !strings.Contains(strings.Join(d.Notes, "\n"), tc.note) {
				t.Errorf("notes %q, want %q in them", d.Notes, tc.note)
			}
			check(t, d)
		})
	}
}

// check holds for every Diagnosis.
func check(t *testing.T, d Diagnosis) {
	t.Helper()
	for _, s := range []string{d.Title, d.Summary, string(d.Kind), string(d.Cause), string(d.Where), string(d.Confidence), d.Stage} {
		if s == "" || strings.ContainsAny(s, "\n\r") {
			t.Errorf("%q is empty or more than a line in %+v", s, d)
		}
	}
	if (d.Cause == CauseUnknown) != (d.Confidence == NotConfident) {
		t.Errorf("cause %s with confidence %s", d.Cause, d.Confidence)
	}
	if len(d.Chain) > maxLinks || len(d.Evidence) > 1<<12 {
		t.Errorf("%d links, %d pieces of evidence", len(d.Chain), len(d.Evidence))
	}
	if _, err := json.Marshal(d); err != nil {
		t.Error(err)
	}
}

// TestTheFoundingCase is the story this was made for, in its own words.
func TestTheFoundingCase(t *testing.T) {
	d := Explain(read(t, "testdata/4.17-fedora-fips-getrandom.log"))
	if want := "systemd (PID 1) sleeps in getrandom() → wait_for_random_bytes: the kernel's random number generator was never seeded"; d.Summary != want {
		t.Errorf("summary %q", d.Summary)
	}
	if d.Task == nil || d.Task.PID != 1 || d.Syscall != "getrandom" || d.Function != "wait_for_random_bytes" {
		t.Errorf("%+v", d)
	}
	refs := strings.Join(d.References, "\n")
	for _, id := range []string{"43838a23a05fbd13e47d750d3dfd77001536dd33", "50ee7529ec4500c88f8664560770a7a1b65db72b"} {
		if !strings.Contains(refs, id) {
			t.Errorf("%s is not cited in %q", id, refs)
		}
	}
}

// TestTitleIsStable: two boots of one cause have one title.
func TestTitleIsStable(t *testing.T) {
	a := Explain(read(t, realHang))
	log := strings.NewReplacer("pid:1     ", "pid:1     ", "[    6.", "[   16.", "0x34d/0x9e0", "0x44d/0x9e0").Replace(string(read(t, realHang)))
	if b := Explain([]byte(log)); a.Title != b.Title {
		t.Errorf("%q and %q", a.Title, b.Title)
	}
	c := Explain(read(t, "../dump/testdata/real/7.3-arm64-getrandom.log"))
	if a.Title != c.Title {
		t.Errorf("the same hang on two kernels: %q and %q", a.Title, c.Title)
	}
}

// TestEvidenceIsInTheLog: every line of evidence with an offset stands there.
func TestEvidenceIsInTheLog(t *testing.T) {
	for _, path := range []string{realHang, "testdata/6.15-udev-driver-probe.log", "testdata/dracut-root-device-missing.log", "testdata/soft-lockup-panic.log"} {
		log := read(t, path)
		n := 0
		for _, e := range Explain(log).Evidence {
			if e.Offset < 0 {
				continue
			}
			for _, l := range e.Lines {
				n++
				if !strings.Contains(string(dump.StripANSI([]byte(strings.ReplaceAll(string(log[e.Offset:]), "\n", " ")))), l) {
					t.Errorf("%s: %q is not at or after %d", path, l, e.Offset)
				}
			}
		}
		if n == 0 {
			t.Errorf("%s: no evidence", path)
		}
	}
}

// TestAmbiguityIsTold: two children that wait equally hard.
func TestAmbiguityIsTold(t *testing.T) {
	log := []byte("[    1.000000] sysrq: Show State\n" +
		"[    1.000001] task:init            state:S stack:0     pid:1     ppid:0      flags:0x00000000\n[    1.000002] Call Trace:\n[    1.000003]  do_wait+0x1/0x2\n" +
		"[    1.000004] task:a               state:D stack:0     pid:10    ppid:1      flags:0x00000000\n[    1.000005] Call Trace:\n[    1.000006]  io_schedule+0x1/0x2\n[    1.000006]  foo_read+0x1/0x2\n" +
		"[    1.000007] task:b               state:D stack:0     pid:11    ppid:1      flags:0x00000000\n[    1.000008] Call Trace:\n[    1.000009]  io_schedule+0x1/0x2\n[    1.000009]  bar_read+0x1/0x2\n" +
		"[    1.000010] Sched Debug Version: v0.11\n")
	d := Explain(log)
	if d.Cause != CauseIO || d.Confidence != Likely || !strings.Contains(strings.Join(d.Notes, "\n"), "1 other child waits as hard as a (PID 10)") {
		t.Errorf("%s %s %q", d.Cause, d.Confidence, d.Notes)
	}
}

// TestTwoDumps: what two dumps have in common is more than what one shows.
func TestTwoDumps(t *testing.T) {
	section := func(fn string) string {
		return "[    1.000000] sysrq: Show State\n" +
			"[    1.000001] task:init            state:D stack:0     pid:1     ppid:0      flags:0x00000000\n[    1.000002] Call Trace:\n[    1.000003]  io_schedule+0x1/0x2\n[    1.000004]  " + fn + "+0x1/0x2\n[    1.000005]  entry_SYSCALL_64_after_hwframe+0x1/0x2\n" +
			"[    1.000010] Sched Debug Version: v0.11\n"
	}
	for _, tc := range []struct {
		first, second, note string
		want                Confidence
	}{
		{"one_read", "one_read", "same stack", Certain},
		{"one_read", "two_read", "the boot moved", Likely},
	} {
		d := Explain([]byte(section(tc.first) + section(tc.second)))
		if d.Cause != CauseIO || d.Confidence != tc.want || !strings.Contains(strings.Join(d.Notes, "\n"), tc.note) {
			t.Errorf("%s, %s: %s %s %q", tc.first, tc.second, d.Cause, d.Confidence, d.Notes)
		}
	}
}

func TestDecodeExit(t *testing.T) {
	for text, want := range map[string]string{
		"exitcode=0x00007f00": "status 127", "exitcode=0x00007e00": "status 126", "exitcode=0x00000100": "status 1",
		"exitcode=0x0000000b": "SIGSEGV", "exitcode=0x0000008b": "SIGSEGV", "exitcode=0x00000004": "SIGILL", "exitcode=0x00000000": "status 0", "exitcode=0x00000022": "signal 34",
	} {
		code, ok := exitCode("Attempted to kill init! " + text)
		if !ok {
			t.Errorf("%s: not read", text)
			continue
		}
		if what, remedy := decodeExit(code); !strings.Contains(what, want) || remedy == "" {
			t.Errorf("%s: %q, want %q", text, what, want)
		}
	}
	for _, bad := range []string{"", "exitcode=0x", "exitcode=12"} {
		if _, ok := exitCode(bad); ok {
			t.Errorf("%q was read", bad)
		}
	}
}

// FuzzExplain: any log gives a whole Diagnosis.
func FuzzExplain(f *testing.F) {
	for _, dir := range []string{"testdata", "../dump/testdata/written", "../dump/testdata/real"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range entries {
			if !strings.HasSuffix(e.Name(), ".log") {
				continue
			}
			b, err := os.ReadFile(dir + "/" + e.Name())
			if err != nil {
				f.Fatal(err)
			}
			if i := strings.Index(string(b), "Show Blocked State"); i > 100 {
				b = b[i-100:]
			}
			f.Add(b[:min(len(b), 6000)])
		}
	}
	f.Fuzz(func(t *testing.T, log []byte) { check(t, Explain(log)) })
}

// Logs of real guests of 6.1, cut to what counts.
func TestAnInterruptedTaskIsNoDumper(t *testing.T) {
	const log = `[    0.000000] Linux version 6.1.0 (x)
[  106.160152] sysrq: Show State
[  106.160648] task:init            state:R  running task     stack:0     pid:1     ppid:0      flags:0x00000000
[  106.161147] Call trace:
[  106.161308]  dump_backtrace+0xe4/0x140
[  106.161652]  sched_show_task+0x170/0x1ac
[  106.162577]  show_state_filter+0x78/0xe0
[  106.163017]  handle_sysrq+0x34/0x44
[  106.163164]  __handle_irq_event_percpu+0x60/0x1e0
[  106.163264]  handle_irq_event+0x50/0x120
[  106.164738]  el0_interrupt+0x54/0x12c
[  106.165262]  el0t_64_irq+0x18c/0x190
[  106.165420] task:kthreadd        state:S stack:0     pid:2     ppid:0      flags:0x00000008
[  106.165605] Call trace:
[  106.166691]  schedule+0x58/0xf0
[  106.166796]  kthreadd+0x58/0xf0
`
	d := Diagnose(Input{Log: []byte(log), Ending: EndingSilent, VCPUs: []VCPU{{PC: 0xeaed4, User: true, BusyFraction: 1}}})
	if d.Cause != CauseSpin || d.Task == nil || d.Task.PID != 1 || d.Function != "" {
		t.Errorf("%s, task %+v, function %q: want PID 1, which spins in user space", d.Cause, d.Task, d.Function)
	}
}

func TestAnInitramfsWithoutInit(t *testing.T) {
	const log = `[    0.000000] Linux version 6.1.0 (x)
[    0.000000] Kernel command line: console=ttyS0 rdinit=/nonexistent
[    1.622536] Freeing initrd memory: 4356K
[    2.728469] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
`
	d := Explain([]byte(log))
	if d.Cause != CauseNoInit || !strings.Contains(d.Summary, "/nonexistent") {
		t.Errorf("%s: %s; want a missing /nonexistent", d.Cause, d.Summary)
	}
}
