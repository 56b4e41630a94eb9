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

// Index looks up anchors. It is read-only once made.
type Index struct {
	seen  [1 << 10]uint64 // a bit for the first two bytes of each
	inner map[uint32][]int
	begin map[byte][]int
}

// NewIndex returns an Index of anchors.
func NewIndex(anchors []Anchor) *Index {
	x := &Index{inner: map[uint32][]int{}, begin: map[byte][]int{}}
	for i, a := range anchors {
		if a.Begin || len(a.Text) < size {
			x.begin[a.Text[0]] = append(x.begin[a.Text[0]], i)
			continue
		}
		k := binary.LittleEndian.Uint32(a.Text)
		x.inner[k] = append(x.inner[k], i)
		x.seen[uint16(k)>>6] |= 1 << (k & 63)
	}
	return x
}

// Each calls f once with the number of each anchor whose beginning is in the line,
// in no order. It reads the line once.
func (x *Index) Each(line []byte, f func(int)) {
	if len(line) == 0 {
		return
	}
	for _, i := range x.begin[line[0]] {
		f(i)
	}
	var done []uint32
	for at := 0; at+size <= len(line); at++ {
		pair := binary.LittleEndian.Uint16(line[at:])
		if x.seen[pair>>6]&(1<<(pair&63)) == 0 {
			continue
		}
		k := binary.LittleEndian.Uint32(line[at:])
		if found := x.inner[k]; found != nil && !slices.Contains(done, k) {
			done = append(done, k)
			for _, i := range found {
				f(i)
			}
		}
	}
}
