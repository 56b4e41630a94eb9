package session

import (
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/bisect"
)

// A person sees how many steps are left, and, once there is something to go by, how
// long they take.
func TestTeller(t *testing.T) {
	var now time.Time
	var said []string
	tell := newTeller(func(line string) { said = append(said, line) }, func() time.Time { return now })
	c := bisect.Candidate{ID: "1", Name: "a", About: "x"}
	boot := &bisect.Boot{Took: 10 * time.Second}
	for _, e := range []struct {
		bisect.Event
		after time.Duration
		want  string
	}{
		{bisect.Event{Doing: "build", Candidate: c}, 0, ""},
		{bisect.Event{Step: &bisect.Step{Candidate: c, Verdict: "bad", Why: "hang", Boot: boot, Left: 64, Steps: 6}}, 10 * time.Minute, `bad    a ("x"): hang in 10.0 s  (64 left; roughly 6 steps)`},
		{bisect.Event{Step: &bisect.Step{Candidate: c, Verdict: "good", Why: "booted", Boot: boot, Left: 64, Steps: 6}}, time.Minute, `good   a ("x"): booted in 10.0 s  (64 left; roughly 6 steps)`},
		{bisect.Event{Step: &bisect.Step{Candidate: c, Verdict: "good", Why: "booted", Boot: boot, Known: true, Left: 32, Steps: 5}}, 0, `good   a ("x"): booted in 10.0 s, earlier  (32 left; roughly 5 steps)`},
		{bisect.Event{Doing: "retry", Candidate: c, Why: "qemu\x1b died"}, time.Minute, "retry  a: qemu␛ died"},
		{bisect.Event{Step: &bisect.Step{Candidate: c, Verdict: "skip", Why: "does not build: y", Log: "logs/a.log", Left: 32, Steps: 5}}, 3 * time.Minute, `skip   a ("x"): does not build: y (logs/a.log)  (32 left; roughly 5 steps)`},
		{bisect.Event{Step: &bisect.Step{Candidate: c, Verdict: "good", Why: "booted", Boot: boot, Left: 2, Steps: 1}}, 2 * time.Minute, `good   a ("x"): booted in 10.0 s  (2 left; roughly 1 step, 2 min)`},
		{bisect.Event{Step: &bisect.Step{Candidate: c, Verdict: "bad", Why: "hang", Boot: boot, Left: 1}}, time.Minute, `bad    a ("x"): hang in 10.0 s  (1 left)`},
		{bisect.Event{Doing: "note", Candidate: c, Why: "boots are not shared"}, 0, "note: boots are not shared"},
	} {
		said, now = nil, now.Add(e.after)
		tell.tell(e.Event)
		if got := append(said, "")[0]; got != e.want {
			t.Errorf("said %q, want %q", got, e.want)
		}
	}
}
