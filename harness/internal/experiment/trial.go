package experiment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/boot"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/internal/probe"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/stall"
	"github.com/unwedge/unwedge/harness/internal/watch"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
)

// trial is one probe and what the guest does on it: a Handler of the loop with a
// Tracker of its own.
type trial struct {
	x       *experiments
	p       *result.Probe
	tracker *watch.Tracker
	from    int64 // console offset
	log     bytes.Buffer
	seeded  bool      // the kernel has said that its generator is
	proof   bool      // the boot came further than before, or its task did
	saw     bool      // the kernel has seen a new PCI device
	acted   time.Time // when the change was made
	over    bool
	acting  bool // the change is being made
	cancel  context.CancelFunc
}

// The bounds of what is kept of a trial's console: lines in the Result and how
// long each is, bytes in probe.log.
const (
	maxProbeLines = 20
	maxProbeLine  = 200
	maxProbeLog   = 1 << 20
)

func (x *experiments) newTrial(ctx context.Context, p *result.Probe) *trial {
	t := &trial{x: x, p: p, from: x.still(ctx).Bytes}
	t.tracker = watch.New(x.Limits, watch.Toward(x.Machine.Scenario.Booted()), time.Now())
	x.Loop.Skip() // what was said before
	return t
}

// run makes the change, which lets the guest run, and watches until the guest has
// come to an end or a stall. The change is made beside the watching: it may take
// its time, and is called off when the boot goes on.
func (t *trial) run(ctx context.Context, change func(context.Context, *result.Probe) error) {
	acting, cancel := context.WithCancel(ctx)
	defer cancel()
	t.cancel, t.acting = cancel, true
	did := *t.p
	t.x.Loop.Go(func() func() {
		err := change(acting, &did)
		if errors.Is(err, qmp.ErrClosed) {
			err = t.x.Guest.OrDead(err)
		}
		return func() {
			t.acting, t.p.Did, t.acted = false, did.Did, time.Now()
			if err != nil && (t.p.Outcome == "" || !t.over) {
				t.failed(err)
			}
		}
	})
	if err := t.x.Loop.Run(ctx, t); err != nil && ctx.Err() == nil {
		t.failed(err)
	}
	t.over = true
	cancel()
	t.x.Loop.Wait()
}

// failed ends the trial with an error.
func (t *trial) failed(err error) {
	t.over = true
	t.p.Outcome, t.p.Why = result.ProbeFailed, err.Error()
	if errors.Is(err, probe.ErrUnsafe) || errors.Is(err, guestmem.ErrNotInSyscall) {
		t.p.Outcome = result.ProbeRefused
	}
}

// wentOn records that the boot does something new.
func (t *trial) wentOn(why string) {
	if t.p.Outcome == "" {
		t.p.Outcome, t.p.Why, t.p.After = result.ProbeWentOn, why, time.Since(t.x.Boot.Start)-t.p.At
	}
}

// userLine matches what user space writes to the kernel's log: NAME[PID]: text.
var userLine = regexp.MustCompile(`^[A-Za-z][\w.@-]*\[\d+\]: `)

// Line takes a console line.
func (t *trial) Line(l console.Line, agent bool) {
	if l.Offset < t.from {
		return
	}
	if t.log.Len() < maxProbeLog {
		t.log.Write(l.Text)
		t.log.WriteByte('\n')
	}
	t.x.Observer.Line(l)
	if agent {
		return
	}
	text := string(console.Strip(l.Text))
	if strings.TrimSpace(text) == "" {
		return
	}
	if len(t.p.Console) < maxProbeLines {
		t.p.Console = append(t.p.Console, console.SanitizeMax(text, maxProbeLine))
	}
	old := t.tracker.Progress()
	t.tracker.Line(l.At, l.Text)
	_, kernel := dump.GuestTime(l.Text)
	if kernel {
		_, text, _ = strings.Cut(text, "] ")
		t.seeded = t.seeded || strings.HasPrefix(text, boot.SeededWords)
		t.saw = t.saw || strings.HasPrefix(text, "pci ")
	}
	if !kernel || userLine.MatchString(text) {
		t.complaint(text)
		// User space may speak by itself, as of a time-out; random numbers make
		// nobody speak before they are there.
		if t.tracker.Progress() != old && (t.p.Name == result.ProbeSyscall || t.seeded) {
			t.wentOn("user space printed something")
		}
	}
}

// complaint matches what a program says of a call that failed.
var complaint = regexp.MustCompile(`(?i)cannot|could not|couldn't|fail|error|ENOMEM|unable|out of memory|panic`)

// complaint keeps the first complaint of user space.
func (t *trial) complaint(text string) {
	if t.p.Said == "" && complaint.MatchString(text) {
		t.p.Said = console.SanitizeMax(text, maxProbeLine)
	}
}

// Report takes a report of the agent.
func (t *trial) Report(r agentproto.Report) {
	t.tracker.Report(time.Now(), r)
	t.p.Stage = r.Stage
	if r.Error != "" {
		t.complaint(r.Error)
	}
	if r.Stage != t.x.Boot.Stage {
		t.proof = true
		t.wentOn(fmt.Sprintf("the guest agent reported %s", console.SanitizeMax(string(r.Stage), 40)))
	}
}

// Unreadable is a report that could not be read: it tells nothing of an experiment.
func (t *trial) Unreadable(error) {}

// Event takes what QEMU says.
func (t *trial) Event(_ context.Context, e qmp.Event) error {
	got, err := qmp.Decode(e)
	if err != nil || !got.Guest && got.Kind != qmp.Panicked {
		return nil // nothing that the guest did
	}
	switch got.Kind {
	case qmp.Shutdown:
		t.tracker.Shutdown(time.Now(), "the guest powered off")
	case qmp.Reset:
		t.tracker.Reset(time.Now())
		t.wentOn("the guest reset itself")
	case qmp.Panicked:
		t.tracker.GuestPanicked(time.Now())
	}
	return nil
}

