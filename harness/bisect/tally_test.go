package bisect_test

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/bisect"
)

// No boot of an intermittent failure is counted twice: not for two candidates that
// make the same image, not when a bisection goes on after it was killed, and not
// when another one made it.
func TestEachBootCountsOnce(t *testing.T) {
	w := newWorld(t, 24, 9)
	w.rate, w.rng = 0.4, rand.New(rand.NewPCG(7, 7))
	for i := 1; i < w.n; i += 2 { // every other one changes nothing, but for the guilty one
		if i != w.guilty {
			w.same[i] = i - 1
		}
	}
	dir := t.TempDir()
	b := w.bisection(dir)
	b.Options.Intermittent = true
	kill := 0
	b.Tell = func(e bisect.Event) {
		if e.Step != nil {
			kill++
		}
	}
	w.fails, w.fail = func(int) bool { return kill >= 12 }, errKilled
	b.Options.Retries = -1
	if _, err := b.Run(t.Context()); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	before := w.booted - 1 // the last one was not made
	w.fails = nil
	r := must(t, b)
	found(t, w, r)
	once(t, r)
	if r.Reused != before || r.Boots != w.booted-1-before {
		t.Errorf("%d boots before and %d after it was killed; the report has %d known and %d made", before, w.booted-1-before, r.Reused, r.Boots)
	}

	other := w.bisection(t.TempDir())
	other.Verdicts, other.Options = b.Verdicts, b.Options
	again := must(t, other)
	found(t, w, again)
	once(t, again)
	if again.Reused == 0 {
		t.Error("nothing of the first bisection was used by the second")
	}
}

// once checks that each boot is in one step, and that the tallies hold each step.
func once(t *testing.T, r *bisect.Report) {
	t.Helper()
	dirs, images := map[string]bool{}, map[string]string{}
	boots := 0
	for _, s := range r.Steps {
		if s.Boot == nil {
			continue
		}
		boots++
		if dirs[s.Boot.Dir] {
			t.Errorf("the boot in %s is counted twice", s.Boot.Dir)
		}
		dirs[s.Boot.Dir] = true
		if c, ok := images[s.Image]; ok && c != s.Candidate.ID {
			t.Errorf("%s and %s, which are the same, are both booted", c, s.Candidate.ID)
		}
		images[s.Image] = s.Candidate.ID
	}
	if boots != r.Boots+r.Reused {
		t.Errorf("%d boots in the steps, %d made and %d known", boots, r.Boots, r.Reused)
	}
	for _, c := range r.Tallies {
		boots -= c.Good + c.Bad + c.Skip
		if c.HasFirst != (index(c.Candidate) >= index(*r.First)) {
			t.Errorf("%s has %s: %v", c.Candidate.Name, r.First.Name, c.HasFirst)
		}
		if c.Bad > 0 && !c.HasFirst {
			t.Errorf("%s failed, and does not have the answer", c.Candidate.Name)
		}
	}
	if boots != 0 {
		t.Errorf("%d boots are in the steps and not in the tallies", boots)
	}
}

// What is believed after each step is told: it narrows to the answer, and the
// likeliest come first.
func TestBeliefNarrows(t *testing.T) {
	w := newWorld(t, 24, 9)
	w.rate, w.rng = 0.4, rand.New(rand.NewPCG(3, 3))
	b := w.bisection(t.TempDir())
	b.Options.Intermittent = true
	r := must(t, b)
	found(t, w, r)
	first, last := r.Steps[0], r.Steps[len(r.Steps)-1]
	if first.Left != w.n || len(first.Likely) != 3 {
		t.Errorf("at first %d of %d are left, of which %v", first.Left, w.n, first.Likely)
	}
	if last.Left != 1 || last.Likely[0].Candidate.ID != r.First.ID || last.Best < 0.99 {
		t.Errorf("at last %d are left, of which %v", last.Left, last.Likely)
	}
	for i, s := range r.Steps {
		falling := slices.IsSortedFunc(s.Likely, func(a, b bisect.Likely) int { return cmp.Compare(b.Probability, a.Probability) })
		if s.Likely[0].Probability != s.Best || !falling || len(s.Likely) > s.Left {
			t.Errorf("step %d: the likeliest are %v, best %v", i, s.Likely, s.Best)
		}
	}
	if !(r.RateLow <= r.Rate && r.Rate <= r.RateHigh && r.RateLow <= w.rate && w.rate <= r.RateHigh) {
		t.Errorf("rate %v, %v to %v; it is %v", r.Rate, r.RateLow, r.RateHigh, w.rate)
	}
}

// A good end that has the intermittent failure all the same, and boots well at
// first: no candidate is blamed for it.
func TestGoodEndIsNot(t *testing.T) {
	blamed, noticed := 0, 0
	for seed := range 40 {
		w := newWorld(t, 16, -1)
		w.rate, w.rng = 0.4, rand.New(rand.NewPCG(uint64(seed), 9))
		b := w.bisection(t.TempDir())
		b.Options.Intermittent = true
		r, err := b.Run(t.Context())
		switch {
		case err == nil:
			t.Logf("seed %d: %s is blamed, with %v", seed, r.First, r.Confidence)
			blamed++
		case !errors.As(err, new(*bisect.EndsError)) || !strings.Contains(err.Error(), "choose an earlier good end"):
			t.Errorf("seed %d: %v", seed, err)
		case strings.Contains(err.Error(), "good boots ("):
			noticed++
		}
	}
	if blamed > 2 || noticed == 0 {
		t.Errorf("a candidate was blamed %d times; %d times the good end failed after it had gone well", blamed, noticed)
	}
}

// Another failure that shows by chance, on a busy host for example, does not make
// the search leave a candidate alone that was judged before.
func TestAnotherFailureByChance(t *testing.T) {
	told, all := 0, 0
	for seed := range 40 {
		w := newWorld(t, 16, 6)
		w.rate, w.chance, w.rng = 0.4, 0.05, rand.New(rand.NewPCG(uint64(seed), 11))
		b := w.bisection(t.TempDir())
		b.Options.Intermittent = true
		r, err := b.Run(t.Context())
		if errors.As(err, new(*bisect.EndsError)) || err == nil && r.Failure.Signature != "hang-f" {
			continue // it showed in an end
		}
		if err != nil {
			t.Fatal(err)
		}
		all++
		if r.First != nil && r.First.ID == id(w.guilty) {
			told++
		}
	}
	if all < 20 || told < all*9/10 {
		t.Errorf("%d of %d told", told, all)
	}
	t.Logf("%d of %d told", told, all)
}

// Such a failure in a good end, which is booted again and again, does not end the search
// either.
func TestAnotherFailureOfAGoodEndByChance(t *testing.T) {
	met := 0
	for seed := range 20 {
		w := newWorld(t, 16, 0)
		w.rate, w.rng = 0.4, rand.New(rand.NewPCG(uint64(seed), 12))
		w.unlike = 0.1
		b := w.bisection(t.TempDir())
		b.Options.Intermittent = true
		r, err := b.Run(t.Context())
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			continue
		}
		for _, s := range r.Steps {
			if s.End && s.Verdict == "skip" {
				met++
			}
		}
	}
	if met == 0 {
		t.Error("no good end failed otherwise: nothing is shown")
	}
	w := newWorld(t, 16, 2)
	w.other[-1] = true
	for _, intermittent := range []bool{false, true} {
		b := w.bisection(t.TempDir())
		b.Options.Intermittent = intermittent
		if _, err := b.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "fails too, but not like") {
			t.Errorf("a good end that always fails otherwise: %v", err)
		}
	}
}
