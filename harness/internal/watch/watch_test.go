package watch_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/watch"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// boot plays a boot on a clock of its own.
type boot struct {
	*watch.Tracker
	at time.Time
}

func newBoot() *boot {
	start := time.Unix(1000, 0)
	return &boot{watch.New(watch.Scale(result.Reference{Unit: time.Second}), watch.Toward(scenarios.Sign{Kind: scenarios.ByStage, Value: string(stage.Userspace)}), start), start}
}

// pass lets time go by with the vCPUs at the given share, until the decision is
// no longer Running, for d at the most.
func (b *boot) pass(d time.Duration, share float64) watch.Decision {
	const tick = 250 * time.Millisecond
	for range int(d / tick) {
		b.at = b.at.Add(tick)
		b.VCPUs(b.at, []float64{0, share})
		if dec := b.Decide(b.at); dec.State != watch.Running {
			return dec
		}
	}
	return b.Decide(b.at)
}

func (b *boot) line(format string, args ...any) { b.Line(b.at, fmt.Appendf(nil, format, args...)) }

func TestProgressNeverGoesBack(t *testing.T) {
	b := newBoot()
	before := b.at
	b.at = b.at.Add(time.Second)
	b.Report(b.at, agentproto.Report{Stage: stage.Init})
	b.Line(before, []byte("a line that was read before the report, and is told behind it"))
	if !b.Progress().Equal(b.at) {
		t.Errorf("progress at %s, want %s", b.Progress(), b.at)
	}
}

func TestARepeatedReportIsNoProgress(t *testing.T) {
	b := newBoot()
	b.line("Linux version")
	b.Report(b.at, agentproto.Report{Stage: stage.Init})
	at := b.at
	b.pass(time.Second, 0)
	b.Report(b.at, agentproto.Report{Stage: stage.Init, Uptime: 2})
	if !b.Progress().Equal(at) {
		t.Errorf("progress at %s by a report that was there before", b.Progress())
	}
	b.Report(b.at, agentproto.Report{Stage: stage.System})
	if !b.Progress().Equal(b.at) {
		t.Errorf("no progress by a new stage")
	}
}

func TestBootedByTheAgentsWord(t *testing.T) {
	b := newBoot()
	b.line("[    0.000000] Linux version 6.1.0")
	b.Report(b.at, agentproto.Report{Stage: stage.Init})
	if d := b.Decide(b.at); d.State != watch.Running {
		t.Fatalf("after init: %+v", d)
	}
	b.Report(b.at, agentproto.Report{Stage: stage.Userspace})
	if d := b.Decide(b.at); d.State != watch.Over || d.Outcome != scenarios.Booted {
		t.Errorf("after userspace: %+v", d)
	}
}

func TestIdleGuestIsSuspectSoonBusyGuestLate(t *testing.T) {
	idle, busy := newBoot(), newBoot()
	idle.line("hello")
	busy.line("hello")
	if d := idle.pass(time.Hour, 0.03); d.State != watch.Suspect || !d.Idle {
		t.Errorf("idle: %+v", d)
	}
	d := busy.pass(time.Hour, 1)
	for ; d.Early; d = busy.pass(time.Hour, 1) {
		busy.Looked(busy.at, false)
	}
	if d.State != watch.Suspect || d.Idle {
		t.Errorf("busy: %+v", d)
	}
	if !idle.at.Before(busy.at) {
		t.Errorf("idle was noticed at %v, busy at %v: want idle first", idle.at, busy.at)
	}
}

// A busy guest is looked at early, and again and again.
func TestBusyGuestIsLookedAtEarly(t *testing.T) {
	b := newBoot()
	b.line("hello")
	from := b.at
	for range 3 {
		d := b.pass(time.Hour, 1)
		if d.State != watch.Suspect || !d.Early || d.Idle {
			t.Fatalf("%+v, want an early look", d)
		}
		if got, want := b.at.Sub(from), watch.Scale(result.Reference{Unit: time.Second}).Look; got != want {
			t.Errorf("looked at after %s, want %s", got, want)
		}
		b.Looked(b.at, false)
		from = b.at
	}
	// One that prints nothing at all is looked at early, too.
	b = newBoot()
	if d := b.pass(time.Hour, 1); !d.Early {
		t.Errorf("silent and busy: %+v", d)
	}
	// With no look ever having found it computing, patience ends as before.
	for range 20 {
		b.Looked(b.at, false)
		if d := b.pass(time.Hour, 1); d.State == watch.Suspect && !d.Early {
			return
		}
	}
	t.Error("a silent busy guest was never suspected")
}

