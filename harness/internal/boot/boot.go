// Package boot watches one boot from `cont` to the verdict: it tells the watch's
// Tracker what happens, has a stalled guest captured, and gives it the chance to show
// that it was only slow.
package boot

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/events"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/stall"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/internal/watch"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// Phase is what the harness does.
type Phase string

// The phases of a boot.
const (
	Starting   Phase = "starting"   // QEMU is being started
	Waiting    Phase = "waiting"    // somebody else has paused the guest
	Booting    Phase = "booting"    // the guest runs
	Capturing  Phase = "capturing"  // it has stalled, and is being asked where
	Proven     Phase = "proven"     // it hangs for certain, and its memory says where; it is asked further
	Confirming Phase = "confirming" // it gets a last chance
	Probing    Phase = "probing"    // it hangs, and is experimented on
	Again      Phase = "again"      // the guest is booted once more, with arguments that make it say more
	Finished   Phase = "finished"   // the verdict is there
)

// Observer is told what happens, from one goroutine. It must not block.
type Observer interface {
	// Line is a whole console line, raw.
	Line(l console.Line)
	// Report is a report of the agent.
	Report(r agentproto.Report)
	// Phase is a change in what the harness does.
	Phase(p Phase, why string)
}

// Guest is what is watched.
type Guest interface {
	events.Guest
	stall.Guest
	// Begin lets a guest go that waits for its watcher.
	Begin(ctx context.Context) error
	// PID is QEMU's process ID, 0 where it is not one of this machine.
	PID() int
	// Answers says whether the guest takes TCP connections on a port.
	Answers(ctx context.Context, port int) (bool, error)
}

// Options say what to watch for.
type Options struct {
	// Machine is what was started.
	Machine machine.Spec
	// Facts are what is known of that; nil: nothing.
	Facts *diagnose.Scenario
	// Keys are the ways by which the guest may be asked for sysrq.
	Keys stall.Keys
	// Foreign is how a guest is followed that somebody else started, nil for others.
	Foreign *Foreign
	// Image is what the kernel's image says.
	Image stall.Image
	// Stub connects to QEMU's gdb stub; nil: the guest is never stepped.
	Stub func(ctx context.Context) (net.Conn, error)
	// Dir is the run's directory.
	Dir string
	// Limits judge the boot, Unit scales the waiting for answers of the guest.
	Limits result.Limits
	Unit   time.Duration
	// Observer is told what happens; it is not nil.
	Observer Observer
}

// Verdict is how a boot ended.
type Verdict struct {
	Outcome    scenarios.Outcome
	Why        string
	Confidence result.Confidence
	// At is when that was known, Since when the last progress was made.
	At, Since time.Time
}

// Boot is a boot that has come to its verdict. Nothing of it changes any more but by Ended.
type Boot struct {
	Verdict
	Record
	// Start is when the guest began to run, KVM QEMU's word on its accelerator.
	Start time.Time
	KVM   result.QueryKVM
	// IdleGap and BusyGap are the longest times without progress that were followed by
	// progress, Resets is how often the guest reset itself.
	IdleGap, BusyGap time.Duration
	Resets           int
	// Asker asks the guest further.
	Asker *stall.Asker
	// Hangs says that the guest still is as it was captured, Idle that all its vCPUs
	// idled then.
	Hangs, Idle bool

	known *result.Diagnosis // of a hang, made when it was captured
	facts stall.Case        // for the diagnosis of another ending
	log   *dump.Log         // the console without its unfinished line, up to read
	read  int64
}

// Ended takes what the guest printed between the verdict and its end: a complaint that
// stands in the console log of a good boot is a finding, too.
func (b *Boot) Ended(c *console.Recorder) {
	lines, _ := c.Since(b.read)
	for _, l := range lines {
		if l.Offset >= b.read {
			b.log.Add(l.Raw, l.Offset)
			b.read = l.End
		}
	}
	b.facts.Console = b.log
}

// Diagnose explains an outcome that is not what was hoped for; it is the Verdict's, or
// what a check of the booted guest has made of it.
func (b *Boot) Diagnose(o scenarios.Outcome) result.Diagnosis {
	if b.known != nil && o == scenarios.Hung {
		return *b.known
	}
	c := b.facts
	c.Outcome = o
	return c.Diagnose()
}

// Findings are the kernel's reports, up to the verdict, or what Ended took.
func (b *Boot) Findings() []result.Finding { return b.facts.Findings() }

// Initcalls are how long the kernel's initcalls took, as far as Findings go.
func (b *Boot) Initcalls() []result.Initcall { return b.facts.Initcalls() }

// View is what the guest's memory showed when it was captured last; nil: it was not read.
func (b *Boot) View() *guestmem.View {
	if b.facts.Finding == nil {
		return nil
	}
	return b.facts.Finding.View
}

