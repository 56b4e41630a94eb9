package search_test

import (
	"slices"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
	"github.com/unwedge/unwedge/harness/internal/bisect/search/searchtest"
)

func TestSkippedRange(t *testing.T) {
	const n, from, to = 400, 150, 229 // candidates from…to do not build
	h := searchtest.Linear(n)
	culprits := []int{1, from - 2, from - 1, from, from + 1, (from + to) / 2, to - 1, to, to + 1, to + 2, to + 3, n - 1}
	for c := 0; c < n; c += 23 {
		culprits = append(culprits, c)
	}
	for _, culprit := range culprits {
		skips := 0
		a, boots := find(t, h, search.Options{}, func(c int) search.Verdict {
			switch {
			case c >= from && c <= to:
				skips++
				return search.Skip
			case c >= culprit:
				return search.Bad
			}
			return search.Good
		})
		want := []int{culprit}
		if culprit >= from && culprit <= to+1 {
			want = want[:0]
			for c := from; c <= to+1; c++ {
				want = append(want, c)
			}
			if skips < to-from+1 {
				t.Fatalf("culprit %d: done after %d skips: who says that the others cannot be judged?", culprit, skips)
			}
		} else if skips > 12 {
			t.Errorf("culprit %d, not in the range: %d of it were tried", culprit, skips)
		}
		if !slices.Equal(a.Suspects, want) || a.Confidence < 0.99 || boots > 14 {
			t.Fatalf("culprit %d: %d boots, suspects %v, confidence %v", culprit, boots, a.Suspects, a.Confidence)
		}
	}
}

func TestAllSkipped(t *testing.T) {
	for _, n := range []int{1, 2, 60} {
		asked := make([]bool, n)
		a, boots := find(t, searchtest.Linear(n), search.Options{}, func(c int) search.Verdict {
			if asked[c] {
				t.Fatalf("%d candidates: %d is asked for again", n, c)
			}
			asked[c] = true
			return search.Skip
		})
		if boots != 0 || len(a.Suspects) != n || a.Candidate != n-1 || a.Confidence < 0.999 {
			t.Errorf("%d candidates: %+v", n, a)
		}
	}
}

// Whatever is broken and however the history merges: the culprit is among the suspects, no testable candidate could tell
// them apart, and nothing skipped is asked for again.
func TestSkipsInMerges(t *testing.T) {
	r := random(4)
	for i := range 100 {
		n := 20 + r.IntN(200)
		h := searchtest.Merges(r, n)
		in := searchtest.NewContains(h)
		broken := make([]bool, n)
		for range 1 + r.IntN(3) {
			searchtest.Broken(r, in, 1+r.IntN(n/4), broken)
		}
		o, culprit := search.Options{Intermittent: i%3 == 0}, r.IntN(n)
		skipped := make([]bool, n)
		a, _ := find(t, h, o, func(c int) search.Verdict {
			switch {
			case skipped[c]:
				t.Fatalf("case %d: %d is asked for again", i, c)
			case broken[c]:
				skipped[c] = true
				return search.Skip
			}
			return steady(in, culprit)(c)
		})
		if !slices.Contains(a.Suspects, culprit) || !slices.Contains(a.Suspects, a.Candidate) || !slices.IsSorted(a.Suspects) {
			t.Fatalf("case %d: culprit %d, %+v", i, culprit, a)
		}
		if !slices.Equal(a.Credible, a.Suspects) {
			t.Errorf("case %d: done, but credible %v and suspects %v", i, a.Credible, a.Suspects)
		}
		for c := range n {
			if first := in.Has(c, a.Suspects[0]); !skipped[c] && slices.ContainsFunc(a.Suspects, func(f int) bool { return in.Has(c, f) != first }) {
				t.Fatalf("case %d: %d tells apart the suspects %v", i, c, a.Suspects)
			}
		}
	}
}

// A candidate that was skipped and then judged counts as judged.
func TestSkipTakenBack(t *testing.T) {
	s := start(t, searchtest.Linear(4), search.Options{})
	for _, o := range []observation{{1, search.Skip}, {2, search.Bad}, {0, search.Good}} {
		observe(t, s, o)
	}
	if a := s.Answer(); !slices.Equal(a.Suspects, []int{1, 2}) {
		t.Fatalf("suspects %v, want 1 and 2", a.Suspects)
	}
	observe(t, s, observation{1, search.Good})
	if a := s.Answer(); !slices.Equal(a.Suspects, []int{2}) {
		t.Errorf("suspects %v, want 2", a.Suspects)
	}
}
