package boot

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/stall"
	"github.com/unwedge/unwedge/harness/internal/sysrq"
	"github.com/unwedge/unwedge/harness/internal/watch"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// suspicion is one time that the boot made no progress. nil is none.
type suspicion struct {
	stall    result.Stall
	since    time.Time // of the last progress before it
	early    bool      // it is none if the registers change
	proven   bool      // nothing can wake the guest
	read     bool      // the memory of a proven one was read, and tells what it does
	ctx      context.Context
	cancel   context.CancelFunc
	from, to int64     // console offsets of what the harness made the guest print; to is -1 while it does
	before   *dump.Log // the console up to from
	reset    time.Time // when the capture may have reset the guest

	finding  stall.Finding     // once to is known
	now      result.Diagnosis  // of finding
	then     *result.Diagnosis // before the keys, where they may have cured the guest; nil: they have not
	finished time.Time         // when the two were there; zero: not yet
	patience time.Duration     // how long it may still go on by itself after finished
}

// asks says whether a line was printed while the harness made the guest print.
func (s *suspicion) asks(l console.Line) bool {
	return s != nil && !s.early && l.Offset >= s.from && (s.to < 0 || l.Offset < s.to)
}

// explained says that the capture is complete, and its diagnosis there.
func (s *suspicion) explained() bool { return s != nil && !s.finished.IsZero() }

// diagnosis is that of the guest as it hung.
func (s *suspicion) diagnosis(cured bool) *result.Diagnosis {
	if cured && s.then != nil {
		return s.then
	}
	return &s.now
}