// Watch lets the guest go and watches it to the verdict. Its error says that nothing
// is known of the kernel.
func Watch(ctx context.Context, loop *events.Loop, g Guest, o Options) (*Boot, error) {
	cpus, err := vcpu.List(ctx, g.QMP())
	if err != nil {
		return nil, g.OrDead(err)
	}
	w := &watcher{Options: o, guest: g, loop: loop, all: dump.NewLog(0)}
	if err := g.QMP().Execute(ctx, "query-kvm", nil, &w.kvm); err != nil {
		return nil, g.OrDead(err)
	}
	w.start = time.Now() // before the guest's first line
	if err := g.Begin(ctx); err != nil {
		return nil, g.OrDead(err)
	}
	w.meter = vcpu.NewMeter(g.PID(), cpus, time.Now)
	w.tracker = watch.New(o.Limits, watch.Toward(o.Machine.Scenario.Booted()), w.start)
	w.asker = stall.Asker{
		Guest: g, Image: o.Image, Keys: o.Keys, Meter: w.meter,
		Files: stall.Files{Dir: o.Dir, Start: w.start}, Unit: o.Unit, Hold: o.Limits.Hold,
	}
	w.restarted()
	w.goal, w.sight = seek(o.Machine.Scenario.Booted()), newSight(o)
	w.proof = newSearch(o, w.goal)
	if err := w.attach(ctx); err != nil {
		return nil, g.OrDead(err)
	}
	o.Observer.Phase(Booting, "")
	err = loop.Run(ctx, w)
	w.callOff()
	if err == nil {
		err = w.err
	}
	if err != nil {
		return nil, err
	}
	return w.boot(), nil
}

// watcher is the Handler of a boot.
type watcher struct {
	Options
	guest   Guest
	loop    *events.Loop
	tracker *watch.Tracker
	meter   *vcpu.Meter
	asker   stall.Asker
	start   time.Time
	kvm     result.QueryKVM

	record      Record
	all         *dump.Log      // the console
	own         *dump.Log      // without what sysrq keys made the kernel print; nil before the first
	held        []console.Line // printed during a capture: some of it is the keys' doing
	read        int64          // up to where it was taken
	progressEnd int64          // the console's length at the last line that was progress

	proof     search     // for a proof that nothing can wake the guest
	sight     sight      // of the memory of a guest that somebody else started
	stamped   bool       // the console has shown a line with the kernel's stamp
	paused    time.Time  // since when somebody else has stopped it; zero: it runs
	waiting   bool       // that was told
	goal      goal       // what shows that the guest has booted, where it must be looked for
	suspicion *suspicion // the one under way
	last      *suspicion // the last one that was captured
	verdict   Verdict
	err       error // ends the watching
	ended     bool  // it is over: nothing new is begun
}

// boot is what has become of it.
func (w *watcher) boot() *Boot {
	w.loop.CatchUp(w)
	b := &Boot{
		Verdict: w.verdict, Record: w.record, Start: w.start, KVM: w.kvm, Resets: w.tracker.Resets(), Asker: &w.asker,
	}
	b.IdleGap, b.BusyGap = w.tracker.Gaps()
	console := w.all
	if s := w.last; s != nil && s.stall.WentOn {
		console = w.own // the tasks that the keys showed have long gone on
	}
	b.log, b.read = console, w.read
	b.facts = w.facts(w.partial(console))
	if s := w.last; s != nil {
		b.facts.Finding, b.facts.Repeated, b.facts.Stale = &s.finding, s.stall.Repeated, s.stall.WentOn
	}
	if s := w.suspicion; s != nil && b.Outcome == scenarios.Hung {
		moved := w.tracker.Progress().After(s.since)
		b.known, b.Idle = s.diagnosis(moved), s.stall.Idle
		b.Hangs = s.reset.IsZero() && !moved
	}
	return b
}

// facts are those of a diagnosis, without a Finding.
func (w *watcher) facts(console *dump.Log) stall.Case {
	return stall.Case{Console: console, Agent: w.record.Reports, Scenario: w.Facts, Outcome: scenarios.Hung}
}

// partial is a copy of a log, with what the guest has printed of a line that has not
// ended: a panic or a prompt may end so.
func (w *watcher) partial(log *dump.Log) *dump.Log {
	log = log.Fork()
	if l, ok := w.guest.Console().Partial(); ok {
		log.Add(l.Raw, l.Offset)
	}
	return log
}

// SeededWords are the kernel's when its random number generator is ready
// (drivers/char/random.c, _credit_init_bits; crng_reseed before 5.18).
const SeededWords = "random: crng init done"

// Line takes a console line.
func (w *watcher) Line(l console.Line, agent bool) {
	w.all.Add(l.Raw, l.Offset)
	w.read = l.End
	asked := w.suspicion.asks(l)
	if asked {
		w.held = append(w.held, l)
	} else if w.own != nil {
		w.own.Add(l.Raw, l.Offset)
	}
	if agent {
		return
	}
	w.tracker.Capturing(asked)
	w.tracker.Line(l.At, l.Text)
	if !w.tracker.Progress().Before(l.At) {
		w.progressEnd = l.End
	}
	w.stage(Told(l.Text))
	if t, ok := dump.GuestTime(l.Text); ok {
		w.record.GuestTime, w.stamped = t, true
	}
	w.record.Seeded = w.record.Seeded || bytes.Contains(l.Text, []byte(SeededWords))
	w.Observer.Line(l)
}

