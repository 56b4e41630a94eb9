package diagnose

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// parsed is a console log as Input takes it.
func parsed[T string | []byte](text T) *dump.Dump { return dump.Parse([]byte(text)) }

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
	rng := &Scenario{HasVirtioRNG: true}
	for _, tc := range []struct {
		name       string
		in         Input
		kind       result.Kind
		cause      result.Cause
		where      result.Where
		confidence result.Confidence
		remedy     string // a part of it
		note       string // a part of one of them
	}{
		{"no source", Input{Dump: parsed(hang), Scenario: &Scenario{}}, result.KindHang, result.CauseEntropy, result.WhereKernel, result.Certain, "-device virtio-rng-pci", ""},
		{"device, driver not known", Input{Dump: parsed(hang), Scenario: rng}, result.KindHang, result.CauseEntropy, result.WhereKernel, result.Certain, "put virtio_rng (and virtio_pci) into the initramfs", "prints nothing when it binds"},
		{"the command line and the agent's lines are no driver", Input{Dump: parsed(append([]byte("[    0.000000] Linux version 6.1.0 (gcc)\n[    0.000000] Kernel command line: rd.driver.pre=virtio_rng\n[    1.000000] unwedge-agent: {\"v\":1,\"stage\":\"init\",\"hwrng\":\"virtio_rng.0\"}\nmodprobe: FATAL: Module virtio_rng not found\n"), hang[strings.Index(string(hang), "[    6."):]...)), Scenario: rng}, result.KindHang, result.CauseEntropy, result.WhereKernel, result.Certain, "put virtio_rng (and virtio_pci) into the initramfs", "prints nothing when it binds"},
		{"device without driver, says the agent", Input{Dump: parsed(hang), Scenario: rng, Agent: []agentproto.Report{{Stage: "init", HWRNG: "none"}}}, result.KindHang, result.CauseEntropy, result.WhereInitramfs, result.Certain, "put virtio_rng", ""},
		{"a fatal error of dracut with fips=1 is not the FIPS check", Input{Dump: parsed("[    0.000000] Linux version 6.1.0 (gcc)\n[    0.000000] Command line: fips=1\n[    1.000000] Run /init as init process\n[    2.000000] dracut: FATAL: No or empty root= argument\n[    2.000001] dracut: Refusing to continue\n")}, result.KindHalted, result.CauseEmergency, result.WhereInitramfs, result.Certain, "rd.debug", ""},
		{"device with driver", Input{Dump: parsed(hang), Scenario: rng, Agent: []agentproto.Report{{Stage: "init", HWRNG: "virtio_rng.0"}}}, result.KindHang, result.CauseEntropy, result.WhereUnknown, result.Certain, "entropy source", "look at the device's back end"},
		{"the agent found it ready", Input{Dump: parsed(hang), Agent: []agentproto.Report{{Stage: "init", CRNG: true}}}, result.KindHang, result.CauseEntropy, result.WhereKernel, result.Likely, "", "found the generator ready"},
		{"seeded after the dump", Input{Dump: parsed(append(append([]byte(nil), hang...), "[   99.000000] random: crng init done\n"...))}, result.KindHang, result.CauseEntropy, result.WhereKernel, result.Likely, "", "seeded after the dump"},
		{"a shutdown after the dump does not hide the hang", Input{Dump: parsed(append(append([]byte(nil), hang...), "[   99.000000] reboot: Power down\n"...))}, result.KindHang, result.CauseEntropy, result.WhereKernel, result.Certain, "", ""},
		{"idle and silent", Input{Dump: parsed(idle), Ending: EndingSilent}, result.KindHang, result.CauseUnknown, result.WhereUserspace, result.Unknown, "", ""},
		{"an agent that says crng=false is no proof", Input{Dump: parsed(idle), Ending: EndingSilent, Agent: []agentproto.Report{{Stage: "init"}}}, result.KindHang, result.CauseUnknown, result.WhereUserspace, result.Unknown, "", ""},
		{"nothing at all", Input{}, result.KindEarlyDeath, result.CauseSilent, result.WhereUnknown, result.Likely, "", ""},
		{"silent, but the agent talks", Input{Agent: []agentproto.Report{{Stage: "userspace"}}, Scenario: &Scenario{Console: "ttyS0"}}, result.KindHang, result.CauseWrongConsole, result.WhereHarness, result.Certain, "console=ttyS0", ""},
		{"silent, but a CPU is in user space", Input{VCPUs: []VCPU{{User: true}}}, result.KindHang, result.CauseWrongConsole, result.WhereHarness, result.Likely, "", ""},
		{"firmware only, and the kernel idles", Input{Dump: parsed("SeaBIOS (version 1)\n"), VCPUs: []VCPU{{Idle: true, Symbol: "default_idle"}}}, result.KindHang, result.CauseUnknown, result.WhereUnknown, result.Unknown, "", ""},
		{"reset", Input{Dump: parsed(early), Ending: EndingReset}, result.KindReset, result.CauseTripleFault, result.WhereKernel, result.Likely, "-no-reboot", ""},
		{"init is there and gives ENOMEM", Input{Dump: parsed([]byte(toInit + "[    1.000000] Failed to execute /init (error -12)\n[    1.000100] Starting init: /bin/sh exists but couldn't execute it (error -2)\n[    1.100000] Kernel panic - not syncing: No working init found.  Try passing init= option to kernel.\n"))}, result.KindPanic, result.CauseInitBad, result.WhereUnknown, result.Possible, "known to be good", ""},
		{"reset after a panic is a panic", Input{Dump: parsed(read(t, "testdata/no-init.log")), Ending: EndingReset}, result.KindPanic, result.CauseNoInit, result.WhereInitramfs, result.Certain, "", ""},
		{"spinning", Input{Dump: parsed(append(early, "[    0.100000] x\n[    0.200000] y\n[    0.300000] z\n[    0.400000] smp: Brought up 1 node, 2 CPUs\n"...)), Ending: EndingSilent, VCPUs: []VCPU{{Idle: true, Symbol: "cpu_do_idle"}, {Symbol: "spin_here.isra.0+0x5/0x6b", BusyFraction: 1}}}, result.KindLockup, result.CauseSpin, result.WhereKernel, result.Likely, "spin_here", ""},
		{"start-up sleeps", Input{Dump: parsed(append(early, "[    0.100000] x\n[    0.200000] y\n[    0.300000] z\n[    0.400000] smp: Brought up 1 node, 1 CPU\n"...)), Ending: EndingSilent, VCPUs: []VCPU{{Idle: true, Symbol: "cpu_do_idle"}}}, result.KindHang, result.CauseKernelWait, result.WhereKernel, result.Likely, "initcall_debug", ""},
		{"idle, but its console may be elsewhere", Input{Dump: parsed(append(early, "[    0.100000] x\n[    0.200000] y\n[    0.300000] z\n[    0.400000] smp: Brought up 1 node, 1 CPU\n[    0.500000] printk: bootconsole [uart0] disabled\n"...)), Ending: EndingSilent, VCPUs: []VCPU{{Idle: true, Symbol: "cpu_do_idle"}}}, result.KindHang, result.CauseWrongConsole, result.WhereHarness, result.Likely, "keep_bootcon", ""},
		{"idle, but /init was started", Input{Dump: parsed(append(early, "[    0.100000] x\n[    0.200000] y\n[    0.300000] z\n[    0.400000] Run /init as init process\n"...)), Ending: EndingSilent, VCPUs: []VCPU{{Idle: true, Symbol: "cpu_do_idle"}}}, result.KindHang, result.CauseUnknown, result.WhereUnknown, result.Unknown, "", ""},
		{"a delay loop before the console is up", Input{Ending: EndingSilent, VCPUs: []VCPU{{Symbol: "arch_timer_read_cntvct_el0+0x8/0x10", BusyFraction: 1}}}, result.KindEarlyDeath, result.CauseSilent, result.WhereKernel, result.Likely, "earlycon", ""},
		{"a CPU without pages of the kernel's size", Input{Ending: EndingSilent, VCPUs: []VCPU{{Idle: true, Symbol: "__no_granule_support+0x24/0x28"}}}, result.KindEarlyDeath, result.CauseSilent, result.WhereHarness, result.Likely, "--cpu max", ""},
		{"a loop before the console is up", Input{Ending: EndingSilent, VCPUs: []VCPU{{Symbol: "__set_fixmap+0x8/0x10", BusyFraction: 1}}}, result.KindLockup, result.CauseSpin, result.WhereKernel, result.Likely, "__set_fixmap", ""},
		{"shutdown", Input{Dump: parsed(idle[:120]), Ending: EndingShutdown}, result.KindShutdown, result.CauseShutdown, result.WhereUserspace, result.Certain, "", ""},
		{"the level swallowed the dump", Input{Dump: parsed("[    0.000000] Linux version 6.1 (gcc)\n[    1.000000] Run /init as init process\n[    2.000000] sysrq: Show State\n"), Ending: EndingSilent}, result.KindHang, result.CauseUnknown, result.WhereUnknown, result.Unknown, "", "sysrq-9 first"},
		{"refused keys are noted", Input{Dump: parsed(idle), Attempts: []Attempt{{Key: "t", Route: "serial-break", Detail: "no answer"}}}, result.KindUnknown, result.CauseUnknown, result.WhereUserspace, result.Unknown, "", "sysrq-t by serial-break yielded nothing: no answer"},
		{"a torn dump lowers the confidence", Input{Dump: parsed(hang[:strings.Index(string(hang), "kworker/0:0")])}, result.KindHang, result.CauseEntropy, result.WhereKernel, result.Likely, "", "torn"},
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
func check(t *testing.T, d result.Diagnosis) {
	t.Helper()
	for _, s := range []string{d.Title, d.Summary, string(d.Kind), string(d.Cause), string(d.Where), string(d.Confidence), d.Stage} {
		if s == "" || strings.ContainsAny(s, "\n\r") {
			t.Errorf("%q is empty or more than a line in %+v", s, d)
		}
	}
	if (d.Cause == result.CauseUnknown) != (d.Confidence == result.Unknown) {
		t.Errorf("cause %s with confidence %s", d.Cause, d.Confidence)
	}
	if len(d.Chain) > maxLinks || len(d.Evidence) > 1<<12 {
		t.Errorf("%d links, %d pieces of evidence", len(d.Chain), len(d.Evidence))
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(strings.ReplaceAll(string(b), `\\ufffd`, ""), `\ufffd`) { // so json writes what is no UTF-8
		t.Errorf("invalid UTF-8 in %s", b)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	checkSafe(t, v)
}

// checkSafe looks at every string of a Diagnosis.
func checkSafe(t *testing.T, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		for _, x := range v {
			checkSafe(t, x)
		}
	case []any:
		for _, x := range v {
			checkSafe(t, x)
		}
	case string:
		if utf8.RuneCountInString(v) > maxText {
			t.Errorf("%d characters: %.80q", utf8.RuneCountInString(v), v)
		}
		for _, r := range v {
			if r != '\t' && !unicode.IsGraphic(r) {
				t.Errorf("%U in %.200q", r, v)
				break
			}
		}
	}
}

// TestHostileText: nothing that a guest prints gets through as it is, wherever
// it is put: names of tasks, functions, units and devices, panics, command
// lines, the agent's own reports.
func TestHostileText(t *testing.T) {
	for what, evil := range map[string]string{
		"escape": "\x1b]0;owned\x07\x1b[2J\x1b[31mred", "bidi": "\u202eesrever\u202c\u2066x\u2069", "nul": "a\x00b\x00", "no UTF-8": "\xff\xfe\x9b31m\xc3",
		"path": "../../../etc/cron.d/x", "zero width": "a\u200b\u200d\ufeffb", "bell": "\a\b\b\b", "long": strings.Repeat("x", 1<<20), "C1": "\u009b31m", "tags": "\U000e0041\U000e007f",
	} {
		short := evil[:min(len(evil), 14)]
		for where, log := range map[string]string{
			"task":     "[    1.000000] sysrq: Show State\n[    1.000001] task:init            state:S stack:0     pid:1     ppid:0      flags:0x00000000\n[    1.000002] Call Trace:\n[    1.000003]  do_wait+0x1/0x2\n[    1.000004] task:" + short + " state:D stack:0     pid:10    ppid:1      flags:0x00000000\n[    1.000005] Call Trace:\n[    1.000006]  io_schedule+0x1/0x2\n[    1.000006]  foo_read+0x1/0x2 [" + evil + "]\n[    1.000010] Sched Debug Version: v0.11\n",
			"panic":    "[    1.000000] Kernel panic - not syncing: " + evil + "\n[    1.000001] CPU: 0 PID: 1 Comm: " + evil + " Not tainted\n",
			"oops":     "[    1.000000] Internal error: " + evil + " [#1] SMP\n[    1.000001] pc : " + evil + "+0x1/0x2\n",
			"warn":     "[    1.000000] WARNING: " + evil + "\n",
			"kasan":    "[    1.000000] BUG: KASAN: " + evil + " in " + evil + "+0x1/0x2\n[    1.000001] Kernel panic - not syncing: x\n",
			"kcsan":    "[    1.000000] BUG: KCSAN: data-race in " + evil + " / " + evil + "\n",
			"hung":     "[    1.000000] INFO: task " + short + ":1 blocked for more than 120 seconds.\n",
			"soft":     "[    1.000000] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [" + evil + ":1]\n",
			"lockdep":  "[    1.000000] WARNING: possible recursive locking detected\n[    1.000001] x (&x), at: " + evil + "+0x1/0x2\n",
			"job":      "[    1.000000] Run /init as init process\nA start job is running for " + evil + " (5s / 1min)\n",
			"device":   "[    1.000000] Run /init as init process\nTimed out waiting for device " + evil + ".\nYou are in emergency mode\n",
			"root":     "[    0.000000] Kernel command line: root=" + evil + "\n[    1.000000] Waiting for root device " + evil + "...\n",
			"init":     "[    1.000000] Failed to execute " + evil + " (error -2)\n[    1.000000] Kernel panic - not syncing: No working init found.\n",
			"agent":    "[    1.000000] unwedge-agent: {\"v\":1,\"stage\":\"" + evil + "\",\"hwrng\":\"" + evil + "\"}\n",
			"last":     "[    1.000000] Run /init as init process\n" + evil + "\n",
			"dracut":   "[    1.000000] Run /init as init process\ndracut: FATAL: " + evil + "\ndracut: Refusing to continue\n",
			"reboot":   "[    1.000000] reboot: Restarting system with command '" + evil + "'\n",
			"initcall": "[    1.000000] calling  " + evil + "+0x0/0x10 @ 1\n",
		} {
			t.Run(what+" in "+where, func(t *testing.T) {
				check(t, Explain([]byte("[    0.000000] Linux version 6.1.0 (gcc)\n"+log)).Diagnosis)
				check(t, Diagnose(Input{Dump: parsed("[    0.000000] Linux version 6.1.0 (gcc)\n" + log), Ending: EndingSilent, Repeated: 1 << 20}))
			})
		}
		task := blocked(10, evil, "D", "io_schedule foo")
		task.Frames[1].Func, task.Frames[1].Module, task.State = evil, evil, evil
		check(t, Diagnose(Input{Ending: EndingSilent, Memory: []model.Task{task},
			VCPUs: []VCPU{{Symbol: evil, BusyFraction: 1}}, Agent: []agentproto.Report{{Stage: stage.Stage(evil), HWRNG: evil}},
			Owners: []model.Owner{{WaiterPID: 10, Lock: evil, OwnerComm: evil, OwnerPID: 11}}, Attempts: []Attempt{{Key: "t", Route: evil, Detail: evil}},
			Scenario: &Scenario{Cmdline: evil, Console: evil}}))
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
				if !strings.Contains(string(console.Strip([]byte(strings.ReplaceAll(string(log[e.Offset:]), "\n", " ")))), l) {
					t.Errorf("%s: %q is not at or after %d", path, l, e.Offset)
				}
			}
		}
		if n == 0 {
			t.Errorf("%s: no evidence", path)
		}
	}
}

