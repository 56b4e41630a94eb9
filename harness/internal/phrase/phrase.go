// Package phrase finds which of many phrases may be in a line, in one pass.
package phrase

import (
	"encoding/binary"
	"slices"
)

// size is how many bytes of a phrase are looked up.
const size = 4

// Anchor is the beginning of a phrase.
type Anchor struct {
	// Text has at least one byte. One of fewer than four must stand at the
	// beginning of the line.
	Text []byte
	// Begin says that it stands at the beginning of the line.
	Begin bool
}

// bits is the number of bits of a hash. A table of 4 KiB stays in the processor's
// nearest cache, and a thousand anchors leave a place of it in 30 taken.
const bits = 15

// Index looks up anchors. It is read-only once made.
type Index struct {
	seen  [1 << bits / 64]uint64 // a bit for the hash of the first bytes of each
	inner map[uint32][]int
	begin [256][]int
}

// NewIndex returns an Index of anchors.
func NewIndex(anchors []Anchor) *Index {
	x := &Index{inner: map[uint32][]int{}}
	for i, a := range anchors {
		if a.Begin || len(a.Text) < size {
			x.begin[a.Text[0]] = append(x.begin[a.Text[0]], i)
			continue
		}
		k := binary.LittleEndian.Uint32(a.Text)
		x.inner[k] = append(x.inner[k], i)
		h := hash(k)
		x.seen[h>>6] |= 1 << (h & 63)
	}
	return x
}

// hash is that of Fibonacci: the golden ratio of 2³² spreads the bits.
func hash(k uint32) uint32 { return k * 0x9e3779b1 >> (32 - bits) }

// Each calls f once with the number of each anchor whose beginning is in the line,
// in no order. It reads the line once.
func (x *Index) Each(line []byte, f func(int)) {
	if len(line) == 0 {
		return
	}
	for _, i := range x.begin[line[0]] {
		f(i)
	}
	if len(line) < size {
		return
	}
	var done []uint32
	k := binary.LittleEndian.Uint32(line) << 8
	for _, c := range line[size-1:] {
		k = k>>8 | uint32(c)<<24
		h := hash(k)
		if x.seen[h>>6]&(1<<(h&63)) == 0 {
			continue
		}
		if found := x.inner[k]; found != nil && !slices.Contains(done, k) {
			done = append(done, k)
			for _, i := range found {
				f(i)
			}
		}
	}
}
