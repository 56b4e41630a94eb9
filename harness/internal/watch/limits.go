package watch

import (
	"time"

	"github.com/unwedge/unwedge/harness/result"
)

// DefaultUnit is used where nothing was measured yet: a stock kernel under TCG
// on a slow core.
const DefaultUnit = 10 * time.Second

// Scale makes the limits. Each is a multiple of the measured unit with a floor
// for what does not scale with the CPU (timers, human patience), and never less
// than a few times the longest gap that a good boot has shown.
func Scale(r result.Reference) result.Limits {
	u := r.Unit
	if u <= 0 {
		u = DefaultUnit
	}
	idle := max(5*time.Second, u, 3*r.IdleGap)
	return result.Limits{
		Start:    max(8*time.Second, 3*u),
		Idle:     idle,
		Look:     idle * 3 / 5,
		Busy:     max(30*time.Second, 8*u, 3*r.BusyGap),
		Confirm:  max(2*time.Second, idle/2),
		Settle:   max(500*time.Millisecond, u/10),
		Hold:     35 * time.Second,
		Deadline: max(2*time.Minute, 90*u),
	}
}
