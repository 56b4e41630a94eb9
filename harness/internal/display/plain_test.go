package display

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// CI systems end a job that prints nothing for ten minutes.
func TestWhatTakesLongSaysHowFarItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := New(&out, false)
		task := p.Task("download demo", 4<<20)
		task.Add(1 << 20)
		task.Note("demo.deb")
		time.Sleep(2*time.Minute + time.Second)
		task.Done(nil)
		short := p.Task("short", 0)
		time.Sleep(59 * time.Second)
		short.Done(nil)
		row := p.Boot("demo/x86_64")
		time.Sleep(time.Minute + time.Second)
		row.End()
		time.Sleep(10 * time.Minute)
		got := strings.Split(strings.TrimSpace(out.String()), "\n")
		want := []string{
			"download demo ...", "download demo: 1m0s, 25% of 4.0 MiB, demo.deb", "download demo: 2m0s, 25% of 4.0 MiB, demo.deb", "download demo: done in 2m1s",
			"short ...", "short: done in 59s", "demo/x86_64  60.0 s",
		}
		if len(got) != len(want) {
			t.Fatalf("%d lines, want %d:\n%s", len(got), len(want), out.String())
		}
		for i := range want {
			if !strings.HasPrefix(strings.Join(strings.Fields(got[i]), " "), strings.Join(strings.Fields(want[i]), " ")) {
				t.Errorf("line %d: %q, want %q", i+1, got[i], want[i])
			}
		}
	})
}
