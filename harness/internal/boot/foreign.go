package boot

import (
	"context"
	"time"

	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/scenarios"
)

// statusRunning is QEMU's word for a guest whose vCPUs run (qapi/run-state.json).
const statusRunning = "running"

// endings are QEMU's words for a guest that has come to its end, and stands still for
// it.
var endings = map[string]scenarios.Outcome{
	"shutdown": scenarios.Stopped, "guest-panicked": scenarios.Panicked,
}

// attach finds out whether a guest that somebody else started runs. It may have ended
// before.
func (w *watcher) attach(ctx context.Context) error {
	if w.Foreign == nil {
		return nil
	}
	var st struct {
		Status string `json:"status"`
	}
	if err := w.guest.QMP().Execute(ctx, "query-status", nil, &st); err != nil {
		return err
	}
	if st.Status != statusRunning {
		w.stands(w.start, st.Status)
	}
	return nil
}

// stands takes that the guest's vCPUs were stopped. The harness stops its own guests
// for moments only; those of somebody else are waited for.
func (w *watcher) stands(now time.Time, status string) {
	if w.Foreign == nil || status == statusRunning {
		return
	}
	switch endings[status] {
	case scenarios.Stopped:
		w.tracker.Shutdown(now, "the guest has powered off")
	case scenarios.Panicked:
		w.tracker.GuestPanicked(now)
	default:
		if w.paused.IsZero() {
			w.paused = now
			w.tracker.Stands()
		}
	}
}

// resumed takes that they run again.
func (w *watcher) resumed(now time.Time) {
	if w.paused.IsZero() {
		return
	}
	stood := now.Sub(w.paused)
	w.paused, w.waiting = time.Time{}, false
	w.tracker.Stood(stood)
	if s := w.suspicion; s != nil {
		s.since = s.since.Add(stood)
		if s.explained() {
			s.finished = s.finished.Add(stood)
		}
	}
}

// tell is how long a guest stands still before that is told: a snapshot or a look at it
// takes less.
const tell = 2 * time.Second

// waits is the answer to whether the watching is over while the guest stands still: not
// before the deadline.
func (w *watcher) waits(now time.Time) bool {
	stood := now.Sub(w.paused)
	if !w.waiting && stood >= tell && w.suspicion == nil {
		w.waiting = true
		w.Observer.Phase(Waiting, "the guest is paused")
	}
	if stood < w.Limits.Deadline {
		return false
	}
	w.err = usage.Errorf("the guest has been paused for %s: let it go on, or read it as it is with `unwedge inspect`", stood.Round(time.Second))
	return true
}
