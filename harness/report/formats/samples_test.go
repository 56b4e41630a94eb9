package formats_test

import (
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/stage"
)

const sec = time.Second

var begun = time.Date(2026, 11, 5, 9, 30, 0, 0, time.UTC)

// nasty is what a hostile guest prints: markup, quotes, line ends of other formats,
// commands of CI systems, escape sequences and characters that hide text.
const nasty = "</title></style></script><script>alert(1)</script><img src=x onerror=alert(1)>" +
	"\"' onload=alert(1) `code``` | **bold** [link](javascript:alert(1)) @example #1 {{.Dir}} ]]>&amp;" +
	"\n::error title=x::y\nok 1 - fake # SKIP\n# EOF\nsection_start:1:x\r\x1b[31mred\x1b[0m \u202ereversed\u202c \x00\x9b\xff\ufeff" +
	"\nFrom: forged@example.com\n#regzbot introduced: 0123456789ab\n.\n-- \n"

func boot(name string, a arch.Arch, e scenarios.Entropy, i scenarios.Initramfs) *result.Result {
	return &result.Result{
		Schema: result.Schema, Version: "v1.2", Outcome: scenarios.Booted, Expected: true, Why: "the agent reports userspace", Confidence: result.Certain,
		Scenario: scenarios.Scenario{Name: strings.Join([]string{name, string(a), string(e), string(i)}, "/"), Arch: a, Entropy: e, Initramfs: i, Root: scenarios.NoRoot, MemoryMiB: 512, CPUs: 1},
		Kernel:   result.Kernel{Origin: "bzImage", Path: "bzImage", Format: "bzImage", Release: "6.12.40", BuildID: "0f" + strings.Repeat("3a", 19), SHA256: strings.Repeat("5c", 32), BootedAs: "as it is"},
		Stage:    stage.Userspace,
		Reports: []agentproto.Report{
			{V: 1, Stage: stage.Init, Uptime: 1.2, HWRNG: "none"},
			{V: 1, Stage: stage.Userspace, Uptime: 1.3, HWRNG: "none", CRNG: true, CRNGReadyAt: 0.9},
		},
		Host:    result.Host{QEMU: "/usr/bin/qemu-system-x86_64", QEMUVersion: "7.2.22", Accel: result.TCG, AccelWhy: "there is no /dev/kvm", Cmdline: "console=ttyS0 sysrq_always_enabled"},
		Times:   result.Times{Started: begun, FirstReport: 3 * sec, Verdict: 3200 * time.Millisecond, Wall: 4 * sec, Guest: 1.3},
		Console: result.Console{Bytes: 20480, Lines: 300},
		Dir:     "testdata/runs/none",
		Files:   map[string]string{"console": "console.log"},
	}
}

func hang(r *result.Result, d result.Diagnosis) *result.Result {
	r.Outcome, r.Expected, r.Why, r.Confidence = scenarios.Hung, false, "no progress for 10s with every vCPU idle", result.Likely
	r.Reports, r.Stage = r.Reports[:1], stage.Init
	r.Times = result.Times{Started: begun, FirstReport: 3 * sec, Verdict: 18 * sec, Stalled: 5 * sec, Diagnosed: 18200 * time.Millisecond, Wall: 19 * sec, Guest: 3.4}
	r.Stalls = []result.Stall{{
		At: 5 * sec, Noticed: 15 * sec, Why: r.Why, Confidence: result.Likely, Idle: true,
		Registers: []result.CPUSample{{PC: 0xffffffff81000000, Symbol: "native_safe_halt+0xb/0x10", Halted: true}},
		Attempts:  []result.Attempt{{Key: "t", Route: result.Break, At: begun.Add(16 * sec), Yield: result.NoAnswer, Layer: "guest"}, {Key: "t", Route: result.Keyboard, At: begun.Add(17 * sec), Yield: result.Captured}},
		Memory:    &result.Memory{Tasks: 44, Types: "btf", Took: 90 * time.Millisecond},
	}}
	r.Diagnosis = &d
	return r
}

