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
		"- reason: x\n":               "entry 1: no pattern and no signature",
		"- pattern: x\n":              "entry 1: no reason",
		"- pattern: (\n  reason: x\n": "entry 1: error parsing regexp",
		"- pattern: x\n  reason: x\n  expires: tomorrow\n": "YYYY-MM-DD",
		"- pattern: x\n  reason: x\n  releases: new\n":     "6.12..7.3",
		"- pattern: x\n  reasons: x\n":                     "reasons",
	} {
		if _, err := parse([]byte(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func TestFailures(t *testing.T) {
	l, err := parse([]byte(`
- signature: hang/mutex/demo
  arch: aarch64
  releases: 6.12..7.3
  reason: fixed in 7.4
- pattern: "^hang: .* in other$"
  reason: the test is wrong
  expires: 2026-11-30
`))
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	demo := result.Diagnosis{Signature: "hang/mutex/demo", Title: "hang: mutex in demo"}
	other := result.Diagnosis{Signature: "hang/x", Title: "hang: x in other"}
	for _, c := range []struct {
		arch, release string
		d             result.Diagnosis
		at            time.Time
		want          string
	}{
		{"aarch64", "6.12.0-1", demo, day, "fixed in 7.4"},
		{"aarch64", "7.3.9", demo, day, "fixed in 7.4"},
		{"aarch64", "7.3.0-rc1", demo, day, "fixed in 7.4"},
		{"aarch64", "7.4.0-rc1", demo, day, ""},
		{"aarch64", "6.11.9", demo, day, ""},
		{"aarch64", "", demo, day, ""},
		{"x86_64", "7.0.0", demo, day, ""},
		{"x86_64", "7.0.0", other, day, "the test is wrong"},
		{"x86_64", "7.0.0", other, day.AddDate(0, 0, 1), ""},
		{"", "", other, day, "the test is wrong"},
	} {
		got := ""
		if k := l.For(c.arch, c.release).Failure(c.d, c.at); k != nil {
			got = k.Reason
		}
		if got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	if _, notes := l.Mark(nil, day.AddDate(0, 0, 1)); len(notes) != 1 || !strings.Contains(notes[0], "counts again") {
		t.Errorf("%q", notes)
	}
	hit := &result.Result{KnownFailure: &l.entries[0].Known}
	hit.Scenario.Arch, hit.Kernel.Release = "aarch64", "7.0.0"
	uses := l.Uses([]*result.Result{hit, {}}, day)
	if len(uses) != 2 || uses[0].Seen != 1 || uses[0].Boots != 1 || uses[1].Seen != 0 || uses[1].Boots != 2 || !strings.Contains(uses[1].String(), "no longer seen in 2 boots") {
		t.Errorf("%+v", uses)
	}
	if uses := l.Uses([]*result.Result{{}}, day.AddDate(0, 0, 1)); len(uses) != 0 {
		t.Errorf("expired: %+v", uses)
	}
}

func TestReleases(t *testing.T) {
	for _, c := range []struct {
		text, release string
		want          bool
	}{
		{"", "", true}, {"7.3", "7.3.0-rc1", true}, {"7.3", "7.30.1", false}, {"6.12..", "7.0.1", true}, {"6.12..", "6.1.9", false}, {"..7.3", "5.10.0", true},
		{"..7.3.2", "7.3.3", false}, {"6.12.5..6.12.9", "6.12.7-1-amd64", true}, {"6.12", "next", false}, {"6.12", "6.12", true},
	} {
		r, err := parseReleases(c.text)
		if err != nil || r.has(c.release) != c.want {
			t.Errorf("%q has %q: %v, %v", c.text, c.release, !c.want, err)
		}
	}
	for _, bad := range []string{"..", "7", "7.3-7.4", "a..b", "7.37.4"} {
		if _, err := parseReleases(bad); err == nil && bad != "7.37.4" {
			t.Errorf("%q was taken", bad)
		}
	}
}
