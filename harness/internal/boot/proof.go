package boot

import (
	"context"
	"slices"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/proof"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/internal/watch"
)

// The times of a search for a proof: how long the guest must have rested, and how far
// apart two searches are.
const (
	proofRest  = 500 * time.Millisecond
	proofEvery = time.Second
)

// The proofs in short.
const (
	closed = "no task can run, only housekeeping is due, and no device owes an answer"
	looped = "every vCPU is in a loop that never ends"
)

// search looks for a proof that a guest can make no progress any more: one that rests
// without stopping it, one that spins by stepping it. The zero search looks for nothing.
type search struct {
	on      bool // nobody outside can wake it
	steps   bool // its vCPUs can be stepped
	next    time.Time
	looking bool
	cancel  context.CancelFunc
	proven  []string // what the proof rests on
	open    string   // what may still come, by the last search
}

// newSearch begins where nobody outside can wake the guest: not where it has a network,
// devices that are not known, or somebody at its console. Nor where its memory shows that
// it has booted, for then it may rest, and that is looked for now and then.
func newSearch(o Options, g goal) search {
	sc := o.Machine.Scenario
	return search{steps: o.Stub != nil, on: g.see == nil && o.Foreign == nil && o.Image.Look != nil && !sc.Network && !sc.BootDisk && len(sc.Devices)+len(sc.QEMUArgs) == 0}
}

// look begins a search where one is due.
func (s *search) look(ctx context.Context, w *watcher, now time.Time) {
	if s.looking || now.Before(s.next) || w.ended || w.suspicion != nil {
		return
	}
	var way func(context.Context, *watcher) proof.Answer
	var short string
	switch {
	case s.on && w.tracker.Rests(now) >= proofRest:
		way, short = s.rest, closed
	case s.steps && w.tracker.Spins(now) >= spinFor:
		way, short = s.spin, looped
	default:
		return
	}
	since := w.tracker.Progress()
	ctx, s.cancel = context.WithTimeout(ctx, lookFor)
	s.looking = true
	w.loop.Go(func() func() {
		got := way(ctx, w)
		return func() {
			over := ctx.Err() != nil
			s.cancel()
			s.looking, s.next = false, time.Now().Add(proofEvery)
			if over {
				return
			}
			s.open = got.Why
			if got.Closed {
				s.proven = got.Facts
				w.tracker.Proven(since, short)
			}
		}
	})
}

// rest takes two looks at a guest that idles. A vCPU that waits for the host's CPU between
// them may have something to do that it has not begun.
func (s *search) rest(ctx context.Context, w *watcher) proof.Answer {
	within := w.Limits.Hold
	first := w.glance(ctx)
	begun := proof.Judge(first, within)
	if !begun.Closed {
		return begun
	}
	meter := w.meter.Again()
	select {
	case <-ctx.Done():
		return proof.Answer{Why: context.Cause(ctx).Error()}
	case <-time.After(begun.Apart):
	}
	busy := func(l vcpu.Load) bool { return l.Busy >= watch.IdleShare }
	if slices.ContainsFunc(meter.Loads(), busy) {
		return proof.Answer{Why: "a vCPU is busy"}
	}
	return proof.Both(first, w.glance(ctx), within)
}

// glance looks at the guest.
func (w *watcher) glance(ctx context.Context) proof.Look {
	l := proof.Look{HZ: w.Image.Hertz()}
	if l.Owed, l.Err = proof.Owed(ctx, w.guest.QMP()); l.Err != nil {
		return l // its memory need not be read
	}
	ram, registers, err := w.guest.Memory(ctx)
	if err == nil {
		l.View, err = w.Image.Look(ctx, ram, registers)
	}
	l.Err = err
	if l.HZ == 0 && l.View != nil {
		l.HZ = l.View.Hertz()
	}
	return l
}

// facts are those of a proven stall.
func (s *search) facts(d watch.Decision) []string {
	if !d.Proven {
		return nil
	}
	facts := make([]string, len(s.proven))
	for i, f := range s.proven {
		facts[i] = console.Sanitize(f)
	}
	return facts
}

// unproven is what may still come, where the stall is not proven.
func (s *search) unproven(d watch.Decision) string {
	if d.Proven {
		return ""
	}
	return console.Sanitize(s.open)
}

// callOff ends a search.
func (s *search) callOff() {
	if s.looking {
		s.cancel()
	}
}