func entropy() *result.Result {
	r := hang(boot("random", arch.X86_64, scenarios.None, scenarios.Tiny), result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseEntropy, Confidence: result.Certain, Where: result.WhereKernel, Stage: "userspace",
		Title: "hang: entropy starvation: init blocked in wait_for_random_bytes (getrandom)", Signature: "hang/entropy-starvation/wait_for_random_bytes",
		Summary: "init (PID 1) waits for seed (PID 57), which sleeps in getrandom() → wait_for_random_bytes: the kernel's random number generator was never seeded",
		Task:    &result.Blocked{Comm: "seed", PID: 57, State: "S"}, Function: "wait_for_random_bytes", Syscall: "getrandom",
		Chain: []result.Link{
			{Comm: "init", PID: 1, State: "S", Waits: "wait4", Syscall: "wait4", Func: "do_wait", Why: "waits for its child seed (PID 57)", Source: "memory"},
			{Comm: "seed", PID: 57, State: "S", Waits: "getrandom", Syscall: "getrandom", Func: "wait_for_random_bytes", Why: "the kernel's random number generator was never seeded", Object: "wait queue crng_init_wait", Source: "memory"},
		},
		Remedy: "give the guest an entropy source: add a virtio-rng device (-device virtio-rng-pci), or boot with random.trust_cpu=on",
		Evidence: []result.Evidence{
			{What: "the stack of seed (PID 57), state S", Source: "memory", Offset: -1, Lines: []string{"task:seed            state:S stack:0     pid:57", "Call Trace:", " __schedule+0x34d/0x9e0", " wait_for_random_bytes+0xb4/0xb9", " __x64_sys_getrandom+0xcc/0x100"}},
			{What: "the last line", Source: "console", Offset: 102, Lines: []string{"[    3.400000] random: seed: uninitialized urandom read"}},
		},
		Notes: []string{"sysrq-t by serial-break yielded nothing"}, References: []string{"commit 43838a23a05f (random: fix crng_ready() test)"},
	})
	r.Dir = "testdata/runs/entropy"
	return r
}

func locked() *result.Result {
	return hang(boot("tiny", arch.AArch64, scenarios.VirtioRNG, scenarios.Tiny), result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseUserLock, Confidence: result.Likely, Where: result.WhereInitramfs, Title: "hang: init waits in flock",
		Signature: "hang/user-lock/init-waits-in-flock", Summary: "init (PID 80) waits for a lock that init (PID 81) holds", Remedy: "find out why the holder does not release the lock", Stage: "userspace",
		Chain: []result.Link{
			{Comm: "init", PID: 1, State: "S", Waits: "child", Syscall: "waitid", Func: "do_wait", Why: "a child process"},
			{Comm: "init", PID: 80, State: "S", Waits: "file lock", Syscall: "flock", Func: "locks_lock_inode_wait", Why: "a file lock", Object: "flock /tmp/lock"},
			{Comm: "init", PID: 81, State: "S", Waits: "sleep", Why: "holds it, and sleeps"},
		},
	})
}

func oops() *result.Result {
	r := boot("tiny", arch.X86_64, scenarios.VirtioRNG, scenarios.Tiny)
	r.Outcome, r.Expected, r.Why = scenarios.Panicked, false, "the kernel says: Kernel panic - not syncing: Fatal exception"
	r.Reports, r.Stage, r.Times.FirstReport = nil, stage.Kernel, 0
	trace := []string{"[    1.805273] BUG: kernel NULL pointer dereference, address: 0000000000000010", "[    1.808082] RIP: 0010:demo_probe+0x21/0x90 [demo]", "[    1.808082] Call Trace:", "[    1.808082]  really_probe+0x1c0/0x730", "[    1.808082]  demo_init+0x14/0x1ee [demo]"}
	r.Diagnosis = &result.Diagnosis{
		Kind: result.KindPanic, Cause: result.CauseOops, Confidence: result.Certain, Where: result.WhereKernel, Title: "BUG: unable to handle kernel NULL pointer dereference in demo_probe",
		Signature: "panic/oops/demo_probe", Summary: "the kernel crashed in demo_probe", Function: "demo_probe", Remedy: "a kernel bug: report the trace", Stage: "initcalls",
		Evidence: []result.Evidence{{What: "the first oops", Source: "console", Offset: 66, Lines: trace}},
	}
	r.Findings = []result.Finding{
		{Title: r.Diagnosis.Title, Kind: result.FindingOops, Severity: result.Error, Function: "demo_probe", Count: 1, Time: 1.805273, Offset: 66, Lines: trace, New: true},
		{Title: "WARNING in demo_init", Kind: result.FindingWarning, Severity: result.Warning, Count: 3, Time: 1.7, Offset: 0, Known: &result.Known{Pattern: "demo_init", Reason: "being fixed", Link: "https://example.org/bug/1"}},
	}
	r.Dir = "testdata/runs/oops"
	return r
}

