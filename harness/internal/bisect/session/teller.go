package session

import (
	"fmt"
	"slices"
	"time"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/report"
)

// teller tells a bisection's steps, and how much is left.
type teller struct {
	say   func(string)
	now   func() time.Time
	last  time.Time
	steps []time.Duration // how long each boot took, with what it took to get there
}

func newTeller(say func(string), now func() time.Time) *teller {
	return &teller{say: say, now: now, last: now()}
}

// tell is one line for what is done.
func (t *teller) tell(e bisect.Event) {
	switch {
	case e.Step != nil:
		t.step(*e.Step)
	case e.Doing == "retry":
		t.say(fmt.Sprintf("retry  %s: %s", e.Candidate.Name, console.SanitizeMax(e.Why, 300)))
	case e.Doing == "note":
		t.say("note: " + console.SanitizeMax(e.Why, 300))
	}
}

func (t *teller) step(s bisect.Step) {
	took := ""
	if s.Boot != nil {
		took = fmt.Sprintf(" in %.1f s", s.Boot.Took.Seconds())
	}
	if s.Known {
		took += ", earlier"
	}
	if s.Log != "" {
		took = " (" + s.Log + ")"
	}
	now := t.now()
	if s.Boot != nil && !s.Known {
		t.steps = append(t.steps, now.Sub(t.last))
	}
	t.last = now
	t.say(fmt.Sprintf("%-5s  %s: %s%s  (%s%s)", s.Verdict, console.SanitizeMax(s.Candidate.String(), 120), console.SanitizeMax(s.Why, 300), took,
		report.Suspects(s), t.left(s.Steps)))
}

// left says as git does how many steps there will be, and how long they take if
// they take as long as most have.
func (t *teller) left(steps int) string {
	if steps == 0 {
		return ""
	}
	text := fmt.Sprintf("; roughly %d steps", steps)
	if steps == 1 {
		text = "; roughly 1 step"
	}
	const enough = 3 // the first one builds everything
	if len(t.steps) < enough {
		return text
	}
	sorted := slices.Sorted(slices.Values(t.steps))
	return text + ", " + roughly(time.Duration(steps)*sorted[len(sorted)/2])
}

// roughly is a duration for people.
func roughly(d time.Duration) string {
	switch {
	case d < 90*time.Second:
		return fmt.Sprintf("%.0f s", max(1, d.Seconds()))
	case d < 90*time.Minute:
		return fmt.Sprintf("%.0f min", d.Minutes())
	default:
		return fmt.Sprintf("%.1f h", d.Hours())
	}
}