// stage takes the stage that the console shows, "" for none. Where the agent runs, its
// reports tell the stage; before them only firmware shows more than there being none.
func (w *watcher) stage(s stage.Stage) {
	if s == "" {
		return
	}
	w.tracker.Firmware(s == stage.Firmware || s == stage.Loader)
	if sc := w.Machine.Scenario; !sc.HasAgent() || sc.UEFI() && len(w.record.Reports) == 0 {
		w.record.Stage = s
	}
}

// Report takes a report of the agent.
func (w *watcher) Report(r agentproto.Report) {
	now := time.Now()
	w.record.report(now.Sub(w.start), r)
	w.tracker.Report(now, r)
	w.progressEnd = w.guest.Console().Stats().Bytes
	w.Observer.Report(r)
}

// Unreadable notes a report that could not be read.
func (w *watcher) Unreadable(err error) {
	w.record.note("cannot read an agent report: %v", err)
}

// Event tells the watch what QEMU says.
func (w *watcher) Event(ctx context.Context, e qmp.Event) error {
	now := time.Now()
	w.record.event(now.Sub(w.start), e)
	got, err := qmp.Decode(e)
	if err != nil {
		w.record.note("%v", err)
	}
	switch got.Kind {
	case qmp.Shutdown:
		if !got.Guest {
			return fmt.Errorf("QEMU was told to quit: %s", got.Reason)
		}
		w.tracker.Shutdown(now, "the guest powered off ("+got.Reason+")")
	case qmp.Reset:
		if got.Guest {
			w.reset(now)
		}
	case qmp.Panicked:
		w.tracker.GuestPanicked(now)
	case qmp.Stop:
		return w.stopped(ctx, now)
	case qmp.Resume:
		w.resumed(now)
	}
	return nil
}

// stopped finds out why QEMU stopped the vCPUs: after a power-off it is meant
// to, on an error of its own it is not.
func (w *watcher) stopped(ctx context.Context, now time.Time) error {
	var st struct {
		Status string `json:"status"`
	}
	if err := w.guest.QMP().Execute(ctx, "query-status", nil, &st); err != nil {
		return w.guest.OrDead(err)
	}
	switch st.Status {
	case "internal-error", "io-error":
		return fmt.Errorf("QEMU stopped the guest on an internal error: %s", st.Status)
	}
	w.stands(now, st.Status)
	return nil
}

// Tick samples the vCPUs' load.
func (w *watcher) Tick(now time.Time) {
	w.tracker.VCPUs(now, w.meter.Sample())
	if w.guest.Console().Stats().Bytes > 0 {
		w.tracker.Bytes()
	}
	if l, ok := w.guest.Console().Partial(); ok && !w.suspicion.asks(l) {
		w.tracker.Partial(now, l.Raw)
		w.stage(Told(l.Raw))
	}
}

// Over asks the watch, and carries a suspicion through capture and confirmation.
func (w *watcher) Over(ctx context.Context, now time.Time) bool {
	if w.err != nil {
		return true
	}
	w.goal.look(ctx, w, now)
	w.sight.look(ctx, w, now)
	w.proof.look(ctx, w, now)
	d := w.tracker.Decide(now)
	v := Verdict{Outcome: d.Outcome, Why: d.Why, Confidence: d.Confidence, At: now, Since: d.Since}
	s := w.suspicion
	switch {
	case s.explained() && !s.reset.IsZero():
		w.record.note("the NMI reset the guest: its kernel had no NMI handler yet")
		return w.hung(v)
	case d.State == watch.Over:
		return w.conclude(v)
	case !w.paused.IsZero():
		return w.waits(now)
	case s == nil && d.State == watch.Suspect:
		w.suspect(ctx, d)
	case !s.explained(): // nothing to confirm yet
	case w.tracker.Progress().After(s.since) && !w.cured():
		w.wentOn()
		w.withdraw("it went on")
	case w.goal.looking || w.sight.looking: // it is bounded, and may show that it has booted
	case now.Sub(s.finished) >= s.patience:
		return w.hung(v)
	}
	return false
}

// conclude is the end of the boot while there may be a suspicion. A boot that
// comes through once it was captured may have been cured by that, which shows when
// the capture is complete.
func (w *watcher) conclude(v Verdict) bool {
	s := w.suspicion
	switch {
	case s == nil || !w.tracker.Progress().After(s.since):
	case v.Outcome == scenarios.Booted && !s.explained() && !s.early:
		return false // the capture is bounded
	case v.Outcome == scenarios.Booted && w.cured():
		return w.hung(v)
	default:
		w.wentOn()
	}
	w.verdict = v
	return true
}

// hung makes the suspicion the verdict.
func (w *watcher) hung(v Verdict) bool {
	st := w.suspicion.stall
	v.Outcome, v.Why, v.Confidence, v.Since = scenarios.Hung, st.Why, st.Confidence, w.suspicion.since
	w.verdict = v
	return true
}
