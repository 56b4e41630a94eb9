package report

import (
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/bisect"
)

func commit(name string) bisect.Candidate {
	return bisect.Candidate{ID: name + "full", Name: name, About: "change " + name}
}

func likely(p ...float64) []bisect.Likely {
	var out []bisect.Likely
	for i, x := range p {
		out = append(out, bisect.Likely{Candidate: commit(string(rune('a' + i))), Probability: x})
	}
	return out
}

func TestSuspects(t *testing.T) {
	for _, c := range []struct {
		step bisect.Step
		want string
	}{
		{bisect.Step{}, "0 left"},
		{bisect.Step{Left: 70, Best: 1. / 70, Likely: likely(1./70, 1./70, 1./70)}, "70 left, each 1.4 %"},
		{bisect.Step{Left: 2, Best: 0.5, Likely: likely(0.5, 0.5)}, "2 left: a 50 %, b 50 %"},
		{bisect.Step{Left: 9, Best: 0.416, Likely: likely(0.416, 0.2, 0.034)}, "9 left: a 41 %, b 20 %, c 3.4 %"},
		{bisect.Step{Left: 1, Best: 0.998, Likely: likely(0.998)}, "1 left: a 99 %"},
		{bisect.Step{Left: 1, Best: 0.99999, Likely: likely(0.99999)}, "1 left: a over 99.9 %"},
	} {
		if got := Suspects(c.step); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// An intermittent failure: how often it shows, how often each suspect was booted,
// and repeated boots in one line.
func TestBisectIntermittent(t *testing.T) {
	first := commit("b")
	step := func(name, verdict, why string, p ...float64) bisect.Step {
		return bisect.Step{Candidate: commit(name), Verdict: verdict, Why: why, Boot: &bisect.Boot{Took: time.Second}, Left: len(p), Best: p[0], Likely: likely(p...)}
	}
	f := Found{Report: &bisect.Report{
		First: &first, Confidence: 0.993, IfSteady: 0.993, Rate: 0.41, RateLow: 0.25, RateHigh: 0.6,
		Tallies: []bisect.Tally{
			{Candidate: commit("z"), End: true, Good: 1},
			{Candidate: commit("a"), Good: 12, Probability: 0.007},
			{Candidate: first, Good: 3, Bad: 2, HasFirst: true, Probability: 0.993},
		},
		Steps: []bisect.Step{
			step("a", "good", "booted", 0.5, 0.5), step("a", "good", "booted", 0.4, 0.6), step("a", "good", "booted", 0.3, 0.7),
			step("b", "bad", "hang: in f", 0.9),
		},
	}}
	text := func() string {
		var b strings.Builder
		if err := Bisect(&b, f, Style{}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	got := text()
	for _, want := range []string{
		"FIRST BAD  b (\"change b\")  with 99.30 % confidence\n",
		"rate:     fails in about 41 % of boots (25 to 60 %): 2 of 5 with this change, 0 of 13 without it\n",
		"b (\"change b\")        3     2    99.30 %  <== the answer\n",
		"z (\"change z\")        1     0    the good end\n",
		"good     a (\"change a\")  booted, 3 times in 3.0 s  2 left: a 30 %, b 70 %\n",
		"bad      b (\"change b\")  hang: in f in 1.0 s       1 left: a 90 %\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the report lacks %q:\n%s", want, got)
		}
	}

	// One that shows in every boot needs none of it.
	f.Rate, f.RateLow, f.RateHigh = 1, 1, 1
	f.Tallies = []bisect.Tally{{Candidate: commit("a"), Good: 1}, {Candidate: first, Bad: 1, HasFirst: true, Probability: 1}}
	f.Steps = f.Steps[2:]
	got = text()
	for _, not := range []string{"rate:", "BOOTED", "times"} {
		if strings.Contains(got, not) {
			t.Errorf("the report of a failure in every boot has %q:\n%s", not, got)
		}
	}
}