// TestAmbiguityIsNoted: two children that wait equally hard.
func TestAmbiguityIsNoted(t *testing.T) {
	log := []byte("[    1.000000] sysrq: Show State\n" +
		"[    1.000001] task:init            state:S stack:0     pid:1     ppid:0      flags:0x00000000\n[    1.000002] Call Trace:\n[    1.000003]  do_wait+0x1/0x2\n" +
		"[    1.000004] task:a               state:D stack:0     pid:10    ppid:1      flags:0x00000000\n[    1.000005] Call Trace:\n[    1.000006]  io_schedule+0x1/0x2\n[    1.000006]  foo_read+0x1/0x2\n" +
		"[    1.000007] task:b               state:D stack:0     pid:11    ppid:1      flags:0x00000000\n[    1.000008] Call Trace:\n[    1.000009]  io_schedule+0x1/0x2\n[    1.000009]  bar_read+0x1/0x2\n" +
		"[    1.000010] Sched Debug Version: v0.11\n")
	d := Explain(log)
	if d.Cause != result.CauseIO || d.Confidence != result.Likely || !strings.Contains(strings.Join(d.Notes, "\n"), "1 other child is as likely to block the boot as a (PID 10)") {
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
		want                result.Confidence
	}{
		{"one_read", "one_read", "same stack", result.Certain},
		{"one_read", "two_read", "the boot moved", result.Likely},
	} {
		d := Explain([]byte(section(tc.first) + section(tc.second)))
		if d.Cause != result.CauseIO || d.Confidence != tc.want || !strings.Contains(strings.Join(d.Notes, "\n"), tc.note) {
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
	f.Fuzz(func(t *testing.T, log []byte) { check(t, Explain(log).Diagnosis) })
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
	d := Diagnose(Input{Dump: parsed(log), Ending: EndingSilent, VCPUs: []VCPU{{PC: 0xeaed4, User: true, BusyFraction: 1}}})
	if d.Cause != result.CauseSpin || d.Task == nil || d.Task.PID != 1 || d.Function != "" {
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
	if d.Cause != result.CauseNoInit || !strings.Contains(d.Summary, "/nonexistent") {
		t.Errorf("%s: %s; want a missing /nonexistent", d.Cause, d.Summary)
	}
}
