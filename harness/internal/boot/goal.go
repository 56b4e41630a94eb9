package boot

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/scenarios"
)

// goal is a sign that the guest has booted which must be looked for from time to time.
// The zero goal needs no looking.
type goal struct {
	every   time.Duration
	see     func(ctx context.Context, w *watcher) (why string, err error) // "" where it is not there yet
	next    time.Time
	looking bool
	cancel  context.CancelFunc
	failed  bool // it was noted that it cannot be looked for
}

// lookFor bounds one look.
const lookFor = 15 * time.Second

// seek makes the goal of a sign.
func seek(s scenarios.Sign) goal {
	switch make := goals[s.Kind]; {
	case make != nil:
		return make(s.Value)
	default:
		return goal{}
	}
}

var goals = map[scenarios.SignKind]func(value string) goal{
	scenarios.ByTCP: func(v string) goal {
		port, err := strconv.Atoi(v)
		if err != nil { // Validate refuses it
			return goal{}
		}
		return goal{every: time.Second, see: func(ctx context.Context, w *watcher) (string, error) {
			open, err := w.guest.Answers(ctx, port)
			if err != nil || !open {
				return "", err
			}
			return fmt.Sprintf("the guest takes connections on TCP port %d", port), nil
		}}
	},
	scenarios.ByTask: func(v string) goal {
		return goal{every: 2 * time.Second, see: func(ctx context.Context, w *watcher) (string, error) { return w.runs(ctx, v) }}
	},
}

// runs looks for a task in the guest's memory.
func (w *watcher) runs(ctx context.Context, name string) (string, error) {
	if w.Image.Look == nil {
		return "", fmt.Errorf("look for the task %s: nothing is known of the kernel's memory", name)
	}
	ram, registers, err := w.guest.Memory(ctx)
	if err != nil {
		return "", err
	}
	v, err := w.Image.Look(ctx, ram, registers)
	if err != nil || v == nil {
		return "", err
	}
	for _, t := range v.Tasks {
		if t.Comm == name && t.PID > 0 {
			return fmt.Sprintf("the task %s (PID %d) runs", console.Sanitize(name), t.PID), nil
		}
	}
	return "", nil
}

// look begins a look where one is due.
func (g *goal) look(ctx context.Context, w *watcher, now time.Time) {
	if g.see == nil || g.looking || now.Before(g.next) || w.ended {
		return
	}
	ctx, g.cancel = context.WithTimeout(ctx, lookFor)
	g.looking = true
	w.loop.Go(func() func() {
		why, err := g.see(ctx, w)
		return func() {
			g.cancel()
			g.looking, g.next = false, time.Now().Add(g.every)
			switch {
			case why != "":
				w.tracker.Reach(time.Now(), why)
			case err != nil && ctx.Err() == nil && !g.failed && w.record.Stage != "":
				g.failed = true // before the kernel runs nothing can be read
				w.record.note("%v", err)
			}
		}
	})
}

// callOff ends a look.
func (g *goal) callOff() {
	if g.looking {
		g.cancel()
	}
}
