package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/internal/watch"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
)

// session is one boot from `cont` to the verdict: a single loop that takes what
// happens and asks the watch's Tracker what it means.
type session struct {
	req   Request
	g     *guest
	watch *watch.Tracker
	meter *vcpu.Meter
	start time.Time
	res   *result.Result

	lines   chan console.Line
	reports chan agentproto.Report
	bad     chan error

	capture *capture       // the one under way or being confirmed
	before  *guestmem.View // of the last capture, before its sysrq keys
	view    *guestmem.View // of the last capture
	users   []guestmem.UserStack

	unprobed    *console.Stats // the console's before the probes; nil: there were none
	progressEnd int64          // the console's length at the last line that was progress
}

// verdict is how the loop ended.
type verdict struct {
	outcome    scenarios.Outcome
	why        string
	confidence result.Confidence
	at         time.Time
	since      time.Time // of the last progress
}

// run lets the guest go and watches it to the verdict.
func (s *session) run(ctx context.Context) (verdict, error) {
	ctx, cancel := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	defer s.g.agent.Close() // ends its reader
	s.lines, s.reports, s.bad = make(chan console.Line, 256), make(chan agentproto.Report, 16), make(chan error, 16)
	readers.Go(func() { s.readConsole(ctx) })
	readers.Go(func() { s.readAgent(ctx) })
	if err := s.begin(ctx); err != nil {
		return verdict{}, err
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	defer s.cancelCapture()
	for {
		if err := s.take(ctx, ticker.C); err != nil {
			return verdict{}, err
		}
		if v, over := s.judge(ctx, time.Now()); over {
			return v, s.experiment(ctx, v)
		}
	}
}

// begin starts the guest's clock and the watch's.
func (s *session) begin(ctx context.Context) error {
	cpus, err := vcpu.List(ctx, s.g.qmp)
	if err != nil {
		return s.g.orDead(err)
	}
	var kvm result.QueryKVM
	if err := s.g.qmp.Execute(ctx, "query-kvm", nil, &kvm); err != nil {
		return s.g.orDead(err)
	}
	s.res.Host.QueryKVM = &kvm
	s.start = time.Now() // before the guest's first line
	if err := s.g.qmp.Execute(ctx, "cont", nil, nil); err != nil {
		return s.g.orDead(err)
	}
	s.meter = vcpu.NewMeter(s.g.proc.Pid(), cpus, time.Now)
	s.watch = watch.New(s.res.Host.Limits, s.req.Machine.Scenario.BootedStage(), s.start)
	s.req.Observer.Phase(Booting, "")
	return nil
}

// take waits for one thing to happen and tells the watch.
func (s *session) take(ctx context.Context, tick <-chan time.Time) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case l, open := <-s.lines:
		if !open {
			s.lines = nil // the console has ended; QEMU's exit is what counts
			return nil
		}
		s.line(l)
	case r := <-s.reports:
		s.report(r)
	case err := <-s.bad:
		s.note("an agent report could not be read: %v", err)
	case e, open := <-s.g.events.C:
		if !open {
			return fmt.Errorf("the QMP connection was lost: %w", s.g.orDead(s.g.qmp.Err()))
		}
		return s.event(ctx, e)
	case <-s.g.proc.Done():
		return fmt.Errorf("QEMU ended by itself: %w", s.g.ended())
	case c := <-s.captures():
		s.captured(c)
		if c.lost != nil { // a guest cannot silence QEMU's monitor
			return fmt.Errorf("QEMU's monitor was lost: %w", s.g.orDead(c.lost))
		}
	case <-tick:
		s.watch.VCPUs(time.Now(), s.meter.Sample())
		if s.g.console.Stats().Bytes > 0 {
			s.watch.Bytes()
		}
	}
	return nil
}

func (s *session) line(l console.Line) {
	if i := bytes.Index(l.Text, []byte(agentproto.Prefix)); i >= 0 {
		if r, err := agentproto.Parse(l.Text); err == nil {
			s.report(r)
		} else {
			s.note("an agent report on the console could not be read: %v", err)
		}
		return
	}
	c := s.capture
	s.watch.Capturing(c != nil && !c.early && l.Offset >= c.from && (c.to < 0 || l.Offset < c.to))
	s.watch.Line(l.At, l.Text)
	if !s.watch.Progress().Before(l.At) {
		s.progressEnd = l.End
	}
	if t, ok := guestTime(l.Text); ok {
		s.res.Times.Guest = t
	}
	s.req.Observer.Line(l)
}

