package stall

import (
	"slices"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// Due is in how long something will wake what the boot waits for, by the diagnosis; 0
// for nothing within hold. job is when systemd ends the job that it waits for, 0 for
// none. A hopeless wait is waited for only if it has a time-out of its own.
func (f *Finding) Due(d result.Diagnosis, hz int, job, hold time.Duration) time.Duration {
	if hz == 0 && f.View != nil {
		hz = f.View.Hertz()
	}
	if !hopeless(d) {
		due := max(f.UserTimer, wakeIn(f.View, d.Chain, hz, hold))
		if job <= hold {
			due = max(due, job)
		}
		if f.View != nil && f.View.Alarm != "" { // of the real-time clock's alarm no more is known
			due = hold
		}
		return due
	}
	if d.Task == nil || d.Cause == result.CauseEntropy { // it looks again each second, for ever
		return 0
	}
	return wakeIn(f.View, []result.Link{{PID: d.Task.PID}}, hz, hold)
}

// hopeless says that a diagnosis names a cause that no timer will mend.
func hopeless(d result.Diagnosis) bool {
	return d.Confidence == result.Certain && d.Cause != result.CauseUserService
}

// wakeIn returns in how long the last of the timers goes off that will wake one
// of the tasks within limit; 0 for none. jiffies run at hz.
func wakeIn(v *guestmem.View, tasks []result.Link, hz int, limit time.Duration) time.Duration {
	if v == nil || hz <= 0 {
		return 0
	}
	tick := time.Second / time.Duration(hz)
	var last time.Duration
	for _, t := range v.Timers {
		if !slices.ContainsFunc(tasks, func(l result.Link) bool { return l.PID == t.PID }) {
			continue
		}
		due := int64(t.Jiffies - v.Jiffies)
		if t.Nanoseconds > 0 {
			due = (int64(t.Nanoseconds) - int64(model.SinceBoot(v.Jiffies, hz))) / int64(tick)
		}
		if due <= 0 || due > int64(limit/tick) {
			continue
		}
		last = max(last, time.Duration(due)*tick)
	}
	return last
}
