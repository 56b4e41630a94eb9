// Package events is the one loop over what a live guest does: console lines, the
// agent's reports, QEMU's events, the clock, and the end of work that goes on beside.
// All of it is handed to a Handler from one goroutine, so that a Handler needs no
// locks.
package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/images/agentproto"
)

// Tick is how often a Handler is asked for its decision when nothing happens.
const Tick = 250 * time.Millisecond

// Handler takes what happens. It must not block; work that takes time is given to
// Loop.Go.
type Handler interface {
	// Line is a whole console line. agent says that it is a report of the agent, which
	// Report or Unreadable then gets too.
	Line(l console.Line, agent bool)
	// Report is a report of the agent, which came over virtio-serial or the console.
	Report(r agentproto.Report)
	// Unreadable is a report that could not be read.
	Unreadable(err error)
	// Event is one of QEMU's events; an error ends the loop.
	Event(ctx context.Context, e qmp.Event) error
	// Tick comes once every Tick.
	Tick(now time.Time)
	// Over is asked after each of the others whether the loop has done its work.
	Over(ctx context.Context, now time.Time) bool
}

// Guest is what the loop reads.
type Guest interface {
	Console() *console.Recorder
	QMP() *qmp.Conn
	// Events are closed when the connection of QMP ends.
	Events() <-chan qmp.Event
	// Done is closed when QEMU has ended, Ended says how.
	Done() <-chan struct{}
	Ended() error
	// OrDead prefers QEMU's end to the error that it caused.
	OrDead(err error) error
	// Reports gives each report of the agent to f, until CloseAgent or the end.
	Reports(f func(agentproto.Report, error))
	CloseAgent()
}

// Loop reads a guest. One Handler after the other may Run on it; what happens while
// none does waits for the next, within bounds.
type Loop struct {
	guest   Guest
	lines   chan console.Line // nil once the console has ended
	reports chan agentproto.Report
	bad     chan error
	done    chan func() // what is to be done when work beside the loop has ended
	working int         // how much of it has not
	fed     int64       // console offset up to which lines were handed on

	cancel  context.CancelFunc
	readers sync.WaitGroup
}

// Start begins to read a guest, until Close.
func Start(ctx context.Context, g Guest) *Loop {
	ctx, cancel := context.WithCancel(ctx)
	l := &Loop{
		guest: g, cancel: cancel, lines: make(chan console.Line, 256), reports: make(chan agentproto.Report, 16),
		bad: make(chan error, 16), done: make(chan func()),
	}
	l.readers.Go(func() { l.readConsole(ctx, l.lines) })
	l.readers.Go(func() { l.readAgent(ctx) })
	return l
}

// Close ends the reading and waits for it.
func (l *Loop) Close() {
	l.cancel()
	l.guest.CloseAgent() // ends its reader
	l.readers.Wait()
}

// Go does work beside the loop. What it returns is called on the loop, or by Wait.
// It is called on the loop's goroutine.
func (l *Loop) Go(work func() (then func())) {
	l.working++
	go func() { l.done <- work() }()
}

// Wait waits for all work that was begun, and lets it finish.
func (l *Loop) Wait() {
	for l.working > 0 {
		l.finish(<-l.done)
	}
}

func (l *Loop) finish(then func()) {
	l.working--
	if then != nil {
		then()
	}
}

// Run hands h what happens until it is over, and returns nil then. Its error is the
// context's cause, or why nothing more is to be learnt of the guest: QEMU has ended,
// or its monitor is lost.
func (l *Loop) Run(ctx context.Context, h Handler) error {
	ticker := time.NewTicker(Tick)
	defer ticker.Stop()
	for {
		if err := l.take(ctx, ticker.C, h); err != nil {
			return err
		}
		if h.Over(ctx, time.Now()) {
			return nil
		}
	}
}

// take waits for one thing to happen.
func (l *Loop) take(ctx context.Context, tick <-chan time.Time, h Handler) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case line, open := <-l.lines:
		if !open {
			l.lines = nil // QEMU's exit is what counts
			return nil
		}
		l.line(line, h)
	case r := <-l.reports:
		l.CatchUp(h) // the console first: what it shows came before the report
		h.Report(r)
	case err := <-l.bad:
		h.Unreadable(err)
	case e, open := <-l.guest.Events():
		if !open {
			return fmt.Errorf("the QMP connection was lost: %w", l.guest.OrDead(l.guest.QMP().Err()))
		}
		return h.Event(ctx, e)
	case <-l.guest.Done():
		return fmt.Errorf("QEMU exited unexpectedly: %w", l.guest.Ended())
	case then := <-l.done:
		l.finish(then)
	case now := <-tick:
		h.Tick(now)
	}
	return nil
}

// line hands on a line that was not yet, or the report that is in it.
func (l *Loop) line(line console.Line, h Handler) {
	if line.Offset < l.fed {
		return
	}
	l.fed = line.End
	agent := bytes.Contains(line.Text, []byte(agentproto.Prefix))
	h.Line(line, agent)
	if !agent {
		return
	}
	if r, err := agentproto.Parse(line.Text); err == nil {
		h.Report(r)
	} else {
		h.Unreadable(fmt.Errorf("on the console: %w", err))
	}
}

// CatchUp hands h all whole lines that the guest has printed by now.
func (l *Loop) CatchUp(h Handler) {
	l.guest.Console().Sync()
	lines, _ := l.guest.Console().Since(l.fed)
	for _, line := range lines {
		l.line(line, h)
	}
}

// Skip passes over all that has happened and was not handed on.
func (l *Loop) Skip() {
	l.guest.Console().Sync()
	l.fed = l.guest.Console().Stats().Bytes
	for {
		select {
		case <-l.reports:
		case <-l.bad: //nolint:errcheck // it is one that is passed over
		case _, open := <-l.guest.Events():
			if !open {
				return // Run will tell
			}
		default:
			return
		}
	}
}

// Drain hands h the reports that have come, until none has come for quiet.
func (l *Loop) Drain(ctx context.Context, h Handler, quiet time.Duration) {
	l.CatchUp(h)
	for {
		select {
		case r := <-l.reports:
			h.Report(r)
		case _, open := <-l.lines: // handed on
			if !open {
				l.lines = nil
			}
		case <-time.After(quiet):
			return
		case <-ctx.Done():
			return
		}
	}
}

func (l *Loop) readConsole(ctx context.Context, to chan<- console.Line) {
	defer close(to)
	cur := l.guest.Console().Lines(0)
	for {
		line, err := cur.Next(ctx)
		if err != nil { // io.EOF or the context's
			if !errors.Is(err, io.EOF) && ctx.Err() == nil {
				l.unreadable(ctx, fmt.Errorf("read console: %w", err))
			}
			return
		}
		select {
		case to <- line:
		case <-ctx.Done():
			return
		}
	}
}

func (l *Loop) readAgent(ctx context.Context) {
	l.guest.Reports(func(r agentproto.Report, err error) {
		if err != nil {
			l.unreadable(ctx, err)
			return
		}
		select {
		case l.reports <- r:
		case <-ctx.Done():
		}
	})
}

func (l *Loop) unreadable(ctx context.Context, err error) {
	select {
	case l.bad <- err:
	case <-ctx.Done():
	}
}
