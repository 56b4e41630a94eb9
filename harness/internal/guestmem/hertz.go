package guestmem

import (
	"time"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// rates are the values that HZ can have on x86 and arm64 (kernel/Kconfig.hz).
var rates = []int{100, 250, 300, 1000}

// clocks is how far jiffies and the clock of hrtimers are apart at most, where a guest
// idles or has begun slowly.
const clocks = 20 * time.Second

// Hertz is how many jiffies the kernel counts in a second, by what its clocks say: they
// start at a value that depends on it, and the first hrtimer is due soon. 0 where more
// than one rate fits, or none.
func (v *View) Hertz() int {
	var first time.Duration
	for _, e := range v.Events {
		if d := time.Duration(e.Nanoseconds); d > 0 && (first == 0 || d < first) {
			first = d
		}
	}
	if first == 0 || v.Jiffies == 0 {
		return 0
	}
	found := 0
	for _, hz := range rates {
		if up := model.SinceBoot(v.Jiffies, hz); up < 0 || up < first-clocks || up > first+clocks {
			continue
		}
		if found != 0 {
			return 0
		}
		found = hz
	}
	return found
}
