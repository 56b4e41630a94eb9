package harness

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/unwedge/unwedge/harness/internal/watch"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

// capture is one suspicion: what was seen, and what it was asked.
type capture struct {
	stall    result.Stall
	since    time.Time // of the last progress before it
	from, to int64     // console offsets of what the harness made the guest print; to is -1 while it does
	done     chan captured
	cancel   context.CancelFunc
	finished time.Time
	cause    result.Cause   // what it looked like at the end of the capture
	reset    time.Time      // when the look may have reset the guest
	early    bool           // it is none if the registers change
	question func(captured) // asks the kernel itself, after an early look
	patience time.Duration  // how long it may still go on by itself after finished
}

// byNMI says whether a reset came right after an NMI that was to ask the guest
// where it is: a kernel that has no handler for it yet ends in a triple fault.
func byNMI(attempts []result.Attempt, reset time.Time) bool {
	const soon = 2 * time.Second
	return slices.ContainsFunc(attempts, func(a result.Attempt) bool {
		after := reset.Sub(a.At)
		return a.Route == result.NMI && a.Yield != result.Refused && after >= 0 && after < soon
	})
}

// conclude is the end of the boot while there may be a suspicion. A boot that
// comes through once it was looked at may have been cured by the look: that
// shows when the capture is complete.
func (s *session) conclude(v verdict) (verdict, bool) {
	c := s.capture
	switch {
	case c == nil || !s.watch.Progress().After(c.since):
	case v.outcome == scenarios.Booted && c.to < 0 && !c.early:
		return verdict{}, false // the capture is bounded
	case v.outcome == scenarios.Booted && s.cured():
		return s.hung(v), true
	default:
		s.wentOn()
	}
	return v, true
}

func (s *session) hung(v verdict) verdict {
	st := s.capture.stall
	v.outcome, v.why, v.confidence, v.since = scenarios.Hung, st.Why, st.Confidence, s.capture.since
	return v
}

// wentOn records that the boot made progress after the suspicion.
func (s *session) wentOn() {
	c := s.capture
	c.stall.WentOn = true
	if c.to >= 0 { // it is in the Result already
		s.res.Stalls[len(s.res.Stalls)-1] = c.stall
	}
}

// withdraw takes a suspicion back.
func (s *session) withdraw(why string) {
	s.res.Stalls[len(s.res.Stalls)-1] = s.capture.stall
	s.capture.cancel()
	s.capture, s.before, s.view, s.users = nil, nil, nil, nil // what was seen has gone on
	s.watch.Withdraw()
	s.req.Observer.Phase(Booting, why)
}

func (s *session) suspect(ctx context.Context, d watch.Decision) {
	now := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	s.capture = &capture{
		stall: result.Stall{At: d.Since.Sub(s.start), Noticed: now.Sub(s.start), Why: d.Why, Confidence: d.Confidence, Idle: d.Idle, Repeated: max(0, s.g.console.Stats().Bytes-s.progressEnd)},
		since: d.Since, from: s.g.console.Stats().Bytes, to: -1, done: make(chan captured, 1), cancel: cancel,
	}
	c := s.capture
	c.early, c.question = d.Early, func(got captured) { go func() { c.done <- s.question(ctx, got) }() }
	if !c.early {
		s.req.Observer.Phase(Capturing, d.Why)
	}
	go func() { c.done <- s.ask(ctx, d) }()
}

// captures is the channel of the capture under way; nil, which blocks for ever,
// where there is none.
func (s *session) captures() <-chan captured {
	if s.capture == nil {
		return nil
	}
	return s.capture.done
}

func (s *session) captured(got captured) {
	c := s.capture
	if c.early {
		s.looked(got)
		return
	}
	c.to, c.finished = s.g.console.Stats().Bytes, time.Now()
	if got.view != nil {
		s.rename(got.registers, got.view.Offset)
	}
	c.stall.Registers, c.stall.Attempts = got.registers, got.attempts
	s.users, s.before = got.users, got.before
	if s.view = got.view; got.memory.Took > 0 {
		c.stall.Memory = &got.memory
	}
	s.res.Stalls = append(s.res.Stalls, c.stall)
	if !c.reset.IsZero() && !byNMI(got.attempts, c.reset) {
		s.watch.Reset(c.reset)
		c.reset = time.Time{}
	}
	for _, err := range got.errs {
		s.note("%v", err)
	}
	d := s.atCapture()
	if d.Cause == result.CauseForkBomb {
		got.works, got.reads = false, false // it works, and for nothing
	}
	if got.works || got.reads {
		s.watch.Works(c.finished)
		c.stall.Works = true
	}
	switch {
	case got.reads && !s.watch.Decide(c.finished).Late:
		s.withdraw("it is silent, but reads its disk")
		return
	case got.works && len(got.attempts) == 0:
		s.withdraw("it is silent, but its vCPUs work")
		return
	}
	confirm := s.watch.Limits().Confirm
	c.patience = max(confirm/2, confirm-c.finished.Sub(s.start)+c.stall.Noticed)
	why := c.stall.Why
	c.cause = s.undisturbed(d)
	if due := s.due(got, d); due > 0 {
		c.patience += due
		c.stall.Wake = due
		why = fmt.Sprintf("a timer is due in %s", due.Round(100*time.Millisecond))
	}
	s.res.Stalls[len(s.res.Stalls)-1] = c.stall
	s.req.Observer.Phase(Confirming, why)
}

// rename names the places anew in a kernel that was moved from where it was
// linked (KASLR): only its memory tells by how much.
func (s *session) rename(samples []result.CPUSample, offset uint64) {
	if offset == 0 || s.req.Symbols == nil {
		return
	}
	for i, r := range samples {
		samples[i].Symbol = ""
		if name, ok := s.req.Symbols(r.PC - offset); ok && !r.User {
			samples[i].Symbol = name
		}
	}
}

// due is in how long something will wake what the boot waits for. A hopeless
// wait is waited for only if it has a time-out of its own.
func (s *session) due(got captured, d result.Diagnosis) time.Duration {
	hold := s.res.Host.Limits.Hold
	if !hopeless(d) {
		due := max(got.wake, wakeIn(got.view, d.Chain, s.req.HZ, hold))
		if job := s.watch.JobDue(time.Now()); job <= hold {
			due = max(due, job)
		}
		return due
	}
	if d.Task == nil || d.Cause == result.CauseEntropy { // it looks again each second, for ever
		return 0
	}
	return wakeIn(got.view, []result.Link{{PID: d.Task.PID}}, s.req.HZ, hold)
}

// looked takes the early look at a busy guest: unless it computes nothing, the
// suspicion was none.
func (s *session) looked(got captured) {
	c, now := s.capture, time.Now()
	for _, err := range got.errs {
		s.note("%v", err)
	}
	if !got.frozen || s.watch.Progress().After(c.since) || !c.reset.IsZero() {
		c.cancel()
		s.capture = nil
		s.watch.Looked(now)
		if !c.reset.IsZero() {
			s.watch.Reset(c.reset)
		}
		return
	}
	c.early, c.from = false, s.g.console.Stats().Bytes
	c.stall.Noticed = now.Sub(s.start)
	s.req.Observer.Phase(Capturing, c.stall.Why)
	c.question(got)
}

// cancelCapture ends a capture that the verdict has overtaken, and waits for
// it, so that nothing uses the guest after the loop.
func (s *session) cancelCapture() {
	c := s.capture
	if c == nil {
		return
	}
	c.cancel()
	if c.early {
		<-c.done // it disturbed nothing: there is nothing to tell
	} else if c.to < 0 {
		s.captured(<-c.done)
	}
}
