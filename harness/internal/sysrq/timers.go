package sysrq

import (
	"bytes"
	"strconv"
	"time"
)

// userTimers are the functions of the hrtimers that user space arms: sleeps and
// time-outs (hrtimer_wakeup), timerfd, POSIX timers, alarm. Timers of the
// kernel's own wake nobody that the boot waits for. Source: kernel/time/
// hrtimer.c, posix-timers.c, itimer.c, fs/timerfd.c.
var userTimers = [][]byte{
	[]byte("hrtimer_wakeup"), []byte("timerfd_tmrproc"), []byte("posix_timer_fn"), []byte("it_real_fn"),
}

// UserTimers reads what sysrq q printed and returns in how much guest time each
// hrtimer that user space armed was due (kernel/time/timer_list.c,
// print_timer: a line with the function, then one with
// "expires at A-B nsecs [in C to D nsecs]").
func UserTimers(text []byte) []time.Duration {
	var due []time.Duration
	user := false
	for line := range bytes.Lines(text) {
		if _, rest, ok := bytes.Cut(line, []byte("nsecs [in ")); ok {
			if d, ok := latest(rest); ok && user {
				due = append(due, d)
			}
			user = false
			continue
		}
		for _, f := range userTimers {
			user = user || bytes.Contains(line, f)
		}
	}
	return due
}

// latest reads "C to D nsecs]" and returns D.
func latest(rest []byte) (time.Duration, bool) {
	f := bytes.Fields(rest)
	if len(f) < 3 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(f[2]), 10, 64)
	return time.Duration(n), err == nil
}
