package watch

import (
	"bytes"
	"time"
)

// A flood is floodLines lines and more in floodTime, of at most floodShapes shapes
// that were all seen before: a complaint with its trace has some fifty. Good boots
// print lists, but of some seconds at most, and other lines between.
const (
	floodTime   = 5 * time.Second
	floodLines  = 100
	floodShapes = 80
	floodGap    = time.Second // without a line it is over
)

// flood is what was printed since the last progress.
type flood struct {
	from, last time.Time
	lines      int
	shapes     map[uint64]struct{}
	text       string // the first line that was repeated
}

// add takes a line of a shape that was seen before.
func (f *flood) add(at time.Time, h uint64, line []byte) {
	if f.lines == 0 || at.Sub(f.last) >= floodGap {
		*f = flood{from: at, text: clip(bytes.TrimSpace(line)), shapes: make(map[uint64]struct{})}
	}
	f.last = at
	f.lines++
	if len(f.shapes) <= floodShapes {
		f.shapes[h] = struct{}{}
	}
}

// lasts says that the guest floods its console now.
func (f *flood) lasts(now time.Time) bool {
	return f.lines >= floodLines && len(f.shapes) <= floodShapes && f.last.Sub(f.from) >= floodTime && now.Sub(f.last) < floodGap
}
