package search

import (
	"errors"
	"fmt"
	"math/bits"
)

// ErrHistory is returned by New for a history that breaks the contract of [History].
var ErrHistory = errors.New("bad history")

// maxAncestorBytes bounds the memory for "which chain is whose ancestor": 30,000 chains, some 150,000 kernel commits, take 60 MB.
const maxAncestorBytes = 2 << 30

// dag answers "is a an ancestor of b" and "how many of these are ancestors of each". Commits in a row, each the only child
// of its only parent, form a chain: history forks and joins only between chains, so ancestors are kept as one bit per
// pair of chains. A merge window of 13,000 commits has some 3,000 chains.
type dag struct {
	n        int
	chain    []int32    // the chain of each commit
	pos      []int32    // and its place in it, from 0
	chains   [][]int32  // the commits of each chain, oldest first
	above    [][]uint64 // the chains that are strict ancestors of each chain, as bits; all have lower numbers
	children [][]int32
	size     []int32 // how many commits are ancestors of each commit, itself included
}

func newDAG(h History) (*dag, error) {
	n := len(h.Parents)
	if n == 0 {
		return nil, fmt.Errorf("%w: no candidate", ErrHistory)
	}
	d := &dag{n: n, chain: make([]int32, n), pos: make([]int32, n), children: make([][]int32, n)}
	for c, parents := range h.Parents {
		for i, p := range parents {
			if p < 0 || p >= c {
				return nil, fmt.Errorf("%w: candidate %d has parent %d, want 0 to %d", ErrHistory, c, p, c-1)
			}
			for _, q := range parents[:i] {
				if p == q {
					return nil, fmt.Errorf("%w: candidate %d has parent %d twice", ErrHistory, c, p)
				}
			}
			d.children[p] = append(d.children[p], int32(c))
		}
	}
	if err := d.link(h.Parents); err != nil {
		return nil, err
	}
	all := make([]bool, n)
	for c := range all {
		all[c] = true
	}
	d.size = d.count(all)
	if int(d.size[n-1]) != n {
		return nil, fmt.Errorf("%w: the bad end, candidate %d, has %d of the %d candidates as ancestors, want all", ErrHistory, n-1, d.size[n-1], n)
	}
	return d, nil
}

// link cuts the history into chains and works out which are ancestors of which.
func (d *dag) link(parents [][]int) error {
	var need int
	for c, ps := range parents {
		if len(ps) == 1 && len(d.children[ps[0]]) == 1 {
			k := d.chain[ps[0]]
			d.chain[c], d.pos[c] = k, int32(len(d.chains[k]))
			d.chains[k] = append(d.chains[k], int32(c))
			continue
		}
		k := len(d.chains)
		if need += k / 8; need > maxAncestorBytes {
			return fmt.Errorf("%w: too many branches and merges (%d by candidate %d of %d)", ErrHistory, k, c, d.n)
		}
		d.chain[c] = int32(k)
		d.chains = append(d.chains, []int32{int32(c)})
		set := make([]uint64, (k+63)/64)
		for _, p := range ps {
			q := d.chain[p] // p is the last of its chain: it has another child, or c another parent
			for w, b := range d.above[q] {
				set[w] |= b
			}
			set[q/64] |= 1 << (q % 64)
		}
		d.above = append(d.above, set)
	}
	return nil
}

// contains says whether candidate c contains commit f: f is c or one of its ancestors.
func (d *dag) contains(c, f int) bool {
	kc, kf := d.chain[c], d.chain[f]
	switch {
	case kf == kc:
		return d.pos[f] <= d.pos[c]
	case kf > kc:
		return false
	}
	return d.above[kc][kf/64]>>(kf%64)&1 == 1
}

// count returns, for each commit, how many of its ancestors and itself are members.
func (d *dag) count(member []bool) []int32 {
	perChain := make([]int32, len(d.chains))
	some := make([]uint64, (len(d.chains)+63)/64)
	first := len(some)
	for c, in := range member {
		if in {
			k := d.chain[c]
			perChain[k]++
			some[k/64] |= 1 << (k % 64)
			first = min(first, int(k/64))
		}
	}
	out := make([]int32, d.n)
	for k, chain := range d.chains {
		var sum int32
		set := d.above[k]
		for w := first; w < len(set); w++ {
			for b := set[w] & some[w]; b != 0; b &= b - 1 {
				sum += perChain[w*64+bits.TrailingZeros64(b)]
			}
		}
		for _, c := range chain {
			if member[c] {
				sum++
			}
			out[c] = sum
		}
	}
	return out
}
