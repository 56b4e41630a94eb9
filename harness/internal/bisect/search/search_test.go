package search_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
	"github.com/unwedge/unwedge/harness/internal/bisect/search/searchtest"
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
	for i := range 30 {
		n := 1 + r.IntN(200)
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

// A candidate that was good and bad, or a good one with a bad ancestor, shows that the hang is intermittent; the default prior
// thinks of that last.
func TestContradictionMeansIntermittent(t *testing.T) {
	for name, seen := range map[string][]observation{
		"both":        {{50, search.Bad}, {50, search.Good}},
		"good on bad": {{50, search.Bad}, {70, search.Good}},
		"good end":    {{99, search.Good}},
	} {
		s := start(t, searchtest.Linear(100), search.Options{})
		if a := s.Answer(); a.Steady < 0.9999 {
			t.Fatalf("%s: steady %v before the first boot", name, a.Steady)
		}
		for _, o := range seen {
			observe(t, s, o)
		}
		if a := s.Answer(); a.Steady > 0.01 || a.WrongVerdict > 0.01 {
			t.Errorf("%s: steady %v, wrong verdict %v", name, a.Steady, a.WrongVerdict)
		}
		if _, done := s.Next(); done {
			t.Errorf("%s: done", name)
		}
	}
}

// Two bad candidates with no commit in common cannot both contain the culprit, however rarely the hang shows.
func TestContradictionMeansWrongVerdict(t *testing.T) {
	fork := search.History{Parents: [][]int{nil, nil, {0, 1}}}
	s := start(t, fork, search.Options{})
	observe(t, s, observation{0, search.Bad})
	if a := s.Answer(); a.WrongVerdict > 1e-6 {
		t.Fatalf("one bad: wrong verdict %v", a.WrongVerdict)
	}
	observe(t, s, observation{1, search.Bad})
	if a := s.Answer(); a.WrongVerdict < 0.999999 {
		t.Errorf("two bad: wrong verdict %v", a.WrongVerdict)
	}
	for range 3 {
		observe(t, s, observation{1, search.Bad})
	}
	if a := s.Answer(); a.Candidate != 1 || a.WrongVerdict < 0.999999 {
		t.Errorf("one bad against four: %+v", a)
	}
}

// An intermittent hang is found nearly always, with many boots; in the default mode too once a contradiction was seen.
func TestIntermittentHang(t *testing.T) {
	r := random(6)
	h := searchtest.Merges(r, 300)
	in := searchtest.NewContains(h)
	for _, rate := range []float64{0.2, 0.5, 0.9} {
		right := 0
		const trials = 25
		for range trials {
			culprit := r.IntN(300)
			a, _ := find(t, h, search.Options{Intermittent: true}, func(c int) search.Verdict {
				if in.Has(c, culprit) && r.Float64() < rate {
					return search.Bad
				}
				return search.Good
			})
			if a.Candidate == culprit {
				right++
			}
		}
		if right < 20 { // at 0.97 right, fewer than 20 of 25 has probability 7e-5
			t.Errorf("rate %v: %d of %d right", rate, right, trials)
		}
	}
}

// Making a candidate ready costs: fewer are asked for, and each is booted more often.
func TestSwitchCostSavesCandidates(t *testing.T) {
	h := searchtest.Linear(500)
	built := func(o search.Options) int {
		r := random(7)
		seen := map[int]bool{}
		for culprit := 3; culprit < 500; culprit += 31 {
			find(t, h, o, func(c int) search.Verdict {
				seen[culprit*1000+c] = true
				if c >= culprit && r.IntN(3) == 0 {
					return search.Bad
				}
				return search.Good
			})
		}
		return len(seen)
	}
	free, dear := built(search.Options{Intermittent: true}), built(search.Options{Intermittent: true, SwitchCost: 5})
	if dear*3 > free*2 {
		t.Errorf("%d candidates with a cost of 5 boots, %d without", dear, free)
	}
}

func TestAhead(t *testing.T) {
	for i, o := range []search.Options{{}, {Intermittent: true}, {Intermittent: true, SwitchCost: 3}} {
		r := random(uint64(i) + 8)
		h := searchtest.Merges(r, 400)
		in := searchtest.NewContains(h)
		culprit := r.IntN(400)
		s := start(t, h, o)
		known := map[int]bool{}
		steps, foretold := 0, 0
		for {
			c, done := s.Next()
			if done {
				break
			}
			known[c.Candidate] = true
			ahead := s.Ahead(3)
			for j, a := range ahead {
				if known[a] || slices.Contains(ahead[:j], a) {
					t.Fatalf("options %d: ahead of %+v: %v, but %d was booted or is there twice", i, c, ahead, a)
				}
			}
			if again, _ := s.Next(); again != c {
				t.Fatalf("options %d: Ahead changed the choice from %+v to %+v", i, c, again)
			}
			observe(t, s, observation{c.Candidate, steady(in, culprit)(c.Candidate)})
			if n, done := s.Next(); !done && !known[n.Candidate] {
				if steps++; slices.Contains(ahead, n.Candidate) {
					foretold++
				}
			}
		}
		if got := s.Ahead(3); got != nil {
			t.Errorf("options %d: done, but ahead is %v", i, got)
		}
		if foretold < steps && !o.Intermittent || foretold*2 < steps {
			t.Errorf("options %d: %d of %d new candidates were foretold", i, foretold, steps)
		}
	}
}

// A search is resumed by replaying what was observed; With does that under other options.
func TestReplay(t *testing.T) {
	r := random(9)
	h := searchtest.Merges(r, 200)
	o := search.Options{Intermittent: true, SwitchCost: 2}
	s := start(t, h, o)
	doubt := start(t, h, search.Options{Steady: 0.9})
	var seen []observation
	for range 60 {
		c, done := s.Next()
		if done {
			break
		}
		v := search.Verdict(r.IntN(3))
		seen = append(seen, observation{c.Candidate, v})
		observe(t, s, seen[len(seen)-1])
		observe(t, doubt, seen[len(seen)-1])
	}
	again := start(t, h, o)
	for _, v := range seen {
		observe(t, again, v)
	}
	for _, same := range []*search.Search{s, doubt, again} {
		if err := same.Same(40, 45); err != nil {
			t.Fatal(err)
		}
	}
	with, err := again.With(search.Options{Steady: 0.9})
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]*search.Search{"replayed": {again, s}, "with": {with, doubt}} {
		got, gotDone := pair[0].Next()
		want, wantDone := pair[1].Next()
		if got != want || gotDone != wantDone || !slices.Equal(pair[0].Posterior(), pair[1].Posterior()) || !slices.Equal(pair[0].Ahead(3), pair[1].Ahead(3)) {
			t.Errorf("%s: next %+v, want %+v", name, got, want)
		}
	}
	if _, err := s.With(search.Options{Confidence: 2}); err == nil {
		t.Error("with impossible options: no error")
	}
}

