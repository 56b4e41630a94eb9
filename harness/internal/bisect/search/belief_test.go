package search_test

import (
	"math"
	"slices"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
	"github.com/unwedge/unwedge/harness/internal/bisect/search/searchtest"
)

type observation struct {
	candidate int
	verdict   search.Verdict
}

// world is what may hold of every boot: the rate of the hang, that of wrong verdicts, and their prior.
type world struct{ rate, wrong, prior float64 }

// worlds are those of some prior of the rate, and of some rates of wrong verdicts with theirs.
func worlds(prior func(rate float64) float64, wrongs map[float64]float64) (out []world) {
	for wrong, share := range wrongs {
		for k := range 20 {
			rate := float64(k+1) / 20
			out = append(out, world{rate, wrong, prior(rate) * share})
		}
	}
	return out
}

// told is a rate of wrong verdicts that is known; untold are those that the documentation of Options.WrongRate names.
func told(wrong float64) map[float64]float64 { return map[float64]float64{wrong: 1} }

var untold = map[float64]float64{0.001: 0.8, 0.005: 0.12, 0.02: 0.08}

// bayes is Bayes' rule written out: the joint posterior over every pair of culprit and world, from the promises in the
// documentation of Options alone.
func bayes(in searchtest.Contains, ws []world, seen []observation) (joint [][]float64) {
	var sum float64
	for f := range in {
		row := make([]float64, len(ws))
		for k, w := range ws {
			row[k] = w.prior
			for _, o := range seen {
				p := w.wrong
				if in.Has(o.candidate, f) {
					p = w.rate
				}
				switch o.verdict {
				case search.Bad:
					row[k] *= p
				case search.Good:
					row[k] *= 1 - p
				}
			}
			sum += row[k]
		}
		joint = append(joint, row)
	}
	for _, row := range joint {
		for k := range row {
			row[k] /= sum
		}
	}
	return joint
}

func flat(float64) float64 { return 0.05 }

func steadyOr(mass float64) func(float64) float64 {
	return func(rate float64) float64 {
		if rate == 1 {
			return mass
		}
		return (1 - mass) / 19
	}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9+1e-6*math.Abs(b) }

// What the search believes after any verdicts, sensible or not, is what Bayes' rule says.
func TestPosteriorIsBayes(t *testing.T) {
	r := random(2)
	for i := range 200 {
		in, h := smallHistory(r.IntN(30)+1, i)
		o, ws := search.Options{WrongRate: 0.01, Intermittent: true}, worlds(flat, told(0.01))
		switch i % 3 {
		case 1:
			o, ws = search.Options{WrongRate: 0.001, Steady: 0.8}, worlds(steadyOr(0.8), told(0.001))
		case 2:
			o, ws = search.Options{Intermittent: true}, worlds(flat, untold)
		}
		s := start(t, h, o)
		var seen []observation
		for range r.IntN(25) {
			seen = append(seen, observation{r.IntN(len(in)), search.Verdict(r.IntN(2))})
			observe(t, s, seen[len(seen)-1])
		}
		joint := bayes(in, ws, seen)
		post, a := s.Posterior(), s.Answer()
		var mean, steady, best, wrong, sum float64
		for f, row := range joint {
			var p float64
			for k, w := range row {
				p += w
				mean += w * ws[k].rate
				if ws[k].rate == 1 {
					steady += w
				}
			}
			best = max(best, p)
			sum += post[f]
			if slices.ContainsFunc(seen, func(o observation) bool { return o.verdict == search.Bad && !in.Has(o.candidate, f) }) {
				wrong += p
			}
			if !near(post[f], p) {
				t.Fatalf("case %d: posterior of %d is %v, want %v", i, f, post[f], p)
			}
		}
		if !near(sum, 1) || !near(a.Rate, mean) || !near(a.Steady, steady) || !near(a.Confidence, best) || !near(a.WrongVerdict, wrong) {
			t.Fatalf("case %d: %+v (sum %v), want rate %v, steady %v, confidence %v, wrong %v", i, a, sum, mean, steady, best, wrong)
		}
		var between float64
		for _, row := range joint {
			for k, w := range row {
				if ws[k].rate >= a.RateLow && ws[k].rate <= a.RateHigh {
					between += w
				}
			}
		}
		if between < 0.9-1e-9 {
			t.Errorf("case %d: the rate is in %v to %v with probability %v only", i, a.RateLow, a.RateHigh, between)
		}
	}
}