func unclean() *result.Result {
	r := boot("distro", arch.X86_64, scenarios.VirtioRNG, scenarios.DracutFIPS)
	r.Unclean, r.Stage = true, stage.MultiUser
	r.Findings = []result.Finding{{Title: "KASAN: use-after-free Read in demo_work", Kind: result.FindingKASAN, Severity: result.Warning, Count: 1, Time: 0.8, Lines: []string{"[    0.800000] BUG: KASAN: use-after-free in demo_work+0x10/0x20"}}}
	return r
}

func probed() *result.Result {
	r := entropy()
	r.Scenario.Name, r.Scenario.Initramfs, r.Dir = "seed-library/x86_64/none/dracut-fips", scenarios.DracutFIPS, "testdata/runs/none"
	r.Probes = []result.Probe{
		{Name: result.ProbeSyscall, Did: "make getrandom() of seed (PID 57) return ENOMEM", Outcome: result.ProbeWentOn, Why: "user space printed something", At: 20 * sec, Took: 2 * sec, After: sec / 2, Boot: scenarios.Booted, Stage: stage.Userspace, Said: "seed: getrandom: cannot allocate memory", Console: []string{"seed: getrandom: cannot allocate memory"}, Shows: "the boot waited for this one system call"},
		{Name: result.ProbeInput, Outcome: result.ProbeNoChange, Why: "it hangs as before", At: 23 * sec, Took: 10 * sec, Boot: scenarios.Hung},
	}
	return r
}

func unknown() *result.Result {
	return hang(boot("tiny", arch.AArch64, scenarios.None, scenarios.Tiny), result.Diagnosis{Kind: result.KindHang, Cause: result.CauseUnknown, Confidence: result.Unknown, Where: result.WhereUnknown, Title: "hang, cause unknown", Summary: "nothing is known"})
}

func misconfigured() *result.Result {
	r := boot("distro", arch.X86_64, scenarios.None, scenarios.Dracut)
	r.Outcome, r.Expected, r.Why = scenarios.Panicked, false, "the kernel says: VFS: Unable to mount root fs"
	r.Diagnosis = &result.Diagnosis{Kind: result.KindPanic, Cause: result.CauseRootDevice, Confidence: result.Certain, Where: result.WhereHarness, Title: "panic: root device missing", Signature: "panic/root-device-missing", Summary: "there is no disk", Remedy: "name the root device"}
	return r
}

func slow() *result.Result {
	r := boot("distro", arch.AArch64, scenarios.VirtioRNG, scenarios.Dracut)
	r.Outcome, r.Expected, r.Why = scenarios.Slow, false, "still making progress after 400 s"
	r.Times.Verdict = 400 * sec
	return r
}

// hostile has the nasty text wherever a Result may hold what a guest sent.
func hostile() *result.Result {
	r := entropy()
	r.Scenario.Name, r.Dir = "init-waits/x86_64/none/tiny", "testdata/runs/hostile"
	r.Why, r.Stage, r.Kernel.Release, r.Kernel.Origin = nasty, stage.Stage(nasty), nasty, nasty
	r.Kernel.Running = &result.Running{Release: nasty, BuildID: nasty}
	r.Reports[0].Stage, r.Reports[0].HWRNG, r.Reports[0].Error = stage.Stage(nasty), nasty, nasty
	d := r.Diagnosis
	d.Title, d.Summary, d.Remedy, d.Signature, d.Function, d.Syscall = nasty, nasty, nasty, nasty, nasty, nasty
	d.Cause, d.Where = result.Cause(nasty), result.Where(nasty)
	d.Task = &result.Blocked{Comm: nasty, State: nasty}
	d.Chain = []result.Link{{Comm: nasty, State: nasty, Waits: nasty, Func: nasty, Syscall: nasty, Why: nasty, Object: nasty, Source: nasty}, {Comm: nasty}}
	d.Evidence = []result.Evidence{{What: nasty, Source: nasty, Lines: []string{nasty}}}
	d.Notes, d.References = []string{nasty}, []string{nasty}
	r.Findings = []result.Finding{{Title: nasty, Kind: result.FindingKind(nasty), Severity: result.Severity(nasty), Lines: []string{nasty}, Known: &result.Known{Reason: nasty, Link: "javascript:alert(1)"}}}
	r.Probes = []result.Probe{{Name: result.ProbeName(nasty), Did: nasty, Outcome: result.ProbeOutcome(nasty), Why: nasty, Said: nasty, Shows: nasty, Console: []string{nasty}}}
	r.Notes = []string{nasty}
	return r
}

