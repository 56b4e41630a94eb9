package dump

import (
	"bytes"
	"iter"
	"slices"
)

// Log parses a console as it is printed, so that it need not be read again. It
// keeps the text that Dump.Evidence quotes. It is for one goroutine; the Dumps
// that it gives are values of their own.
type Log struct {
	split splitter
	parse *parser
	text  text
	end   int64
}

// NewLog returns an empty Log. Of a console of more than limit bytes it keeps
// the first and the last half of limit; 0 means 64 MiB. What is parsed has the
// limits of a Dump.
func NewLog(limit int) *Log {
	if limit <= 0 {
		limit = 64 << 20
	}
	return &Log{parse: newParser(), text: text{limit: limit}}
}

// Add parses a line as the guest sent it, terminator included (console.Line.Raw),
// or several lines. The last may lack its terminator. Offsets are those of the
// console. Lines may be missing: they are counted, and traces that were open
// before the gap end there. A line that begins before the end of the last one is
// ignored.
func (l *Log) Add(line []byte, offset int64) {
	if offset < l.end {
		return
	}
	if gap := offset - l.end; gap > 0 {
		l.parse.gap(gap)
	}
	for len(line) > 0 {
		n := lineLength(line)
		l.text.add(line[:n], offset)
		l.split.line(line[:n], offset, func(r Record) bool {
			l.parse.add(r)
			return true
		})
		line, offset = line[n:], offset+int64(n)
	}
	l.end = offset
}

// End is the offset behind the last line.
func (l *Log) End() int64 { return l.end }

// Contains says whether a line holds words. It reads all of the text that is
// kept: a Dump often has the answer already.
func (l *Log) Contains(words []byte) bool {
	return slices.ContainsFunc(l.text.pieces, func(p piece) bool { return bytes.Contains(p.text, words) })
}

// Dump returns what Parse would of the lines so far. It shares nothing with the
// Log that a later Add writes to.
func (l *Log) Dump() *Dump {
	d := l.parse.clone().dump()
	d.Bytes, d.text = l.end, l.text.clone().pieces
	return d
}

// Fork returns a Log of the same lines that goes on by itself.
func (l *Log) Fork() *Log {
	return &Log{split: l.split, parse: l.parse.clone(), text: l.text.clone(), end: l.end}
}

// pieceSize is about how much text is dropped at once, in bytes.
const pieceSize = 64 << 10

// piece is a stretch of a log, of whole lines.
type piece struct {
	offset int64
	text   []byte
}

func (p piece) end() int64 { return p.offset + int64(len(p.text)) }

// text is what is kept of a log: the beginning and the end.
type text struct {
	limit  int
	kept   int
	head   int // pieces that stay
	pieces []piece
}

func (t *text) add(line []byte, offset int64) {
	n := len(t.pieces)
	switch {
	case n == 0 || t.pieces[n-1].end() != offset:
		t.pieces, n = append(t.pieces, piece{offset: offset}), n+1
	case len(t.pieces[n-1].text)+len(line) > pieceSize:
		t.pieces, n = append(t.pieces, piece{offset, make([]byte, 0, pieceSize)}), n+1
	}
	last := &t.pieces[n-1]
	last.text = append(last.text, line...)
	t.kept += len(line)
	if t.kept <= t.limit/2 {
		t.head = n
	}
	for t.kept > t.limit && len(t.pieces) > t.head+1 {
		t.kept -= len(t.pieces[t.head].text)
		t.pieces = slices.Delete(t.pieces, t.head, t.head+1)
	}
}

// clone shares the text, which is only ever appended to.
func (t text) clone() text {
	t.pieces = slices.Clone(t.pieces)
	if n := len(t.pieces); n > 0 {
		t.pieces[n-1].text = slices.Clip(t.pieces[n-1].text)
	}
	return t
}

// between gives the text of a range, as far as it is kept.
func between(pieces []piece, off, end int64) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		first, _ := slices.BinarySearchFunc(pieces, off, func(p piece, off int64) int {
			if p.end() <= off {
				return -1
			}
			return 1
		})
		for _, p := range pieces[first:] {
			if p.offset >= end || !yield(p.text[max(0, off-p.offset):min(int64(len(p.text)), end-p.offset)]) {
				return
			}
		}
	}
}
