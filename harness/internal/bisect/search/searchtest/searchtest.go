// Package searchtest makes version histories for trying out package search, and plays git bisect on them. It shares no code
// with the search, so that one can be held against the other.
package searchtest

import (
	"math/bits"
	"math/rand/v2"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
)

// Linear is a history of n commits in a row.
func Linear(n int) search.History {
	h := search.History{Parents: make([][]int, n)}
	for c := 1; c < n; c++ {
		h.Parents[c] = []int{c - 1}
	}
	return h
}

// Merges is a random history of n commits in the manner of the kernel's: a main line that consists mostly of merges, whose
// branches often start before the history, have merges of their own, and differ widely in length.
func Merges(r *rand.Rand, n int) search.History {
	g := grower{r: r}
	g.line(n, search.Older, 0)
	return search.History{Parents: g.parents}
}

type grower struct {
	r       *rand.Rand
	parents [][]int
}

// line grows a line of n commits, branches included, on top of base, and returns its tip.
func (g *grower) line(n, base, depth int) (tip int) {
	share := []float64{0.7, 0.12, 0.06}
	tip, own := base, []int{base}
	for end := len(g.parents) + n; len(g.parents) < end; own = append(own, tip) {
		left := end - len(g.parents)
		if depth == len(share) || left < 2 || g.r.Float64() >= share[depth] {
			tip = g.commit(tip)
			continue
		}
		long := min(1+int(g.r.ExpFloat64()*g.r.ExpFloat64()*30), left-1)
		from := own[g.r.IntN(len(own))]
		if g.r.IntN(3) > 0 {
			from = base
		}
		tip = g.commit(tip, g.line(long, from, depth+1))
	}
	return tip
}

func (g *grower) commit(parents ...int) int {
	var known []int
	for _, p := range parents {
		if p != search.Older {
			known = append(known, p)
		}
	}
	g.parents = append(g.parents, known)
	return len(g.parents) - 1
}

// Contains tells which commits are contained in which.
type Contains [][]uint64

// NewContains works it out with one bit for each pair.
func NewContains(h search.History) Contains {
	out := make(Contains, len(h.Parents))
	for c, parents := range h.Parents {
		out[c] = make([]uint64, (len(h.Parents)+63)/64)
		for _, p := range parents {
			for w, b := range out[p] {
				out[c][w] |= b
			}
		}
		out[c][c/64] |= 1 << (c % 64)
	}
	return out
}

// Has says whether c contains f.
func (in Contains) Has(c, f int) bool { return in[c][f/64]>>(f%64)&1 == 1 }

// Broken marks a random range of commits that cannot be tested: those that contain one commit but not a later one that mends
// it, about long commits away. The bad end is never broken.
func Broken(r *rand.Rand, in Contains, long int, broken []bool) {
	n := len(in)
	cause := r.IntN(n)
	mend := cause + 1
	for mend < n-1 && (mend < cause+long || !in.Has(mend, cause)) {
		mend++
	}
	for c := cause; c < n-1; c++ {
		if in.Has(c, cause) && !(mend < n && in.Has(c, mend)) {
			broken[c] = true
		}
	}
}

// Git returns how many boots git bisect takes to find each commit if the hang is steady: each time it tests the commit for
// which the lesser of the numbers of suspects it contains and does not contain is greatest, as bisect.c does.
func Git(in Contains) []int {
	steps := make([]int, len(in))
	set := make([]uint64, (len(in)+63)/64)
	for f := range in {
		set[f/64] |= 1 << (f % 64)
	}
	in.git(set, 0, steps)
	return steps
}

func (in Contains) git(set []uint64, depth int, steps []int) {
	c, ok := in.Halve(set)
	if !ok {
		for f := range in {
			if set[f/64]>>(f%64)&1 == 1 {
				steps[f] = depth
			}
		}
		return
	}
	yes, no := make([]uint64, len(set)), make([]uint64, len(set))
	for w, b := range set {
		yes[w], no[w] = b&in[c][w], b&^in[c][w]
	}
	in.git(yes, depth+1, steps)
	in.git(no, depth+1, steps)
}

// Halve is git bisect's choice among a set of suspects, given as bits; not ok if one is left.
func (in Contains) Halve(set []uint64) (best int, ok bool) {
	total := 0
	for _, b := range set {
		total += bits.OnesCount64(b)
	}
	score := 0
	for c := range in {
		if set[c/64]>>(c%64)&1 == 0 {
			continue
		}
		reach := 0
		for w, b := range set {
			reach += bits.OnesCount64(b & in[c][w])
		}
		if v := min(reach, total-reach); v > score {
			best, score, ok = c, v, true
		}
	}
	return best, ok
}