// On a slow host the threads of an idle guest look busy; its registers say better.
func TestBusyThreadOfAnIdleGuest(t *testing.T) {
	b := newBoot()
	b.line("hello")
	limits, from := watch.Scale(result.Reference{Unit: time.Second}), b.at
	for i, rests := range []bool{true, false, true, true} {
		d := b.pass(time.Hour, 1)
		if d.State != watch.Suspect || !d.Early || d.Idle {
			t.Fatalf("look %d: %+v, want an early look", i+1, d)
		}
		b.Looked(b.at, rests)
	}
	if d := b.Decide(b.at); d.State != watch.Suspect || d.Early || !d.Idle || d.Confidence != result.Likely {
		t.Errorf("at rest twice in a row: %+v", d)
	}
	if b.at.Sub(from) >= limits.Busy {
		t.Errorf("noticed after %s, no earlier than a busy one", b.at.Sub(from))
	}
	b.line("it goes on")
	if d := b.pass(limits.Look+time.Second, 1); !d.Early {
		t.Errorf("after progress: %+v, want an early look", d)
	}
}

// What no one measured must not count as idle.
func TestWithoutVCPUSamplesNothingIsIdle(t *testing.T) {
	b := newBoot()
	b.line("hello")
	b.at = b.at.Add(10 * time.Second)
	if d := b.Decide(b.at); d.State != watch.Running {
		t.Errorf("%+v, want Running: nobody looked at the vCPUs", d)
	}
}

func TestSlowBootWithProgressIsNotHung(t *testing.T) {
	b := newBoot()
	words := []string{"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"}
	for i := 0; ; i++ {
		b.line("%s %s %s started", words[i%10], words[i/10%10], words[i/100%10])
		d := b.pass(2*time.Second, 1)
		if d.State == watch.Over {
			if d.Outcome != scenarios.Slow {
				t.Errorf("%+v, want slow", d)
			}
			return
		}
		if d.State == watch.Suspect {
			t.Fatalf("suspected after %d lines: %+v", i, d)
		}
	}
}

// Lines that only count are no progress, or a flood would hide a hang.
func TestCountingLinesAreNoProgress(t *testing.T) {
	b := newBoot()
	b.line("start")
	for i := range 1000 {
		b.line("[%5d.%06d] [ %s ] A start job is running for disk (%ds / no limit) 0x%x", i, i, []string{"*  ", "** ", "***"}[i%3], i, i*77)
		if d := b.pass(time.Second, 0.05); d.State == watch.Suspect {
			return
		}
	}
	t.Error("a counting status line was taken for progress for 1000 s")
}

// A kernel that repeats a complaint with its trace is noticed within ten seconds of
// the first repetition; a list of some seconds is none.
func TestFloodIsNoticed(t *testing.T) {
	b := newBoot()
	for i := range 40 {
		b.line("[    1.%06d] bad: scheduling from the idle thread!", i)
		for _, f := range []string{"dump_backtrace", "schedule", "msleep", "do_idle"} {
			b.line("[    1.%06d]  %s+0x%x/0x%x", i, f, i, i)
		}
		if d := b.pass(250*time.Millisecond, 1); d.Early {
			b.Looked(b.at, false) // its registers change
		} else if d.State == watch.Suspect {
			if !strings.Contains(d.Why, "bad: scheduling") || d.Confidence != result.Likely {
				t.Errorf("%+v", d)
			}
			return
		}
	}
	t.Error("not noticed in 10 s")
}

func TestListIsNoFlood(t *testing.T) {
	b := newBoot()
	for i := range 40 {
		if i == 16 {
			b.line("[    5.000000] the next thing")
		}
		for k := range 50 {
			b.line("[    1.%06d] pci 0000:00:%02x.0: BAR %d: assigned", i, k, k)
		}
		if d := b.pass(250*time.Millisecond, 1); d.Early {
			b.Looked(b.at, false) // its registers change
		} else if d.State == watch.Suspect && i < 34 {
			t.Fatalf("suspected after %d rounds: %+v", i, d)
		}
	}
}

// systemd colours and shortens what it waits for, so each line looks new.
func TestSystemdsWaitingIsNoProgress(t *testing.T) {
	b := newBoot()
	b.line("Reached target")
	for i := range 12 {
		b.line("\x1bM\x1b[K[\x1b[0;31m*%*s\x1b[0m] Job dev-disk%s…ice/start running (%ds / no limit)", i, "", "-by-label"[:i%9], i)
		if d := b.pass(500*time.Millisecond, 0.05); d.State == watch.Suspect {
			return
		}
	}
	t.Error("systemd's status lines were taken for progress")
}

