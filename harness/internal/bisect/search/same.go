package search

import (
	"fmt"
	"math"
)

// notSame is how probable it is that a commit which changes nothing in the image is the culprit all the same: it is not 0,
// so that no history is impossible.
const notSame = 1e-9

// Same tells that two candidates make the same image: what one of them contains and the other does not cannot be the
// culprit, unless it is in both. From then on b is not asked for: a boot of a tells the same, and where a cannot
// be judged b cannot either. Older stands for the good ends, which contain no candidate.
// The error is for a candidate that does not exist, and leaves the search as it was.
func (s *Search) Same(a, b int) error {
	for _, c := range []int{a, b} {
		if c < Older || c >= s.dag.n {
			return fmt.Errorf("candidates %d and %d are the same: want %d to %d", a, b, Older, s.dag.n-1)
		}
	}
	s.next = nil
	s.seen = append(s.seen, seen{candidate: a, same: b, isSame: true})
	if a == Older {
		a, b = b, a
	}
	switch {
	case b == Older && a != Older:
		s.twin[a] = true
	case a != b:
		s.twin[b], s.twin[a] = true, false
		s.twins[a] = append(s.twins[a], b)
		if s.skipped.has(a) {
			s.skipped.add(b)
		}
	}
	for _, c := range []int{a, b} {
		if c != Older {
			s.belief.split(c)
		}
	}
	for j := range s.belief.classes {
		if s.inside(a, j) == s.inside(b, j) {
			continue
		}
		c := &s.belief.classes[j]
		log := make([]float64, len(c.log))
		for k, l := range c.log {
			log[k] = l + math.Log(notSame)
		}
		c.log = log
	}
	s.belief.normalise()
	return nil
}

// inside says whether a candidate, or Older, contains the members of a class that it does not divide.
func (s *Search) inside(candidate, class int) bool {
	if candidate == Older {
		return s.belief.classes[class].member == Older
	}
	return s.belief.holds(candidate, class)
}
