package qemu

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// ErrUnkillable is returned by Stop when the child has not ended even after
// SIGKILL: it hangs in the host's kernel. It is killed as soon as it leaves.
var ErrUnkillable = errors.New("process does not die")

// Grace is how long each step of Stop may take. Zero fields mean the default.
type Grace struct {
	Quit time.Duration // for QMP quit; 2 s
	Term time.Duration // after SIGTERM; 2 s
	Kill time.Duration // after SIGKILL; 5 s
}

func (g Grace) withDefaults() (Grace, error) {
	for _, f := range []struct {
		d    *time.Duration
		zero time.Duration
	}{{&g.Quit, 2 * time.Second}, {&g.Term, 2 * time.Second}, {&g.Kill, 5 * time.Second}} {
		if *f.d < 0 {
			return g, fmt.Errorf("grace of %v is negative", *f.d)
		}
		if *f.d == 0 {
			*f.d = f.zero
		}
	}
	return g, nil
}

// Rung is a step of Stop.
type Rung string

// The steps of Stop in their order.
const (
	Already Rung = "ended before" // nothing had to be done
	Quit    Rung = "quit"
	Term    Rung = "SIGTERM"
	Kill    Rung = "SIGKILL"
)

// Stop ends the child and waits for its end: by quit (QMP's, normally; nil
// for none), by SIGTERM, by SIGKILL to its process group, each within its
// Grace. It returns how the child ended and which step did it.
//
// When ctx ends Stop goes to SIGKILL at once, so that it leaves nothing
// behind; it may then take Grace.Kill more, no longer. The error is
// ErrUnkillable, or the host's that Wait gives.
func (p *Process) Stop(ctx context.Context, quit func(context.Context) error) (Exit, Rung, error) {
	by := Already
	if !p.ended() && quit != nil {
		by = Quit
		p.quit(ctx, quit)
	}
	if !p.ended() && ctx.Err() == nil {
		by = Term
		if p.Signal(syscall.SIGTERM) == nil {
			p.await(ctx, p.grace.Term)
		}
	}
	if !p.ended() {
		by = Kill
		_ = p.Kill() // fails only when it has just ended, which await sees
		if !p.await(context.WithoutCancel(ctx), p.grace.Kill) {
			return Exit{}, Kill, fmt.Errorf("stop %s (pid %d): %w within %v of SIGKILL", p.name, p.Pid(), ErrUnkillable, p.grace.Kill)
		}
	}
	exit, err := p.Wait(context.WithoutCancel(ctx)) // it has ended
	return exit, by, err
}

// quit runs the caller's quit and waits for its effect. It is bounded even
// when quit is not.
func (p *Process) quit(ctx context.Context, quit func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answer := make(chan error, 1)
	go func() { answer <- quit(ctx) }()
	limit := p.clock.After(p.grace.Quit)
	for {
		select {
		case <-p.done:
			return
		case <-limit:
			return
		case <-ctx.Done():
			return
		case err := <-answer:
			if err != nil {
				return // quit did not work
			}
			answer = nil
		}
	}
}

// await says whether the child has ended within d and ctx.
func (p *Process) await(ctx context.Context, d time.Duration) bool {
	select {
	case <-p.done:
	case <-p.clock.After(d):
	case <-ctx.Done():
	}
	return p.ended()
}

func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
