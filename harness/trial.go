package harness

import (
	"github.com/unwedge/unwedge/harness/internal/model"

	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/probe"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/watch"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
)

// trial is one probe and what the guest does on it: a loop as session's, with a
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
	t.tracker = watch.New(x.res.Host.Limits, x.req.Machine.Scenario.BootedStage(), time.Now())
	for { // what was said before
		select {
		case <-x.reports:
		case <-x.bad: //nolint:errcheck // a report that cannot be read tells nothing of an experiment
		case <-x.g.events.C:
		default:
			return t
		}
	}
}

// run makes the change, which lets the guest run, and watches until the guest has
// come to an end or a stall. The change is made beside the watching: it may take
// its time, and is called off when the boot goes on.
func (t *trial) run(ctx context.Context, change func(context.Context, *result.Probe) error) {
	acting, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	did := *t.p
	go func() { done <- change(acting, &did) }()
	acted := func(err error) {
		done, t.p.Did, t.acted = nil, did.Did, time.Now()
		if err != nil {
			t.failed(err)
		}
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for !t.over {
		select {
		case <-ctx.Done():
			t.over = true
		case l, open := <-t.x.lines:
			if !open {
				t.x.lines = nil
				continue
			}
			t.line(l)
		case r := <-t.x.reports:
			t.report(r)
		case <-t.x.bad: //nolint:errcheck // a report that cannot be read tells nothing of an experiment
		case e, open := <-t.x.g.events.C:
			if !open {
				t.failed(t.x.g.orDead(t.x.g.qmp.Err()))
				continue
			}
			t.event(e)
		case <-t.x.g.proc.Done():
			t.failed(fmt.Errorf("QEMU ended by itself: %w", t.x.g.ended()))
		case err := <-done:
			acted(err)
		case <-ticker.C:
			t.tracker.VCPUs(time.Now(), t.x.meter.Sample())
		}
		t.decide(done != nil)
		if t.p.Name == result.ProbeInput && (t.p.Outcome != "" || t.seeded) {
			cancel() // it need not be fed further
		}
	}
	cancel()
	if done != nil {
		err := <-done
		t.p.Did = did.Did
		if err != nil && t.p.Outcome == "" {
			t.failed(err)
		}
	}
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
		t.p.Outcome, t.p.Why, t.p.After = result.ProbeWentOn, why, time.Since(t.x.start)-t.p.At
	}
}

// userLine matches what user space writes to the kernel's log: NAME[PID]: text.
var userLine = regexp.MustCompile(`^[A-Za-z][\w.@-]*\[\d+\]: `)

func (t *trial) line(l console.Line) {
	if l.Offset < t.from {
		return
	}
	if t.log.Len() < maxProbeLog {
		t.log.Write(l.Text)
		t.log.WriteByte('\n')
	}
	t.x.req.Observer.Line(l)
	if i := bytes.Index(l.Text, []byte(agentproto.Prefix)); i >= 0 {
		if r, err := agentproto.Parse(l.Text); err == nil {
			t.report(r)
		}
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
	_, kernel := guestTime(l.Text)
	if kernel {
		_, text, _ = strings.Cut(text, "] ")
		t.seeded = t.seeded || strings.HasPrefix(text, seededWords)
		t.saw = t.saw || strings.HasPrefix(text, "pci ")
	}
	if !kernel || userLine.MatchString(text) {
		t.complaint(text)
		// User space may speak by itself, as of a time-out; random numbers make
		// nobody speak before they are there.
		if t.tracker.Progress() != old && (t.p.Name == result.ProbeSyscall || t.seeded) {
			t.wentOn("user space spoke")
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

func (t *trial) report(r agentproto.Report) {
	t.tracker.Report(time.Now(), r)
	t.p.Stage = r.Stage
	if r.Error != "" {
		t.complaint(r.Error)
	}
	if r.Stage != t.x.res.Stage {
		t.proof = true
		t.wentOn(fmt.Sprintf("the guest agent reported %s", console.SanitizeMax(string(r.Stage), 40)))
	}
}

func (t *trial) event(e qmp.Event) {
	guest := bytes.Contains(e.Data, []byte(`"guest": true`)) || bytes.Contains(e.Data, []byte(`"guest":true`))
	switch {
	case e.Name == "SHUTDOWN" && guest:
		t.tracker.Shutdown(time.Now(), "the guest powered off")
	case e.Name == "RESET" && guest:
		t.tracker.Reset(time.Now())
		t.wentOn("the guest reset itself")
	case e.Name == "GUEST_PANICKED":
		t.tracker.GuestPanicked(time.Now())
	}
}

// decide asks the Tracker. Until the change is made, the guest may be silent.
func (t *trial) decide(acting bool) {
	now := time.Now()
	d := t.tracker.Decide(now)
	switch {
	case d.State == watch.Over:
		t.over = true
		t.p.Boot = d.Outcome
		if d.Outcome != scenarios.Slow {
			t.proof = true
			t.wentOn(d.Why)
		}
	case d.State != watch.Suspect:
	case d.Early:
		t.tracker.Looked(now)
	case !acting && now.Sub(t.acted) >= t.patience(d.Idle):
		t.over = true
		t.p.Boot = scenarios.Hung
	}
}

// patience is how long a guest is watched that does nothing.
func (t *trial) patience(idle bool) time.Duration {
	if idle {
		return t.x.res.Host.Limits.Idle
	}
	return t.x.res.Host.Limits.Busy
}

// drain takes what a stopped guest has printed and the loop has not seen.
func (t *trial) drain(ctx context.Context) {
	const quiet, most = 30 * time.Millisecond, 10000
	t.x.still(ctx)
	for range most {
		select {
		case l, open := <-t.x.lines:
			if !open {
				t.x.lines = nil
				return
			}
			t.line(l)
		case r := <-t.x.reports:
			t.report(r)
		case <-time.After(quiet):
			return
		case <-ctx.Done():
			return
		}
	}
}

// conclude looks where the task is that the boot waited for, and says what the
// trial has shown.
func (t *trial) conclude(ctx context.Context) {
	p := t.p
	if p.Outcome == result.ProbeFailed || p.Outcome == result.ProbeRefused || ctx.Err() != nil {
		return
	}
	d := t.x.res.Diagnosis
	if d.Task != nil && (p.Boot == scenarios.Hung || p.Boot == scenarios.Booted) {
		var said result.Memory
		if now, ok := place(t.x.recall(ctx, &said), d.Task.PID); ok {
			p.Task = fmt.Sprintf("%s (PID %d) in %s", d.Task.Comm, d.Task.PID, now)
			if was, ok := place(t.x.view, d.Task.PID); ok && was != now {
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
		return "it printed on to the deadline, and nothing shows that it went further than before"
	case t.p.Name == result.ProbeSyscall:
		return "it hangs as before"
	case t.seeded:
		return "the kernel's generator was seeded, and it hangs as before"
	case t.p.Name == result.ProbeVirtioRNG && !t.saw:
		return "it hangs as before: nothing shows that the guest has seen the device"
	case t.p.Name == result.ProbeVirtioRNG:
		return "it hangs as before: the guest has seen the device, and nothing shows that a driver has taken it"
	default:
		return "it hangs as before, and nothing shows that the generator was seeded"
	}
}

// shows says what a trial proves, "" for nothing.
func (t *trial) shows() string {
	p, d := t.p, t.x.res.Diagnosis
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
	return appendFile(filepath.Join(t.x.req.Dir, rundir.Probe), append([]byte(head), t.log.Bytes()...))
}
