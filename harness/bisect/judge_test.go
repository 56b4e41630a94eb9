package bisect_test

import (
	"testing"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/bisect/search"
)

// Where no failure is looked for, none is another one.
func TestJudge(t *testing.T) {
	hung := bisect.Boot{Outcome: "hung", Title: "hang: in f", Signature: "hang-f"}
	panicked := bisect.Boot{Outcome: "panicked", Title: "kernel panic: other", Signature: "panic-other"}
	for _, c := range []struct {
		boot, want bisect.Boot
		any        bool
		verdict    search.Verdict
		why        string
	}{
		{bisect.Boot{Outcome: "booted", Expected: true}, hung, false, search.Good, "booted"},
		{hung, hung, false, search.Bad, "hang: in f"},
		{panicked, hung, false, search.Skip, "another failure: kernel panic: other"},
		{panicked, hung, true, search.Bad, "another failure: kernel panic: other"},
		{panicked, bisect.Boot{}, true, search.Bad, "kernel panic: other"},
	} {
		if v, why := bisect.Judge(c.boot, c.want, c.any); v != c.verdict || why != c.why {
			t.Errorf("%+v: %v, %q", c, v, why)
		}
	}
}
