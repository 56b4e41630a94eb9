package sysrq_test

import (
	"slices"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/sysrq"
)

// The text is what Debian's 6.1 printed.
const timers = `[   20.431000] active timers:
[   20.431001]  #0: <(____ptrval____)>, tick_sched_timer, S:01
[   20.431002]  # expires at 20436000000-20436000000 nsecs [in 1234 to 1234 nsecs]
[   20.431003]  #1: <(____ptrval____)>, hrtimer_wakeup, S:01
[   20.431004]  # expires at 50436000000-50436050000 nsecs [in 30000000000 to 30000050000 nsecs]
[   20.431005]  #2: <(____ptrval____)>, timerfd_tmrproc, S:01
[   20.431006]  # expires at 20436000000-20436000000 nsecs [in -5 to -1 nsecs]
[   20.431007]  #3: <(____ptrval____)>, sched_rt_period_timer, S:01
[   20.431008]  # expires at 21436000000-21436000000 nsecs [in 1000000000 to 1000000000 nsecs]
`

func TestUserTimersAreToldFromTheKernels(t *testing.T) {
	got := sysrq.UserTimers([]byte(timers))
	if want := []time.Duration{30000050000, -1}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, torn := range []string{"", "hrtimer_wakeup\nnsecs [in ", "hrtimer_wakeup\nnsecs [in x to y nsecs]", "nsecs [in 1 to 2 nsecs]"} {
		if got := sysrq.UserTimers([]byte(torn)); len(got) != 0 {
			t.Errorf("UserTimers(%q) = %v, want nothing", torn, got)
		}
	}
}
