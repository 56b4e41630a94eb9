package search

import "slices"

// remote is the probability below which a way things could go is not worth building for.
const remote = 0.02

// Ahead returns up to n candidates that are most probably asked for after the present choice, likeliest first, for
// building them before they are needed. Candidates that were booted before are not among them, nor is the present one.
func (s *Search) Ahead(n int) []int {
	now := s.choose()
	if now.done || n <= 0 {
		return nil
	}
	var out []int
	open := s.outcomes(1)
	for tries := 2*n + 6; tries > 0 && len(open) > 0 && len(out) < n; tries-- {
		best := 0
		for i, f := range open {
			if f.p > open[best].p*(1+1e-9) {
				best = i
			}
		}
		f := open[best]
		if f.p < remote {
			break
		}
		open = slices.Delete(open, best, best+1)
		after := s.after(f)
		c := after.choose()
		if c.done {
			continue
		}
		if c.Candidate != Older && c.Candidate != now.Candidate && after.counts[c.Candidate] == (tally{}) && !slices.Contains(out, c.Candidate) {
			out = append(out, c.Candidate)
		}
		open = append(open, after.outcomes(f.p)...)
	}
	return out
}

// future is a way the present choice of a search can turn out.
type future struct {
	from    *Search
	verdict Verdict
	p       float64
}

// outcomes lists the ways the choice of s can turn out, s itself having probability p.
func (s *Search) outcomes(p float64) []future {
	c := s.choose()
	if c.done {
		return nil
	}
	fit := p * (1 - c.skip)
	return []future{{s, Bad, fit * (1 - c.good)}, {s, Good, fit * c.good}, {s, Skip, p * c.skip}}
}

// after returns the search as it would be; the one it comes from is left as it is.
func (s *Search) after(f future) *Search {
	c := f.from.choose()
	t := *f.from
	t.next = nil
	t.seen = slices.Clip(t.seen) // what is appended goes elsewhere
	t.counts = slices.Clone(t.counts)
	t.skipped = t.skipped.clone()
	t.belief = t.belief.clone()
	boots := 1
	if f.verdict == Good {
		boots = c.Boots
	}
	for range boots {
		if err := t.Observe(c.Candidate, f.verdict); err != nil { // too many observations: nothing comes after
			t.next = &choice{done: true}
		}
	}
	return &t
}