func bisected() *bisect.Report {
	cand := func(n int) bisect.Candidate {
		return bisect.Candidate{ID: strings.Repeat(string("0123456789abcdef"[n]), 40), Name: strings.Repeat(string("0123456789abcdef"[n]), 12), About: "demo: change number " + string("0123456789abcdef"[n])}
	}
	bad := bisect.Boot{Outcome: "hung", Title: "hang: init waits in flock", Signature: "hang/user-lock/init-waits-in-flock", Cause: "user-lock", Sure: "likely", Where: "kernel", What: "init waits for a lock", Took: 20 * sec, Started: begun, Dir: "runs/bad"}
	good := bisect.Boot{Outcome: "booted", Expected: true, Stage: "userspace", Took: 4 * sec, Started: begun, Dir: "runs/good"}
	first, before := cand(6), cand(5)
	step := func(n int, verdict string, b *bisect.Boot, left int, best float64) bisect.Step {
		return bisect.Step{Candidate: cand(n), Verdict: verdict, Why: verdict, Boot: b, Left: left, Best: best, Tied: left, Likely: []bisect.Likely{{Candidate: cand(6), Probability: best}}}
	}
	return &bisect.Report{
		Schema: bisect.Schema, Dir: "bisect/1", Candidates: 14, First: &first, LastGood: &before, Confidence: 0.991, IfSteady: 0.9999, Rate: 0.98, RateLow: 0.7, RateHigh: 1,
		Question: bisect.Question{Source: "https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git", Good: []string{cand(1).ID}, Bad: cand(15).ID},
		Failure:  bad, BadBoot: &bad, GoodBoot: &good, Said: "[    1.2] demo: begins", WentOn: "[    1.3] demo: ends",
		Commit:  &bisect.Commit{Author: "Example Author <author@example.org>", Date: "2026-10-01T12:00:00+02:00", After: "v6.12-rc3-17-g666666666666", Fixes: `Fixes: 666666666666 ("demo: change number 6")`, Changes: " drivers/demo/demo.c | 4 ++--\n 1 file changed, 2 insertions(+), 2 deletions(-)"},
		Tallies: []bisect.Tally{{Candidate: cand(1), End: true, Good: 1}, {Candidate: before, Good: 2, Probability: 0.004}, {Candidate: first, Bad: 2, HasFirst: true, Probability: 0.991}, {Candidate: cand(15), Bad: 1, HasFirst: true, Probability: 0.001}},
		Steps:   []bisect.Step{step(15, "bad", &bad, 14, 0.07), step(8, "bad", &bad, 7, 0.14), step(4, "good", &good, 4, 0.25), step(7, "skip", nil, 4, 0.25), step(6, "bad", &bad, 2, 0.5), step(5, "good", &good, 1, 0.991)},
		Boots:   5, Builds: 6, Broken: 1, Wall: 1800 * sec,
	}
}

// all is one summary of everything.
func all() summary.Summary {
	var cells []summary.Cell
	for _, r := range []*result.Result{boot("tiny", arch.X86_64, scenarios.None, scenarios.Tiny), unclean(), entropy(), locked(), oops(), unknown(), slow(), misconfigured(), probed(), hostile()} {
		cells = append(cells, summary.OfResult(r, r.Dir))
	}
	missing := boot("distro", arch.AArch64, scenarios.None, scenarios.DracutFIPS)
	cells = append(cells, summary.Cell{Status: summary.Skip, Scenario: missing.Scenario, Release: missing.Kernel.Release, Why: "the kernel lacks CONFIG_CRYPTO_FIPS"})
	broken := boot("distro", arch.AArch64, scenarios.VirtioRNG, scenarios.DracutFIPS)
	cells = append(cells, summary.Cell{Status: summary.Error, Scenario: broken.Scenario, Release: broken.Kernel.Release, Why: "start QEMU: exit status 1"})
	return summary.Of(append(cells, summary.OfBisection(bisected())))
}