// suspect begins a capture.
func (w *watcher) suspect(ctx context.Context, d watch.Decision) {
	printed := w.guest.Console().Stats().Bytes
	s := &suspicion{
		stall: result.Stall{
			At: d.Since.Sub(w.start), Noticed: time.Since(w.start), Why: d.Why, Confidence: d.Confidence, Idle: d.Idle,
			Repeated: max(0, printed-w.progressEnd), Proof: w.proof.facts(d), Unproven: w.proof.unproven(d),
		},
		since: d.Since, early: d.Early, proven: d.Proven, from: printed, to: -1,
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	w.suspicion = s
	if !s.early {
		w.ask(d.Why)
	}
	w.loop.Go(func() func() {
		got := w.asker.Ask(s.ctx, d)
		return func() { w.captured(got) }
	})
}

// ask says that the guest is asked from now on: what it prints may be the answer.
func (w *watcher) ask(why string) {
	w.suspicion.before = w.partial(w.all)
	if w.own == nil {
		w.own = w.all.Fork()
	}
	w.Observer.Phase(Capturing, why)
}

// captured takes what a capture showed.
func (w *watcher) captured(got stall.Finding) {
	s := w.suspicion
	if w.err = w.lost(got); w.err != nil {
		return
	}
	switch {
	case s.early:
		w.sampled(got)
		return
	case s.proven && !s.read:
		w.tell(got)
		return
	}
	w.loop.CatchUp(w)
	s.to, s.finding = w.guest.Console().Stats().Bytes, got
	w.release(got.Attempts)
	s.stall.Registers, s.stall.Attempts = got.Registers, got.Attempts
	if got.Memory.Took > 0 {
		s.stall.Memory = &s.finding.Memory
	}
	w.record.Stalls, w.last = append(w.record.Stalls, s.stall), s
	if !s.reset.IsZero() && !byNMI(got.Attempts, s.reset) {
		w.tracker.Reset(s.reset)
		s.reset = time.Time{}
	}
	for _, err := range got.Errs {
		w.record.note("%v", err)
	}
	if w.ended {
		return
	}
	now := w.facts(w.partial(w.all))
	now.Finding, now.Repeated = &s.finding, s.stall.Repeated
	if stall.LogOnlyInMemory(now.Console, got.View) {
		w.record.noteOnce("the console shows no kernel: its log was read from memory")
	}
	before := s.before
	w.loop.Go(func() func() {
		d, then := now.Diagnose(), undisturbed(now, before)
		return func() { w.explain(s, d, then) }
	})
}

// tell goes on with a stall that is proven: its memory says what it is, and is believed
// at once. What the kernel says by sysrq is asked for afterwards.
func (w *watcher) tell(got stall.Finding) {
	s := w.suspicion
	s.read = true
	now := w.facts(s.before)
	now.Repeated = s.stall.Repeated
	w.loop.Go(func() func() {
		read := w.asker.Read(s.ctx, got)
		now.Finding = &read
		d := now.Diagnose()
		return func() {
			if w.ended || s.ctx.Err() != nil {
				return
			}
			if d.Confidence == result.Certain {
				s.stall.Told = time.Since(w.start)
				w.Observer.Phase(Proven, fmt.Sprintf("%s (%s)", d.Title, d.Cause))
			}
			w.loop.Go(func() func() {
				got := w.asker.Question(s.ctx, got)
				return func() { w.captured(got) }
			})
		}
	})
}

// lost says that QEMU's monitor could not be asked: a guest cannot silence it.
func (w *watcher) lost(got stall.Finding) error {
	if got.Lost == nil || w.ended {
		return nil
	}
	return fmt.Errorf("QEMU's monitor stopped answering: %w", w.guest.OrDead(got.Lost))
}

// release gives the lines that were held back to the guest's own log, but for those
// that answer the keys.
func (w *watcher) release(attempts []result.Attempt) {
	for _, l := range w.held {
		if !slices.ContainsFunc(attempts, func(a result.Attempt) bool { return l.Offset >= a.From && l.Offset < a.To }) {
			w.own.Add(l.Raw, l.Offset)
		}
	}
	w.held = nil
}

// undisturbed is the diagnosis of the stall before it was captured, where a key may
// have fed the guest the entropy that it starved for: what memory shows after them
// may be cured. nil is one that is not needed.
func undisturbed(now stall.Case, before *dump.Log) *result.Diagnosis {
	if now.Finding.Before == nil || !fed(now.Finding.Attempts) {
		return nil
	}
	f := *now.Finding
	f.View, f.Before = f.Before, nil
	now.Finding = &f
	first := now
	first.Console = before
	if first.Diagnose().Cause != result.CauseEntropy {
		return nil
	}
	d := now.Diagnose()
	return &d
}

// explain takes the diagnosis of a capture, and decides how long the guest may still
// show that it was only slow.
func (w *watcher) explain(s *suspicion, d result.Diagnosis, then *result.Diagnosis) {
	s.now, s.then, s.finished = d, then, time.Now()
	works, reads := s.finding.Works, s.finding.Reads
	if d.Cause == result.CauseForkBomb {
		works, reads = false, false // it works, and for nothing
	}
	if works || reads {
		w.tracker.Works(s.finished)
		s.stall.Works = true
	}
	switch {
	case s.proven:
		w.write(s)
		return
	case reads && !w.tracker.Decide(s.finished).Late:
		w.withdraw("it is silent, but reads its disk")
		return
	case works && len(s.finding.Attempts) == 0:
		w.withdraw("it is silent, but its vCPUs work")
		return
	}
	confirm := w.tracker.Limits().Confirm
	s.patience = max(confirm/2, confirm-s.finished.Sub(w.start)+s.stall.Noticed)
	if d.Cause == result.CauseFlood { // it is noticed early, and may yet end as any busy guest may
		s.patience = max(s.patience, w.tracker.Limits().Busy-s.finished.Sub(s.since))
	}
	why := s.stall.Why
	if due := s.finding.Due(d, w.Image.Hertz(), w.tracker.JobDue(time.Now()), w.Limits.Hold); due > 0 {
		s.patience += due
		s.stall.Wake = due
		why = fmt.Sprintf("a timer is due in %s", due.Round(100*time.Millisecond))
	}
	w.write(s)
	w.Observer.Phase(Confirming, why)
}

// write writes the suspicion down as it is now.
func (w *watcher) write(s *suspicion) { w.record.Stalls[len(w.record.Stalls)-1] = s.stall }

// wentOn records that the boot made progress after the suspicion.
func (w *watcher) wentOn() {
	s := w.suspicion
	s.stall.WentOn = true
	if s.to >= 0 {
		w.write(s)
	}
}

// withdraw takes the suspicion back.
func (w *watcher) withdraw(why string) {
	w.write(w.suspicion)
	w.suspicion.cancel()
	w.suspicion = nil
	w.tracker.Withdraw()
	w.Observer.Phase(Booting, why)
}

// sampled takes the early samples of a busy guest: unless it computes nothing, the
// suspicion was none.
func (w *watcher) sampled(got stall.Finding) {
	s, now := w.suspicion, time.Now()
	for _, err := range got.Errs {
		w.record.note("%v", err)
	}
	if !got.Frozen || w.tracker.Progress().After(s.since) || !s.reset.IsZero() || w.ended {
		s.cancel()
		w.suspicion = nil
		w.tracker.Looked(now, got.Rests)
		if !s.reset.IsZero() {
			w.tracker.Reset(s.reset)
		}
		return
	}
	s.early, s.from, s.stall.Noticed = false, w.guest.Console().Stats().Bytes, now.Sub(w.start)
	w.ask(s.stall.Why)
	w.loop.Go(func() func() {
		got := w.asker.Question(s.ctx, got)
		return func() { w.captured(got) }
	})
}

// callOff ends a capture that the verdict has overtaken, and waits for it, so that
// nothing uses the guest after the loop.
func (w *watcher) callOff() {
	w.ended = true
	if w.suspicion != nil {
		w.suspicion.cancel()
	}
	w.goal.callOff()
	w.sight.callOff()
	w.proof.callOff()
	w.loop.Wait()
}

// reset takes a reset of the guest's. During a capture it may be the capture's doing,
// which shows when that is complete.
func (w *watcher) reset(now time.Time) {
	s := w.suspicion
	if s == nil || s.to >= 0 && !byNMI(s.stall.Attempts, now) {
		w.tracker.Reset(now)
		w.restarted()
	} else if s.reset.IsZero() {
		s.reset = now
	}
}

// restarted says that the guest begins again, with its firmware where it has one.
func (w *watcher) restarted() {
	if sc := w.Machine.Scenario; sc.BootDisk || sc.UEFI() {
		w.stage(stage.Firmware)
	}
}

// byNMI says whether a reset came right after an NMI that was to ask the guest
// where it is: a kernel that has no handler for it yet ends in a triple fault.
func byNMI(attempts []result.Attempt, reset time.Time) bool {
	const soon = 2 * time.Second
	return slices.ContainsFunc(attempts, func(a result.Attempt) bool {
		after := reset.Sub(a.At)
		return sysrq.Disturbs(a.Route).MayReset && a.Yield != result.Refused && after >= 0 && after < soon
	})
}

// fed says that a key was sent that feeds the entropy pool.
func fed(attempts []result.Attempt) bool {
	return slices.ContainsFunc(attempts, func(a result.Attempt) bool {
		return sysrq.Disturbs(a.Route).FeedsEntropy && a.Yield != result.Refused
	})
}

// cured says that the boot went on, but only because it was captured: a key press
// feeds the entropy pool (drivers/char/random.c, add_input_randomness), so a boot that
// starved for entropy may go on after a sysrq by keyboard.
func (w *watcher) cured() bool {
	s := w.suspicion
	if !fed(s.stall.Attempts) || s.then == nil && s.now.Cause != result.CauseEntropy {
		return false
	}
	w.record.noteOnce("the boot went on after sysrq by keyboard: key presses feed the entropy pool, so the capture cured the hang")
	return true
}
