package known

import (
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/result"
)

const file = `
- pattern: ^WARNING in demo_init$
  reason: the driver is being fixed
  link: https://example.org/bug/1
  expires: 2026-11-30
- pattern: demo_read
  reason: a false report
`

func TestMark(t *testing.T) {
	l, err := parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	list := []result.Finding{{Title: "WARNING in demo_init"}, {Title: "KASAN: use-after-free Read in demo_read"}, {Title: "WARNING in demo_init_late"}}
	day := time.Date(2026, 11, 30, 23, 59, 0, 0, time.UTC)
	got, notes := l.Mark(list, day)
	if got[0].Known == nil || got[1].Known == nil || got[2].Known != nil || len(notes) != 0 {
		t.Errorf("on the last day: %+v %q", got, notes)
	}
	if list[0].Known != nil {
		t.Error("the list that was given has changed")
	}
	got, notes = l.Mark(list, day.Add(time.Minute))
	if got[0].Known != nil || got[1].Known == nil || len(notes) != 1 || !strings.Contains(notes[0], "expired on 2026-11-30") {
		t.Errorf("a day later: %+v %q", got, notes)
	}
}

func TestWhatIsWrongIsSaid(t *testing.T) {
	for file, want := range map[string]string{
		"- reason: x\n":               "entry 1: no pattern",
		"- pattern: x\n":              "entry 1: no reason",
		"- pattern: (\n  reason: x\n": "entry 1: error parsing regexp",
		"- pattern: x\n  reason: x\n  expires: tomorrow\n": "YYYY-MM-DD",
		"- pattern: x\n  reasons: x\n":                     "reasons",
	} {
		if _, err := parse([]byte(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", file, err)
		}
	}
}