// Doubted is the confidence under another prior.
func TestDoubtedIsBayes(t *testing.T) {
	in, h := smallHistory(25, 3)
	s := start(t, h, search.Options{})
	seen := []observation{{20, search.Bad}, {10, search.Good}, {15, search.Bad}, {12, search.Good}}
	for _, o := range seen {
		observe(t, s, o)
	}
	joint := bayes(in, worlds(steadyOr(0.9), told(1e-8)), seen)
	var want float64
	for _, w := range joint[s.Answer().Candidate] {
		want += w
	}
	if got := s.Answer().Doubted; !near(got, want) {
		t.Errorf("doubted %v, want %v", got, want)
	}
}

// The choice is the one with the most information about the culprit per cost, worked out from the joint posterior.
func TestChoiceGainsMost(t *testing.T) {
	r := random(3)
	for i := range 30 {
		in, h := smallHistory(r.IntN(20)+5, i)
		o, ws, batches := search.Options{WrongRate: 0.01, Intermittent: true}, worlds(flat, told(0.01)), []int{1}
		if i%3 == 0 {
			o.WrongRate, ws = 0, worlds(flat, untold)
		}
		if i%2 == 1 {
			o.SwitchCost, batches = 2, []int{1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48}
		}
		s := start(t, h, o)
		var seen []observation
		culprit := r.IntN(len(in))
		for range r.IntN(20) {
			ob := observation{r.IntN(len(in)), search.Good}
			if in.Has(ob.candidate, culprit) && r.IntN(2) == 0 {
				ob.verdict = search.Bad
			}
			seen = append(seen, ob)
			observe(t, s, ob)
		}
		c, done := s.Next()
		if done {
			continue
		}
		joint := bayes(in, ws, seen)
		value := func(candidate, boots int) float64 {
			cost := 0.0
			if !slices.ContainsFunc(seen, func(ob observation) bool { return ob.candidate == candidate }) {
				cost = o.SwitchCost
			}
			return gain(in, joint, ws, candidate, boots, cost)
		}
		got := value(c.Candidate, c.Boots)
		for other := range in {
			for _, boots := range batches {
				if v := value(other, boots); v > got*(1+1e-6) {
					t.Fatalf("case %d: %+v gains %v per boot, but %d boots of %d gain %v", i, c, got, boots, other, v)
				}
			}
		}
	}
}

// gain is the mutual information between the culprit and whether all boots of a candidate are good, per expected cost.
func gain(in searchtest.Contains, joint [][]float64, ws []world, candidate, boots int, cost float64) float64 {
	var all, blur float64
	for f, row := range joint {
		var p, good float64
		for k, w := range row {
			rate := ws[k].wrong
			if in.Has(candidate, f) {
				rate = ws[k].rate
			}
			p += w
			good += w * math.Pow(1-rate, float64(boots))
			for b := range boots {
				cost += w * math.Pow(1-rate, float64(b))
			}
		}
		if p > 0 {
			all += good
			blur += p * coin(good/p)
		}
	}
	return (coin(all) - blur) / cost
}

func coin(p float64) float64 {
	if p <= 0 || p >= 1 {
		return 0
	}
	return -p*math.Log2(p) - (1-p)*math.Log2(1-p)
}

func smallHistory(n, seed int) (searchtest.Contains, search.History) {
	h := searchtest.Merges(random(uint64(seed)+1000), n)
	return searchtest.NewContains(h), h
}

func observe(t *testing.T, s *search.Search, o observation) {
	t.Helper()
	if err := s.Observe(o.candidate, o.verdict); err != nil {
		t.Fatal(err)
	}
}