func (s *session) report(r agentproto.Report) {
	now := time.Now()
	if len(s.res.Reports) == 0 {
		s.res.Times.FirstReport = now.Sub(s.start)
	}
	if len(s.res.Reports) < 256 { // a hostile guest may send for ever
		s.res.Reports = append(s.res.Reports, r)
	}
	s.res.Stage = r.Stage
	s.watch.Report(now, r)
	s.progressEnd = s.g.console.Stats().Bytes
	s.req.Observer.Report(r)
}

// event tells the watch what QEMU says (qapi/run-state.json).
func (s *session) event(ctx context.Context, e qmp.Event) error {
	now := time.Now()
	if len(s.res.Events) < 1000 {
		s.res.Events = append(s.res.Events, result.Event{At: now.Sub(s.start), Name: e.Name, Data: e.Data})
	}
	var data struct {
		Guest  bool   `json:"guest"`
		Reason string `json:"reason"`
	}
	if len(e.Data) > 0 {
		if err := json.Unmarshal(e.Data, &data); err != nil {
			s.note("QMP event %s could not be read: %v", e.Name, err)
		}
	}
	switch e.Name {
	case "SHUTDOWN":
		if !data.Guest {
			return fmt.Errorf("QEMU was told to end: %s", data.Reason)
		}
		s.watch.Shutdown(now, "the guest powered off ("+data.Reason+")")
	case "RESET":
		if data.Guest {
			s.guestReset(now)
		}
	case "GUEST_PANICKED":
		s.watch.GuestPanicked(now)
	case "STOP":
		return s.stopped(ctx)
	}
	return nil
}

// guestReset takes a reset of the guest's. While it is looked at, that may be
// the look's doing, which shows when the capture is complete.
func (s *session) guestReset(now time.Time) {
	c := s.capture
	if c == nil || c.to >= 0 && !byNMI(c.stall.Attempts, now) {
		s.watch.Reset(now)
	} else if c.reset.IsZero() {
		c.reset = now
	}
}

// stopped finds out why QEMU stopped the vCPUs: after a power-off it is meant
// to, on an error of its own it is not.
func (s *session) stopped(ctx context.Context) error {
	var st struct {
		Status string `json:"status"`
	}
	if err := s.g.qmp.Execute(ctx, "query-status", nil, &st); err != nil {
		return s.g.orDead(err)
	}
	switch st.Status {
	case "internal-error", "io-error":
		return fmt.Errorf("QEMU stopped the guest because of an error of its own: %s", st.Status)
	}
	return nil
}

// judge asks the watch, and carries a suspicion through capture and
// confirmation.
func (s *session) judge(ctx context.Context, now time.Time) (verdict, bool) {
	d := s.watch.Decide(now)
	v := verdict{outcome: d.Outcome, why: d.Why, confidence: d.Confidence, at: now, since: d.Since}
	c := s.capture
	if c != nil && c.to >= 0 && !c.reset.IsZero() {
		s.note("the NMI that was to ask the guest where it is reset it: the kernel had no handler for it yet")
		return s.hung(v), true
	}
	if d.State == watch.Over {
		return s.conclude(v)
	}
	switch {
	case c == nil && d.State == watch.Suspect:
		s.suspect(ctx, d)
	case c == nil, c.to < 0: // nothing to confirm yet
	case s.watch.Progress().After(c.since) && !s.cured():
		s.wentOn()
		s.withdraw("it went on")
	case now.Sub(c.finished) >= c.patience:
		return s.hung(v), true
	}
	return verdict{}, false
}

func (s *session) readConsole(ctx context.Context) {
	defer close(s.lines)
	cur := s.g.console.Lines(0)
	for {
		l, err := cur.Next(ctx)
		if err != nil { // io.EOF or the context's
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				s.send(ctx, fmt.Errorf("read console: %w", err))
			}
			return
		}
		select {
		case s.lines <- l:
		case <-ctx.Done():
			return
		}
	}
}

func (s *session) readAgent(ctx context.Context) {
	s.g.reports(func(r agentproto.Report, err error) {
		if err != nil {
			s.send(ctx, err)
			return
		}
		select {
		case s.reports <- r:
		case <-ctx.Done():
		}
	})
}

func (s *session) send(ctx context.Context, err error) {
	select {
	case s.bad <- err:
	case <-ctx.Done():
	}
}

// note adds a note for the reader, not without end.
func (s *session) note(format string, args ...any) {
	if len(s.res.Notes) < 50 {
		s.res.Notes = append(s.res.Notes, console.SanitizeMax(fmt.Sprintf(format, args...), 400))
	}
}

// noteOnce adds a note that is not there yet.
func (s *session) noteOnce(text string) {
	if !slices.Contains(s.res.Notes, text) {
		s.note("%s", text)
	}
}
