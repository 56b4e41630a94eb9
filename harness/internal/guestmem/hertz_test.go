package guestmem_test

import (
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/model"
)

func TestHertz(t *testing.T) {
	view := func(hz int, up, first time.Duration) *guestmem.View {
		return &guestmem.View{
			Jiffies: uint64(uint32(-300*hz)) + uint64(up.Seconds()*float64(hz)),
			Events:  []model.Event{{Jiffies: 7}, {Nanoseconds: int64(time.Hour)}, {Nanoseconds: int64(first)}},
		}
	}
	for _, hz := range []int{100, 250, 300, 1000} {
		for _, up := range []time.Duration{200 * time.Millisecond, 5 * time.Second, 60 * time.Second} {
			if got := view(hz, up, up+3*time.Second).Hertz(); got != hz {
				t.Errorf("HZ %d after %s: %d", hz, up, got)
			}
		}
	}
	for name, v := range map[string]*guestmem.View{
		"clocks that do not fit": view(250, 5*time.Second, 90*time.Second),
		"two rates that fit":     view(250, 200*time.Second, 200*time.Second),
		"no timers":              {Jiffies: 1 << 32},
		"no jiffies":             {Events: []model.Event{{Nanoseconds: 1}}},
	} {
		if got := v.Hertz(); got != 0 {
			t.Errorf("%s: %d", name, got)
		}
	}
}
