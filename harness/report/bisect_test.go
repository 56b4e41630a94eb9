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
		{bisect.Step{Left: 70, Tied: 70, Best: 1. / 70, Likely: likely(1./70, 1./70, 1./70)}, "70 left, each 1.4 %"},
		{bisect.Step{Left: 24, Tied: 12, Best: 0.08, Likely: likely(0.08, 0.08, 0.08)}, "12 at 8.0 % each, 12 others 4.0 %"},
		{bisect.Step{Left: 2, Tied: 2, Best: 0.5, Likely: likely(0.5, 0.5)}, "a 50 %, b 50 %"},
		{bisect.Step{Left: 24, Tied: 2, Best: 0.4, Likely: likely(0.4, 0.4, 0.02)}, "a 40 %, b 40 %, 22 others 19 %"},
		{bisect.Step{Left: 4, Tied: 1, Best: 0.5, Likely: likely(0.5, 0.25, 0.125)}, "a 50 %, b 25 %, c 12 %, one other 12 %"},
		{bisect.Step{Left: 1, Tied: 1, Best: 0.998, Likely: likely(0.998)}, "a 99 %"},
		{bisect.Step{Left: 1, Tied: 1, Best: 0.99999, Likely: likely(0.99999)}, "a over 99.9 %"},
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
		return bisect.Step{Candidate: commit(name), Verdict: verdict, Why: why, Boot: &bisect.Boot{Took: time.Second}, Left: len(p), Tied: 1, Best: p[0], Likely: likely(p...)}
	}
	f := &bisect.Report{
		First: &first, Confidence: 0.993, IfSteady: 0.993, Rate: 0.41, RateLow: 0.25, RateHigh: 0.6,
		Tallies: []bisect.Tally{
			{Candidate: commit("z"), End: true, Good: 1},
			{Candidate: commit("a"), Good: 12, Probability: 0.007},
			{Candidate: first, Good: 3, Bad: 2, HasFirst: true, Probability: 0.993},
		},
		Steps: []bisect.Step{
			step("a", "good", "booted", 0.5, 0.5), step("a", "good", "booted", 0.6, 0.4), step("a", "good", "booted", 0.7, 0.3),
			step("b", "bad", "hang: in f", 0.9),
		},
	}
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
		"good     a (\"change a\")  booted, 3 times in 3.0 s  a 70 %, b 30 %\n",
		"bad      b (\"change b\")  hang: in f in 1.0 s       a 90 %\n",
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

// All that a developer needs of a commit's answer: who, what it changes, the tag,
// the failure, and the two boots beside each other with where they part.
func TestBisectCommit(t *testing.T) {
	first, last := commit("b"), commit("a")
	r := &bisect.Report{
		Dir: "/bis", First: &first, LastGood: &last, Confidence: 0.95, IfSteady: 0.99999, Rate: 1, Candidates: 8, Boots: 5, Builds: 5,
		Failure:  bisect.Boot{Outcome: "hung", Title: "hang: of the bad end"},
		BadBoot:  &bisect.Boot{Outcome: "hung", Title: "hang: in f", Cause: "initcall-stuck", Sure: "certain", Where: "kernel", What: "f is\x1b stuck", Took: 11 * time.Second, Dir: "/runs/1"},
		GoodBoot: &bisect.Boot{Outcome: "booted", Expected: true, Stage: "userspace", Took: time.Second, Dir: "/runs/2"},
		Said:     "[    0.2] two", WentOn: "[    0.3] three",
		Commit: &bisect.Commit{Author: "A <a@b>", Date: "2026-01-02", After: "v1-3-gb", Fixes: `Fixes: b0 ("change b")`, Changes: "f.c | 1 +\n1 file changed"},
		Replay: "git bisect replay /bis/bisect.log",
		Steps:  []bisect.Step{{Candidate: commit("c"), Verdict: "skip", Why: "does not build: f.c:1", Log: "/bis/logs/c.log"}},
	}
	var b strings.Builder
	if err := Bisect(&b, r, Style{}); err != nil {
		t.Fatal(err)
	}
	const want = `FIRST BAD  b ("change b")  with 95.0 % confidence (over 99.99 % if the failure shows in every boot; --confirm makes sure)
  author:   A <a@b>, 2026-01-02
  after:    v1-3-gb
  changes:  f.c | 1 +
            1 file changed
  tag:      Fixes: b0 ("change b")
  failure:  hang: in f
  cause:    initcall-stuck (certain), in kernel
  what:     f is␛ stuck
  with it:  hung after 11.0 s: hang: in f
            /runs/1
  before:   a ("change a")
            booted after 1.0 s, last stage userspace
            /runs/2
  console:  ends with [    0.2] two
            the good boot continues with [    0.3] three
  cost:     5 boots for 8 candidates (5 built or unpacked) in 0s
  replay:   git bisect replay /bis/bisect.log
  files:    /bis
  mail:     unwedge report --format mail /bis writes a regression report

VERDICT  CANDIDATE       WHY                                 LEFT
skip     c ("change c")  does not build: f.c:1 (logs/c.log)  0 left
`
	if got := b.String(); got != want {
		t.Errorf("%s", got)
	}
}