// With a prior for it, the good ends are booted too, and the culprit is found in them; and the oldest candidate, which only
// they tell from them, is found as well.
func TestCulpritOlderThanHistory(t *testing.T) {
	o := search.Options{Intermittent: true, OlderPrior: 0.05, GoodEndBoots: 2}
	for _, culprit := range []int{search.Older, 0, 20} {
		r := random(14)
		asked := false
		a, _ := find(t, searchtest.Linear(50), o, func(c int) search.Verdict {
			asked = asked || c == search.Older
			if c >= culprit && r.IntN(2) == 0 {
				return search.Bad
			}
			return search.Good
		})
		if a.Candidate != culprit || a.Confidence < 0.99 || !asked && culprit <= 0 {
			t.Errorf("culprit %d, good ends booted: %v: %+v", culprit, asked, a)
		}
		if culprit == search.Older && (a.Suspects != nil || a.Confidence != a.Older) {
			t.Errorf("culprit in the good ends: %+v", a)
		}
	}
	s := start(t, searchtest.Linear(50), o)
	if err := s.Observe(search.Older, search.Skip); err == nil {
		t.Error("skip of the good ends: no error")
	}
}

// Whatever is observed, in whatever order: no panic, and what can be asked for and believed stays within its bounds.
func FuzzSearch(f *testing.F) {
	f.Add(uint64(1), []byte{0, 1, 2, 3, 200, 100, 7, 7, 7})
	f.Add(uint64(6), []byte("all of it is skipped, or is it?"))
	f.Fuzz(func(t *testing.T, seed uint64, verdicts []byte) {
		n := int(seed%40) + 1
		o := search.Options{Intermittent: seed%2 == 0, SwitchCost: float64(seed % 3), Rebuild: seed%5 == 0, OlderPrior: float64(seed%4) / 10}
		s := start(t, searchtest.Merges(random(seed), n), o)
		for i, v := range verdicts[:min(len(verdicts), 60)] {
			c, done := s.Next()
			if c.Candidate < search.Older || c.Candidate >= n || !done && c.Boots < 1 {
				t.Fatalf("step %d of seed %d: %+v", i, seed, c)
			}
			s.Ahead(2)
			if v%4 == 3 || c.Candidate == search.Older {
				c.Candidate = int(v/4) % n
			}
			observe(t, s, observation{c.Candidate, search.Verdict(v % 3)})
			a := s.Answer()
			sum := a.Older
			for _, p := range s.Posterior() {
				sum += p
			}
			if !near(sum, 1) || a.Confidence > 1+1e-9 || a.RateLow > a.RateHigh || a.Candidate != search.Older && !slices.Contains(a.Suspects, a.Candidate) {
				t.Fatalf("step %d of seed %d: sum %v, %+v", i, seed, sum, a)
			}
		}
	})
}

func BenchmarkMergeWindow(b *testing.B) {
	h := searchtest.Merges(random(10), 15_000)
	for name, o := range map[string]search.Options{"steady": {}, "intermittent": {Intermittent: true, SwitchCost: 3}} {
		b.Run(name, func(b *testing.B) {
			steps := 0
			for range b.N {
				r := random(11)
				s, err := search.New(h, o)
				if err != nil {
					b.Fatal(err)
				}
				in := searchtest.NewContains(h)
				b.ResetTimer()
				for c, done := s.Next(); !done; c, done = s.Next() {
					v := search.Good
					if in.Has(c.Candidate, 5000) && (!o.Intermittent || r.IntN(3) == 0) {
						v = search.Bad
					}
					if err := s.Observe(c.Candidate, v); err != nil {
						b.Fatal(err)
					}
					steps++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(steps), "ms/step")
		})
	}
}
