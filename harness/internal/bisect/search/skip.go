package search

import (
	"math"
	"slices"
)

// usualSkip is the probability that a candidate far from any skipped one cannot be judged.
const usualSkip = 0.02

// skipSet knows the candidates that cannot be judged, and what follows from that for the others.
type skipSet struct {
	dag    *dag
	in     []bool
	list   []int
	shared [][]int32 // for each of list: how many ancestors each candidate has in common with it
	groups []group   // computed when asked for
}

// group is a set of candidates that no testable candidate tells apart, and the posterior that the culprit is in it.
type group struct {
	members []int // ascending; empty for the good ends
	p       float64
}

// candidate is the one that stands for the group: the youngest, which is the testable one if there is one.
func (g group) candidate() int {
	if len(g.members) == 0 {
		return Older
	}
	return g.members[len(g.members)-1]
}

func newSkipSet(d *dag) skipSet { return skipSet{dag: d, in: make([]bool, d.n)} }

func (k *skipSet) has(c int) bool { return k.in[c] }

func (k *skipSet) add(c int) {
	if k.in[c] {
		return
	}
	ancestors := make([]bool, k.dag.n)
	for f := range ancestors {
		ancestors[f] = k.dag.contains(c, f)
	}
	k.in[c] = true
	k.list = append(k.list, c)
	k.shared = append(k.shared, k.dag.count(ancestors))
	k.groups = nil
}

func (k *skipSet) remove(c int) {
	if !k.in[c] {
		return
	}
	i := slices.Index(k.list, c)
	k.in[c] = false
	k.list = slices.Delete(k.list, i, i+1)
	k.shared = slices.Delete(k.shared, i, i+1)
	k.groups = nil
}

// clone returns a set that can be changed without changing k.
func (k *skipSet) clone() skipSet {
	c := *k
	c.in, c.list, c.shared = slices.Clone(k.in), slices.Clone(k.list), slices.Clone(k.shared)
	return c
}

// distance is the number of commits that are in one of the two candidates only; i is a place in the list.
func (k *skipSet) distance(i, c int) int32 {
	return k.dag.size[c] + k.dag.size[k.list[i]] - 2*k.shared[i][c]
}

// likely returns the probability that each candidate cannot be judged either, or nil where nothing was skipped.
//
// What makes a commit unfit to test came with some commit before it and goes with some commit after it, at a distance of
// which only the order of magnitude can be guessed. So where the skipped ones span L commits and the nearest that was judged
// is D further on, the end of the range is taken to be spread evenly over the logarithm of its length: at distance d the
// probability of being inside is 1 − log(1+d/L)/log(1+D/L). Between two skipped ones it is high, and higher
// the more were skipped.
func (k *skipSet) likely(counts []tally) []float64 {
	if len(k.list) == 0 {
		return nil
	}
	out := make([]float64, len(counts))
	after, before := make([]bool, len(counts)), make([]bool, len(counts)) // in reach of a skipped ancestor, descendant
	for i, s := range k.list {
		up, down := k.bounds(i, counts)
		span := k.span(i, up, down)
		for c := range out {
			if c == s || counts[c].judged() && !k.in[c] {
				continue
			}
			limit := max(up, down) // beside it: the cause can be older than the fork
			d := k.distance(i, c)
			switch k.shared[i][c] {
			case k.dag.size[s]:
				limit = up
				after[c] = after[c] || d < up
			case k.dag.size[c]:
				limit = down
				before[c] = before[c] || d < down
			}
			if d < limit {
				out[c] = max(out[c], 1-math.Log1p(float64(d)/span)/math.Log1p(float64(limit)/span))
			}
		}
	}
	for c := range out {
		if after[c] && before[c] {
			out[c] = max(out[c], 1-1/float64(20+4*len(k.list)))
		}
		out[c] = min(out[c], 0.999)
	}
	return out
}

// span is the length of the range that the skipped candidate i and those in reach of it are known to cover.
func (k *skipSet) span(i int, up, down int32) float64 {
	s, far := k.list[i], int32(0)
	for _, c := range k.list {
		d := k.distance(i, c)
		if k.shared[i][c] == k.dag.size[s] && d < up || k.shared[i][c] == k.dag.size[c] && d < down {
			far = max(far, d)
		}
	}
	return 1 + float64(far)
}

// bounds returns the distances from a skipped candidate to the nearest judged descendant and ancestor, where the ends of the
// history count as judged.
func (k *skipSet) bounds(i int, counts []tally) (up, down int32) {
	s := k.list[i]
	up, down = int32(k.dag.n)-k.dag.size[s], k.dag.size[s]
	for c, t := range counts {
		if !t.judged() || k.in[c] {
			continue
		}
		switch k.shared[i][c] {
		case k.dag.size[s]:
			up = min(up, k.distance(i, c))
		case k.dag.size[c]:
			down = min(down, k.distance(i, c))
		}
	}
	return up, down
}

// unseparated returns the groups of two or more, and of skipped candidates alone, in the order of their youngest members.
//
// Two commits are told apart by a candidate that contains one of them only. So a skipped commit belongs with those that
// the same testable candidates contain; a testable one among them is contained in itself, and is the oldest that contains the others.
func (k *skipSet) unseparated() []group {
	if k.groups != nil || len(k.list) == 0 {
		return k.groups
	}
	byMark := map[uint64]int{}
	seen := make([]int, k.dag.n)
	pass := 0
	mark := func(f int) (uint64, int) { pass++; return k.mark(f, seen, pass) }
	list := slices.Clone(k.list)
	slices.Sort(list)
	for _, s := range list {
		m, oldest := mark(s)
		g, ok := byMark[m]
		if !ok {
			g = len(k.groups)
			byMark[m] = g
			k.groups = append(k.groups, group{})
			if oldest >= 0 {
				if own, _ := mark(oldest); own == m {
					k.groups[g].members = []int{oldest}
				}
			}
		}
		k.groups[g].members = append(k.groups[g].members, s)
	}
	for _, g := range k.groups {
		slices.Sort(g.members)
	}
	return k.groups
}

// mark returns a hash of the set of testable candidates that contain f, and the oldest of them, -1 for none.
func (k *skipSet) mark(f int, seen []int, pass int) (hash uint64, oldest int) {
	oldest = -1
	todo := []int32{int32(f)}
	seen[f] = pass
	for len(todo) > 0 {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !k.in[c] {
			hash ^= mix(uint64(c))
			if oldest < 0 || int(c) < oldest {
				oldest = int(c)
			}
		}
		for _, child := range k.dag.children[c] {
			if seen[child] != pass {
				seen[child] = pass
				todo = append(todo, child)
			}
		}
	}
	return hash, oldest
}

// mix is the output function of the SplitMix64 generator (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
