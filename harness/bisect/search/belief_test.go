package search_test

import (
	"math"
	"slices"
	"testing"

	"github.com/unwedge/unwedge/harness/bisect/search"
	"github.com/unwedge/unwedge/harness/bisect/search/searchtest"
)

type observation struct {
	candidate int
	verdict   search.Verdict
}

// bayes is Bayes' rule written out: the joint posterior over every pair of culprit and rate, from the promises in the
// documentation of Options alone.
func bayes(in searchtest.Contains, prior func(rate float64) float64, wrong float64, seen []observation) (joint [][]float64, rates []float64) {
	var sum float64
	for k := range 20 {
		rates = append(rates, float64(k+1)/20)
	}
	for f := range in {
		row := make([]float64, len(rates))
		for k, rate := range rates {
			row[k] = prior(rate)
			for _, o := range seen {
				p := wrong
				if in.Has(o.candidate, f) {
					p = rate
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
	return joint, rates
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
		o, prior := search.Options{WrongRate: 0.01, Intermittent: true}, flat
		if i%2 == 0 {
			o, prior = search.Options{WrongRate: 0.001, Steady: 0.8}, steadyOr(0.8)
		}
		s := start(t, h, o)
		var seen []observation
		for range r.IntN(25) {
			seen = append(seen, observation{r.IntN(len(in)), search.Verdict(r.IntN(2))})
			observe(t, s, seen[len(seen)-1])
		}
		joint, rates := bayes(in, prior, o.WrongRate, seen)
		post, a := s.Posterior(), s.Answer()
		var mean, steady, best, wrong, sum float64
		for f, row := range joint {
			var p float64
			for k, w := range row {
				p += w
				mean += w * rates[k]
			}
			steady += row[19]
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
				if rates[k] >= a.RateLow && rates[k] <= a.RateHigh {
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
	joint, _ := bayes(in, steadyOr(0.9), 1e-8, seen)
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
		o, batches := search.Options{WrongRate: 0.01, Intermittent: true}, []int{1}
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
		joint, rates := bayes(in, flat, o.WrongRate, seen)
		value := func(candidate, boots int) float64 {
			cost := 0.0
			if !slices.ContainsFunc(seen, func(ob observation) bool { return ob.candidate == candidate }) {
				cost = o.SwitchCost
			}
			return gain(in, joint, rates, o.WrongRate, candidate, boots, cost)
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
func gain(in searchtest.Contains, joint [][]float64, rates []float64, wrong float64, candidate, boots int, cost float64) float64 {
	var all, blur float64
	for f, row := range joint {
		var p, good float64
		for k, w := range row {
			rate := wrong
			if in.Has(candidate, f) {
				rate = rates[k]
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
