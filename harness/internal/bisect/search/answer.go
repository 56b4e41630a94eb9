package search

import (
	"cmp"
	"slices"
)

// Answer is what the search knows so far.
type Answer struct {
	// Candidate is the most probable first bad candidate, or Older where the good ends most probably hold the culprit.
	Candidate int
	// Confidence is the probability that the culprit is among Suspects.
	Confidence float64
	// Suspects is Candidate and those that no testable candidate tells from it, ascending: skipped ones, of which each could be
	// the first bad one. It is empty for Older.
	Suspects []int
	// Credible is the smallest set, ascending, that holds the culprit with the confidence asked for. It is the same as Suspects
	// when the search is done for that reason.
	Credible []int
	// Older is the probability that the culprit is before the whole history. 0 unless Options.OlderPrior is set.
	Older float64
	// Rate is the mean of the posterior of the hang's rate per boot; it lies between RateLow and RateHigh with
	// probability 0.9 or more.
	Rate, RateLow, RateHigh float64
	// Steady is the probability that the hang shows in every boot.
	Steady float64
	// WrongVerdict is the probability that at least one Bad was shown by a candidate without the culprit.
	WrongVerdict float64
	// Doubted is what Confidence would be if, before the first boot, one hang in ten had been taken not to show every time.
	// It is the same as Confidence with Options.Intermittent.
	Doubted float64
}

// Answer returns what is known so far; before the search is done, the best guess.
func (s *Search) Answer() Answer {
	g := s.bestGroup()
	a := Answer{Candidate: g.candidate(), Confidence: g.p, Suspects: slices.Clone(g.members), Doubted: g.p, WrongVerdict: s.wrongVerdict()}
	if s.belief.older {
		a.Older = s.belief.classes[0].each
	}
	post := s.belief.rate()
	a.Steady = post[steady]
	a.Rate, a.RateLow, a.RateHigh = summary(post)
	if !s.opts.Intermittent {
		a.Doubted = s.doubted(g)
	}
	a.Credible = s.credible()
	return a
}

// bestGroup returns the most probable set of candidates that can be told from all others.
func (s *Search) bestGroup() group {
	var best group
	lone := func(p float64, member int) {
		if p > best.p*(1+1e-9) {
			best = group{p: p}
			if member != Older {
				best.members = []int{member}
			}
		}
	}
	for _, g := range s.skipped.unseparated() {
		if g.p = s.mass(g.members, nil); g.p > best.p*(1+1e-9) {
			best = g
		}
	}
	for _, c := range s.belief.classes {
		lone(c.each, c.member)
	}
	if len(best.members) == 1 { // the class may have members in a group: then the group was at least as probable
		for _, g := range s.skipped.unseparated() {
			if slices.Contains(g.members, best.members[0]) {
				g.p = best.p
				return g
			}
		}
	}
	return best
}

// mass is the posterior of a set of candidates, under factors for each hypothesis; nil is 1.
func (s *Search) mass(members []int, factor []float64) float64 {
	var sum float64
	for _, f := range members {
		c := &s.belief.classes[s.belief.classOf[f]]
		sum += c.under(factor)
	}
	return sum
}

// under is the posterior of one member, times factors for each hypothesis; nil is 1.
func (c *class) under(factor []float64) float64 {
	if factor == nil {
		return c.each
	}
	var sum float64
	for k, w := range c.weight {
		sum += w * factor[k]
	}
	return sum
}

// doubted is the posterior of a group under the prior of DoubtedSteady.
func (s *Search) doubted(g group) float64 {
	was, is := ratePrior(s.opts), steadyPrior(DoubtedSteady)
	factor := make([]float64, len(s.belief.hyps))
	for k := range factor {
		r := k % len(rates)
		factor[k] = is[r] / was[r]
	}
	var all float64
	for j := range s.belief.classes {
		c := &s.belief.classes[j]
		all += c.under(factor) * float64(c.size)
	}
	if len(g.members) == 0 {
		return s.belief.classes[0].under(factor) / all
	}
	return s.mass(g.members, factor) / all
}

// credible returns the smallest set of candidates with the confidence asked for, made of whole groups.
func (s *Search) credible() []int {
	groups := slices.Clone(s.skipped.unseparated())
	grouped := make([]bool, s.dag.n)
	for i, g := range groups {
		groups[i].p = s.mass(g.members, nil)
		for _, f := range g.members {
			grouped[f] = true
		}
	}
	for f, p := range s.Posterior() {
		if !grouped[f] {
			groups = append(groups, group{members: []int{f}, p: p})
		}
	}
	slices.SortStableFunc(groups, func(a, b group) int { return cmp.Compare(b.p, a.p) })
	var out []int
	var sum float64
	for _, g := range groups {
		if sum >= s.opts.Confidence {
			break
		}
		sum += g.p
		out = append(out, g.members...)
	}
	slices.Sort(out)
	return out
}

// wrongVerdict is the probability that a Bad was shown by a candidate without the culprit.
func (s *Search) wrongVerdict() float64 {
	var sum float64
	for j, c := range s.belief.classes {
		for f, t := range s.counts {
			if t.bad > 0 && !s.belief.holds(f, j) {
				sum += c.each * float64(c.size)
				break
			}
		}
	}
	return min(sum, 1)
}

// summary returns the mean of a distribution over the rates, and the bounds that leave at most 5 % below and above.
func summary(post []float64) (mean, low, high float64) {
	var sum float64
	low = -1
	for k, p := range post {
		mean += p * rates[k]
		sum += p
		if low < 0 && sum > 0.05 {
			low = rates[k]
		}
		if sum < 0.95 {
			high = rates[min(k+1, steady)]
		}
	}
	return mean, low, max(high, low)
}