// Tick samples the vCPUs' load.
func (t *trial) Tick(now time.Time) { t.tracker.VCPUs(now, t.x.Boot.Asker.Meter.Sample()) }

// Over asks the Tracker. Until the change is made, the guest may be silent.
func (t *trial) Over(_ context.Context, now time.Time) bool {
	d := t.tracker.Decide(now)
	switch {
	case t.over: // it has failed
	case d.State == watch.Over:
		t.over = true
		t.p.Boot = d.Outcome
		if d.Outcome != scenarios.Slow {
			t.proof = true
			t.wentOn(d.Why)
		}
	case d.State != watch.Suspect:
	case d.Early:
		t.tracker.Looked(now, false)
	case !t.acting && now.Sub(t.acted) >= t.patience(d.Idle):
		t.over = true
		t.p.Boot = scenarios.Hung
	}
	if t.p.Name == result.ProbeInput && (t.p.Outcome != "" || t.seeded) {
		t.cancel() // it need not be fed further
	}
	return t.over
}

// patience is how long a guest is watched that does nothing.
func (t *trial) patience(idle bool) time.Duration {
	if idle {
		return t.x.Limits.Idle
	}
	return t.x.Limits.Busy
}

// drain takes what a stopped guest has printed and the loop has not seen.
func (t *trial) drain(ctx context.Context) {
	const quiet = 30 * time.Millisecond
	t.x.still(ctx)
	t.x.Loop.Drain(ctx, t, quiet)
}

// conclude looks where the task is that the boot waited for, and says what the
// trial has shown.
func (t *trial) conclude(ctx context.Context) {
	p := t.p
	if p.Outcome == result.ProbeFailed || p.Outcome == result.ProbeRefused || ctx.Err() != nil {
		return
	}
	d := t.x.Diagnosis
	if d.Task != nil && (p.Boot == scenarios.Hung || p.Boot == scenarios.Booted) {
		var said result.Memory // its tasks are all that counts
		if now, ok := place(t.x.Boot.Asker.Look(ctx, &said), d.Task.PID); ok {
			p.Task = fmt.Sprintf("%s (PID %d) in %s", d.Task.Comm, d.Task.PID, now)
			if was, ok := place(t.x.Boot.View(), d.Task.PID); ok && was != now {
				t.proof = true
				t.wentOn(fmt.Sprintf("%s (PID %d) left %s", d.Task.Comm, d.Task.PID, was))
			}
		}
	}
	if p.Outcome == "" {
		p.Outcome, p.Why = result.ProbeNoChange, t.unchanged()
	}
	p.Shows = t.shows()
}

// place names the function that a task sleeps in; ok is false where that is not
// known.
func place(v *guestmem.View, pid int) (name string, ok bool) {
	if v == nil {
		return "", false
	}
	for i := range v.Tasks {
		if task := &v.Tasks[i]; task.PID == pid {
			for _, f := range task.Frames {
				if f.Reliable && !scheduling(f) {
					return f.Base(), true
				}
			}
			return "user space", len(task.Frames) == 0 && task.Running
		}
	}
	return "no task: it has exited", v.Complete
}

// scheduling says that a frame belongs to going to sleep as such.
func scheduling(f model.Frame) bool {
	switch f.Base() {
	case "__switch_to", "__schedule", "schedule", "schedule_timeout", "do_nanosleep", "schedule_hrtimeout_range", "schedule_hrtimeout_range_clock":
		return true
	}
	return false
}

// unchanged says what is known of a change that did nothing.
func (t *trial) unchanged() string {
	switch {
	case t.p.Boot == scenarios.Slow:
		return "it printed until the deadline, but showed no sign of getting further than before"
	case t.p.Name == result.ProbeSyscall:
		return "it hangs as before"
	case t.seeded:
		return "the random number generator was seeded, but the guest hangs as before"
	case t.p.Name == result.ProbeVirtioRNG && !t.saw:
		return "it hangs as before: the guest showed no sign of having seen the device"
	case t.p.Name == result.ProbeVirtioRNG:
		return "it hangs as before: the guest saw the device, but showed no sign of a driver binding to it"
	default:
		return "it hangs as before, and showed no sign of the random number generator being seeded"
	}
}

// shows says what a trial proves, "" for nothing.
func (t *trial) shows() string {
	p, d := t.p, t.x.Diagnosis
	went := ""
	switch {
	case p.Boot == scenarios.Hung:
		went = ", to stall again"
	case p.Boot != "":
		went = ", to the outcome " + string(p.Boot)
	}
	starved := t.seeded || d.Cause == result.CauseEntropy
	switch {
	case p.Name == result.ProbeSyscall && t.proof:
		return fmt.Sprintf("the boot waited for this one system call: once it returned, the boot went on%s", went)
	case p.Name != result.ProbeSyscall && t.proof && starved:
		return fmt.Sprintf("the boot waited for random numbers: once it got them, it went on%s", went)
	case p.Name != result.ProbeSyscall && p.Outcome == result.ProbeNoChange && t.seeded:
		return "the boot does not wait for random numbers"
	}
	return ""
}

// save keeps what the guest printed.
func (t *trial) save() error {
	head := fmt.Sprintf("# %s: %s: %s: %s\n", t.p.Name, t.p.Did, t.p.Outcome, console.Sanitize(t.p.Why))
	return stall.Append(t.x.Dir, rundir.Probe, append([]byte(head), t.log.Bytes()...))
}