func TestSilenceFromTheStart(t *testing.T) {
	b := newBoot()
	if d := b.pass(time.Hour, 1); d.State != watch.Suspect || b.at.Sub(time.Unix(1000, 0)) > 10*time.Second {
		t.Errorf("%+v after %s", d, b.at.Sub(time.Unix(1000, 0)))
	}
}

func TestPanicWaitsForItsText(t *testing.T) {
	b := newBoot()
	b.line("[    1.0] Kernel panic - not syncing: VFS: Unable to mount root fs")
	if d := b.Decide(b.at); d.State != watch.Running {
		t.Fatalf("at once: %+v", d)
	}
	b.pass(250*time.Millisecond, 1)
	b.line("[    1.1] Call Trace:")
	if d := b.Decide(b.at.Add(300 * time.Millisecond)); d.State != watch.Running {
		t.Fatalf("while it prints: %+v", d)
	}
	if d := b.pass(5*time.Second, 1); d.State != watch.Over || d.Outcome != scenarios.Panicked {
		t.Errorf("%+v, want panicked", d)
	}
}

func TestSecondResetIsALoop(t *testing.T) {
	b := newBoot()
	b.line("Linux version 6.1")
	b.Reset(b.at)
	if d := b.Decide(b.at); d.State != watch.Running {
		t.Fatalf("first reset: %+v", d)
	}
	b.pass(3*time.Second, 1)
	b.line("Linux version 6.1")
	b.Reset(b.at)
	if d := b.Decide(b.at); d.Outcome != scenarios.Rebooting {
		t.Errorf("second reset: %+v", d)
	}
}

func TestTheFirmwaresOwnResetIsNoLoop(t *testing.T) {
	b := newBoot()
	b.line("Linux version 6.1")
	b.Reset(b.at)
	b.Reset(b.at.Add(60 * time.Millisecond))
	if d := b.Decide(b.at); d.State != watch.Running || b.Resets() != 1 {
		t.Errorf("%+v after %d resets, want a boot that runs after 1", d, b.Resets())
	}
}

func TestAFastLoopIsALoop(t *testing.T) {
	b := newBoot()
	for range 12 {
		b.at = b.at.Add(100 * time.Millisecond)
		b.Reset(b.at)
	}
	if d := b.Decide(b.at); d.Outcome != scenarios.Rebooting {
		t.Errorf("%+v, want a reboot loop", d)
	}
}

func TestPowerOffBeforeTheStageIsStopped(t *testing.T) {
	b := newBoot()
	b.line("hello")
	b.Shutdown(b.at, "guest-shutdown")
	if d := b.Decide(b.at); d.Outcome != scenarios.Stopped {
		t.Errorf("%+v", d)
	}
}

func TestTheKernelsDetectorSpeedsUpSuspicion(t *testing.T) {
	b := newBoot()
	b.line("hello")
	b.pass(4*time.Second, 1)
	b.line("[   30.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:1]")
	if d := b.Decide(b.at); d.State != watch.Suspect {
		t.Errorf("%+v, want suspect: the kernel itself says so", d)
	}
}

func TestWhatTheCapturePrintsIsNoProgress(t *testing.T) {
	b := newBoot()
	b.line("hello")
	d := b.pass(time.Hour, 0)
	b.Capturing(true)
	b.line("[   12.0] sysrq: Show State")
	b.line("[   12.0] task:init state:S")
	b.Capturing(false)
	if !b.Progress().Equal(d.Since) {
		t.Error("the dump counted as progress")
	}
	b.Report(b.at, agentproto.Report{Stage: stage.Init})
	if b.Progress().Equal(d.Since) {
		t.Error("a report of the agent did not count as progress")
	}
}

func TestSilentWorkIsSlowAtTheDeadlineNotHung(t *testing.T) {
	b := newBoot()
	b.line("hello")
	for {
		d := b.pass(time.Hour, 1)
		if d.State == watch.Over {
			if d.Outcome != scenarios.Slow {
				t.Errorf("%+v, want slow", d)
			}
			return
		}
		b.Works(b.at)
		if d.Late {
			continue
		}
		b.Withdraw()
	}
}

