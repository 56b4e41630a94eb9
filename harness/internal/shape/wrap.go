package shape

import (
	"bytes"

	"github.com/unwedge/unwedge/harness/internal/dump"
)

// The widths that lines are wrapped or cut at, in columns.
const (
	narrowest = 60
	widest    = 100
)

// mayBeWrapped: most lines are stamped and none is long, which no whole log is.
func mayBeWrapped(s sample) bool {
	stamped := s.count(isStart)
	return stamped >= 8 && stamped*2 >= len(s.lines) && s.count(isLong)*50 <= len(s.lines)
}

// isStart says that a line begins with a stamp, so that it is not the rest of
// another.
func isStart(l []byte) bool { return isKernelStamp(l) || dump.PrefixLength(l) > 0 }

// isLong says that a line is longer than one that was wrapped. One long word is not.
func isLong(l []byte) bool { return len(l) > widest && bytes.IndexByte(trimmed(l), ' ') >= 0 }

// wrapping is how a log's lines were wrapped.
type wrapping struct {
	width int // of the longest line that has a blank
	hard  bool
	joins int // lines that are the rest of the line before
}

// maxPadding is how many blanks the kernel pads a column with at most; those at the
// end of a wrapped line are lost.
const maxPadding = 10

// measure looks at all of a log.
func measure(log []byte) wrapping {
	w := wrapping{}
	eachLine(log, func(l []byte) {
		if bytes.IndexByte(l, ' ') >= 0 {
			w.width = max(w.width, len(l))
		}
	})
	if w.width < narrowest || w.width > widest {
		return w
	}
	full := 0
	var last []byte
	eachLine(log, func(l []byte) {
		if w.continues(last, l) {
			w.joins++
			if len(last) == w.width {
				full++
			}
		}
		last = l
	})
	if w.hard = full*5 >= w.joins*3; w.hard {
		w.joins = full
	}
	return w
}

// eachLine calls look with each line, blanks at its end included.
func eachLine(log []byte, look func([]byte)) {
	for len(log) > 0 {
		l, n := firstLine(log)
		look(bytes.TrimRight(l, "\r"))
		log = log[n:]
	}
}

// continues says whether l is the rest of last: it has no stamp, and its first word
// did not fit behind last.
func (w wrapping) continues(last, l []byte) bool {
	if len(last) == 0 || len(l) == 0 || len(last) > w.width || isStart(l) {
		return false
	}
	if w.hard {
		return len(last) == w.width
	}
	word := bytes.IndexByte(l, ' ')
	if word < 0 {
		word = len(l)
	}
	return word > 0 && len(last)+maxPadding+word > w.width
}

// joined joins the lines that a mail program or a terminal wrapped.
func joined(log []byte) []byte {
	w := measure(log)
	if w.joins < 3 {
		return log
	}
	out := make([]byte, 0, len(log))
	var last []byte
	eachLine(log, func(l []byte) {
		switch {
		case len(out) == 0 && last == nil:
		case !w.continues(last, l):
			out = append(out, '\n')
		case !w.hard && last[len(last)-1] != ' ':
			out = append(out, ' ')
		}
		out = append(out, l...)
		last = append(last[:0], l...)
	})
	return append(out, '\n')
}

// cutMark stands where a line was cut, so that nobody trusts its last word.
const cutMark = "…"

// minCut is how many lines of exactly the greatest width show that lines were cut.
const minCut = 3

// cutWidth is the width of a terminal; one without line wrap may leave its last
// column blank.
func cutWidth(n int) bool { return n == 80 || n == 79 }

// markCuts marks the lines of a log that was cut at a column, as by a terminal without
// line wrap, so that no word at the end is trusted.
func markCuts(log []byte) []byte {
	s := look(log)
	if s.count(func(l []byte) bool { return len(l) > widest }) > 0 {
		return log
	}
	width, n := 0, 0
	eachLine(log, func(l []byte) {
		switch {
		case len(l) > width:
			width, n = len(l), 1
		case len(l) == width:
			n++
		}
	})
	if n < minCut || !cutWidth(width) {
		return log
	}
	return perLine(func(out, line []byte, end string) []byte {
		if l := bytes.TrimRight(line, "\r"); len(l) == width {
			return append(append(append(out, l...), cutMark...), end...)
		}
		return append(append(out, line...), end...)
	})(log)
}
