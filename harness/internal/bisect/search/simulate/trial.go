package main

import (
	"math"
	"math/rand/v2"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
	"github.com/unwedge/unwedge/harness/internal/bisect/search/searchtest"
)

// world is a history with a culprit in it, and how its candidates behave when booted.
type world struct {
	history search.History
	in      searchtest.Contains
	culprit int
	rate    float64 // of the hang, per boot of a candidate with the culprit
	wrong   float64 // of Bad, per boot of one without it
	broken  []bool  // cannot be judged; nil for none
	halves  map[string]half
}

type half struct {
	candidate int
	ok        bool
	yes, no   []uint64 // the suspects after Bad and after Good
}

// newWorld draws a history of 64 to most commits, small ones as likely as large ones, a quarter of them without merges, and
// its culprit.
func newWorld(r *rand.Rand, most float64) *world {
	n := int(64 * math.Pow(most/64, r.Float64()))
	w := &world{history: searchtest.Merges(r, n), rate: 1, halves: map[string]half{}}
	if r.IntN(4) == 0 {
		w.history = searchtest.Linear(n)
	}
	w.in = searchtest.NewContains(w.history)
	w.culprit = r.IntN(n)
	return w
}

// breakSome makes one to three ranges of commits impossible to judge, each up to a fifth of the history.
func (w *world) breakSome(r *rand.Rand) {
	n := len(w.in)
	w.broken = make([]bool, n)
	for range 1 + r.IntN(3) {
		searchtest.Broken(r, w.in, 1+r.IntN(n/5), w.broken)
	}
}

// boot plays one boot.
func (w *world) boot(r *rand.Rand, candidate int) search.Verdict {
	p := w.wrong
	switch {
	case w.broken != nil && w.broken[candidate]:
		return search.Skip
	case w.in.Has(candidate, w.culprit):
		p = w.rate
	}
	if r.Float64() < p {
		return search.Bad
	}
	return search.Good
}

// outcome is how one search ended.
type outcome struct {
	right      bool // the culprit is among the suspects
	stated     float64
	doubted    float64
	boots      int
	candidates int // that had to be built
	skips      int
	suspects   int
}

// tooMany boots end a trial: no setting comes near it.
const tooMany = 20_000

// bayes plays the search.
func (w *world) bayes(r *rand.Rand, o search.Options) (outcome, error) {
	s, err := search.New(w.history, o)
	if err != nil {
		return outcome{}, err
	}
	var out outcome
	built := make([]bool, len(w.in))
	for out.boots < tooMany {
		c, done := s.Next()
		if done {
			break
		}
		if !built[c.Candidate] {
			built[c.Candidate] = true
			out.candidates++
		}
		for range c.Boots {
			v := w.boot(r, c.Candidate)
			if err := s.Observe(c.Candidate, v); err != nil {
				return outcome{}, err
			}
			if v == search.Skip {
				out.skips++
				break
			}
			out.boots++
			if v == search.Bad {
				break
			}
		}
	}
	a := s.Answer()
	out.stated, out.doubted, out.suspects = a.Confidence, a.Doubted, len(a.Suspects)
	for _, f := range a.Suspects {
		out.right = out.right || f == w.culprit
	}
	return out, nil
}

// plain plays git bisect with each candidate booted up to repeats times, and bad as soon as one boot is Bad.
func (w *world) plain(r *rand.Rand, repeats int) outcome {
	set := make([]uint64, (len(w.in)+63)/64)
	for f := range w.in {
		set[f/64] |= 1 << (f % 64)
	}
	var out outcome
	var path []byte
	for {
		h, ok := w.halves[string(path)]
		if !ok {
			h = w.halve(set)
			w.halves[string(path)] = h
		}
		if !h.ok {
			break
		}
		out.candidates++
		v := search.Good
		for i := 0; i < repeats && v == search.Good; i++ {
			v = w.boot(r, h.candidate)
			out.boots++
		}
		if set = h.no; v == search.Bad {
			set = h.yes
		}
		path = append(path, byte(v))
	}
	out.right = set[w.culprit/64]>>(w.culprit%64)&1 == 1
	return out
}

func (w *world) halve(set []uint64) half {
	c, ok := w.in.Halve(set)
	h := half{candidate: c, ok: ok, yes: make([]uint64, len(set)), no: make([]uint64, len(set))}
	for i, b := range set {
		h.yes[i], h.no[i] = b&w.in[c][i], b&^w.in[c][i]
	}
	return h
}