func TestWithdrawnSuspicionGivesMoreTime(t *testing.T) {
	b := newBoot()
	b.line("hello")
	first := b.pass(time.Hour, 0)
	quiet := b.at.Sub(first.Since)
	b.Withdraw()
	b.line("world")
	second := b.pass(time.Hour, 0)
	if got := b.at.Sub(second.Since); got < quiet*3/2 {
		t.Errorf("suspected again after %s, the first time after %s", got, quiet)
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte("[    1.0] Kernel panic - not syncing: \x1b[31m"))
	f.Fuzz(func(t *testing.T, line []byte) {
		b := newBoot()
		b.Line(b.at, line)
		for _, c := range b.pass(time.Minute, 0).Why {
			if c < ' ' || c == 0x7f {
				t.Errorf("control character %q in the sentence", c)
			}
		}
	})
}

// Silence alone never makes a verdict sure; the guest's own word does.
func TestConfidence(t *testing.T) {
	said := newBoot()
	said.line("[    1.0] Kernel panic - not syncing: no")
	idle, busy, mute := newBoot(), newBoot(), newBoot()
	idle.line("hello")
	busy.line("hello")
	computing := busy.pass(time.Hour, 1)
	if computing.Confidence != result.Likely {
		t.Errorf("registers that do not change: %+v", computing)
	}
	for computing.Early {
		busy.Looked(busy.at, false)
		computing = busy.pass(time.Hour, 1)
	}
	for name, tt := range map[string]struct {
		got  watch.Decision
		want result.Confidence
	}{
		"panic": {said.pass(time.Hour, 0), result.Certain}, "idle": {idle.pass(time.Hour, 0), result.Likely},
		"computing": {computing, result.Possible}, "mute": {mute.pass(time.Hour, 0), result.Possible},
		"going on": {newBoot().pass(time.Second, 1), ""},
	} {
		if tt.got.Confidence != tt.want {
			t.Errorf("%s: %+v, want %q", name, tt.got, tt.want)
		}
	}
}

// A check that tells how far it is works, even where its lines are alike.
func TestRisingPercentageIsProgress(t *testing.T) {
	b := newBoot()
	b.line("fsck: 0.0%% complete")
	for i := range 100 {
		b.pass(4*time.Second, 0)
		if b.line("fsck: %d.0%% complete", i+1); !b.Progress().Equal(b.at) {
			t.Fatalf("%d %% is no progress", i+1)
		}
	}
	for _, line := range []string{"fsck: 100.0% complete", "fsck: 3.0% complete", "fsck: 100.01% complete", "fsck: 101% complete"} {
		b.pass(time.Second, 0)
		if b.line("%s", line); b.Progress().Equal(b.at) {
			t.Errorf("%q is progress: it begins anew or has no end", line)
		}
	}
}

func TestSystemdsOwnLimit(t *testing.T) {
	for line, want := range map[string]time.Duration{
		"[  *** ] Job pause.service/start running (13s / 33s)":                         20 * time.Second,
		"[***   ] A start job is running for Wait (1min 2s / 1min 30s)":                28 * time.Second,
		"[***   ] (1 of 2) A start job is running for Wait (1h 59min 59s / 2h)":        time.Second,
		"[***   ] A start job is running for Wait (40s / 33s)":                         0,
		"[***   ] A start job is running for Wait (13s / no limit)":                    0,
		"[***   ] A start job is running for Wait (99999999999999s / 99999999999999s)": 0,
		"Finished a thing (13s / 33s)":                                                 0,
	} {
		b := newBoot()
		b.line("%s", line)
		if got := b.JobDue(b.at); got != want {
			t.Errorf("%q is due in %s, want %s", line, got, want)
		}
		b.at = b.at.Add(time.Minute)
		if got := b.JobDue(b.at); got != 0 {
			t.Errorf("%q still counts a minute later: %s", line, got)
		}
	}
}

// What follows a detector's line is its report, however new its lines are; the
// boot that goes on later does so.
func TestADetectorsTraceIsNoProgress(t *testing.T) {
	b := newBoot()
	b.line("hello")
	from := b.at
	b.pass(2*time.Second, 0)
	b.line("rcu: INFO: rcu_sched self-detected stall on CPU")
	for _, f := range []string{"Call Trace:", " <IRQ>", " show_stack+0x1/0x2", " trigger_single_cpu_backtrace+0x3/0x4"} {
		if b.line("%s", f); !b.Progress().Equal(from) {
			t.Fatalf("%q is progress", f)
		}
	}
	if d := b.pass(time.Hour, 0); d.State != watch.Suspect || b.at.Sub(from) > 5*time.Second {
		t.Errorf("%+v %s after the last progress", d, b.at.Sub(from))
	}
	b = newBoot()
	b.line("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [a:1]")
	b.pass(3*time.Second, 0)
	if b.line("it goes on"); !b.Progress().Equal(b.at) {
		t.Error("a line long after the report is no progress")
	}
}

