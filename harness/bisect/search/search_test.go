package search_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/unwedge/unwedge/harness/bisect/search"
	"github.com/unwedge/unwedge/harness/bisect/search/searchtest"
)

// find runs a search to its end, each boot judged by judge, and returns the boots it took; a skip is none.
func find(t *testing.T, h search.History, o search.Options, judge func(candidate int) search.Verdict) (search.Answer, int) {
	t.Helper()
	s := start(t, h, o)
	boots, asked := 0, 0
	for {
		c, done := s.Next()
		if done {
			return s.Answer(), boots
		}
		if asked++; asked > 5000 {
			t.Fatalf("no end after %d boots: %+v", boots, s.Answer())
		}
		for range c.Boots {
			v := judge(c.Candidate)
			if err := s.Observe(c.Candidate, v); err != nil {
				t.Fatal(err)
			}
			if v != search.Skip {
				boots++
			}
			if v != search.Good {
				break
			}
		}
	}
}

func start(t *testing.T, h search.History, o search.Options) *search.Search {
	t.Helper()
	s, err := search.New(h, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// steady judges boots of a hang that shows each time.
func steady(in searchtest.Contains, culprit int) func(int) search.Verdict {
	return func(c int) search.Verdict {
		if in.Has(c, culprit) {
			return search.Bad
		}
		return search.Good
	}
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 5)) }

// A steady hang is found for every possible culprit, and costs what git bisect costs: never more than its worst case for that
// history, and no more in sum.
func TestSteadyHangCostsNoMoreThanGit(t *testing.T) {
	r := random(1)
	for i := range 40 {
		n := 1 + r.IntN(300)
		h := searchtest.Merges(r, n)
		if i%4 == 0 {
			h = searchtest.Linear(n)
		}
		in := searchtest.NewContains(h)
		git := searchtest.Git(in)
		var ours, theirs, worst int
		for f := range n {
			a, boots := find(t, h, search.Options{SwitchCost: float64(i % 3)}, steady(in, f))
			if a.Candidate != f || !slices.Equal(a.Suspects, []int{f}) || a.Confidence < 0.99 {
				t.Fatalf("history %d of %d, culprit %d: %+v", i, n, f, a)
			}
			ours, theirs, worst = ours+boots, theirs+git[f], max(worst, boots)
		}
		if w := slices.Max(git); worst > w || ours > theirs {
			t.Errorf("history %d of %d: at most %d and %d boots in all, git bisect %d and %d", i, n, worst, ours, w, theirs)
		}
	}
}

func TestOneCandidate(t *testing.T) {
	for _, o := range []search.Options{{}, {Intermittent: true}} {
		s := start(t, searchtest.Linear(1), o)
		if _, done := s.Next(); !done {
			t.Errorf("%+v: the bad end is the only candidate, but a boot is asked for", o)
		}
		if a := s.Answer(); a.Candidate != 0 || a.Confidence < 0.999999 || !slices.Equal(a.Suspects, []int{0}) {
			t.Errorf("%+v: %+v", o, a)
		}
	}
}

func TestHugeLinear(t *testing.T) {
	const n, culprit = 100_000, 12_345
	h := searchtest.Linear(n)
	a, boots := find(t, h, search.Options{}, func(c int) search.Verdict {
		if c >= culprit {
			return search.Bad
		}
		return search.Good
	})
	if a.Candidate != culprit || boots > 17 {
		t.Errorf("candidate %d after %d boots, want %d after 17 at most", a.Candidate, boots, culprit)
	}
}

func TestBadHistory(t *testing.T) {
	for name, h := range map[string]search.History{
		"empty":             {},
		"parent after":      {Parents: [][]int{{1}, nil}},
		"own parent":        {Parents: [][]int{nil, {1}}},
		"negative":          {Parents: [][]int{nil, {-1}}},
		"twice":             {Parents: [][]int{nil, {0, 0}}},
		"not under the end": {Parents: [][]int{nil, nil}},
	} {
		if s, err := search.New(h, search.Options{}); !errors.Is(err, search.ErrHistory) || s != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []search.Options{
		{Confidence: 1}, {Confidence: -0.1}, {Confidence: math.NaN()}, {Steady: 1}, {Steady: -1}, {WrongRate: 0.05}, {WrongRate: -1},
		{SwitchCost: -1}, {SwitchCost: math.Inf(1)}, {BadEndBoots: -1}, {GoodEndBoots: -1}, {OlderPrior: 1}, {OlderPrior: math.NaN()},
	} {
		if _, err := search.New(searchtest.Linear(3), o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

func TestBadObservation(t *testing.T) {
	s := start(t, searchtest.Linear(10), search.Options{})
	before, _ := s.Next()
	for _, c := range []struct {
		candidate int
		verdict   search.Verdict
	}{{-2, search.Good}, {10, search.Good}, {search.Older, search.Good}, {3, 3}, {3, -1}} {
		if err := s.Observe(c.candidate, c.verdict); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	if after, _ := s.Next(); after != before {
		t.Errorf("after refused observations %+v is asked for, before them %+v", after, before)
	}
}