// A fork bomb has the OOM killer report for ever, each time by another way to it;
// one kill alone does not make a boot suspect.
func TestTheOOMKillersReportIsNoProgress(t *testing.T) {
	b := newBoot()
	b.line("hello")
	from := b.at
	for i := range 20 {
		b.at = b.at.Add(time.Second)
		b.line("[    6.222848] init invoked oom-killer: gfp_mask=0x400dc0(GFP_KERNEL_ACCOUNT|__GFP_ZERO), order=0, oom_score_adj=0")
		b.line("[    6.224653]  way_number_%c+0x67f/0xe70", 'a'+i)
		b.line("[    6.615079] Out of memory: Killed process 1771 (init) total-vm:1227824kB, anon-rss:748kB, of kind %c", 'a'+i)
	}
	if !b.Progress().Equal(from) {
		t.Errorf("progress %s after the last line", b.Progress().Sub(from))
	}
	b.at = b.at.Add(3 * time.Second)
	if b.line("the next program starts"); !b.Progress().Equal(b.at) {
		t.Error("a line long after the report is no progress")
	}
}

// A program may show the log of an earlier boot, or say what it likes.
func TestOnlyTheKernelSaysThatItPanics(t *testing.T) {
	for line, want := range map[string]scenarios.Outcome{
		"Kernel panic - not syncing: an old log":                                          "",
		"last boot ended with: Kernel panic - not syncing: x":                             "",
		"reboot: Power down":                                                              "",
		"[    2.000000] init[1]: Kernel panic - not syncing: x":                           "",
		"[    2.000000] Kernel panic - not syncing: yes":                                  scenarios.Panicked,
		"[    2.000000][    T1] Kernel panic - not syncing: yes":                          scenarios.Panicked,
		"[    2.000000] ---[ end Kernel panic - not syncing: yes ]---":                    scenarios.Panicked,
		"Starting a service...[    2.000000] Kernel panic - not syncing: yes":             scenarios.Panicked,
		"says Kernel panic - not syncing: no[    2.000000] Kernel panic - not syncing: x": scenarios.Panicked,
		"<0>[    2.000000] reboot: System halted":                                         scenarios.Stopped,
	} {
		b := newBoot()
		b.line("[    0.000000] Linux version 6.1.0")
		b.line("%s", line)
		if d := b.pass(2*time.Second, 1); d.Outcome != want {
			t.Errorf("%q: %+v, want %q", line, d, want)
		}
	}
	b := newBoot() // a kernel that stamps nothing is believed, whatever else has stamps
	b.line("Linux version 6.1.0")
	b.line("[    12.345678] (II) a server")
	b.line("Kernel panic - not syncing: yes")
	if d := b.pass(2*time.Second, 1); d.Outcome != scenarios.Panicked {
		t.Errorf("without stamps: %+v", d)
	}
}

// A guest that somebody has paused is not judged by the time that it stood still.
func TestStood(t *testing.T) {
	start := time.Now()
	l := watch.Scale(result.Reference{})
	tr := watch.New(l, watch.Goal{}, start)
	tr.Line(start, []byte("a line"))
	tr.VCPUs(start.Add(time.Second), []float64{0})
	tr.Stands()
	paused := start.Add(2 * l.Deadline)
	if d := tr.Decide(paused); d.State != watch.Running {
		t.Errorf("while it stands still: %+v", d)
	}
	tr.Stood(paused.Sub(start.Add(time.Second)))
	if d := tr.Decide(paused.Add(time.Second)); d.State != watch.Running {
		t.Errorf("just after: %+v", d)
	}
	if d := tr.Decide(paused.Add(l.Busy + time.Second)); d.State != watch.Suspect || d.Late {
		t.Errorf("long after: %+v", d)
	}
}

// What memory shows is progress when it is new.
func TestSaw(t *testing.T) {
	start := time.Now()
	tr := watch.New(watch.Scale(result.Reference{}), watch.Goal{}, start)
	for i, what := range []string{"init", "init", "udevd", "kworker/0:1", "kworker/0:2"} {
		tr.Saw(start.Add(time.Duration(i)*time.Second), what)
	}
	if got := tr.Progress().Sub(start); got != 3*time.Second {
		t.Errorf("progress at %s", got)
	}
}
