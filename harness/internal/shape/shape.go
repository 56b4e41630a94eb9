// Package shape takes the console text out of what it is wrapped in: a CI system's
// stamps, JSON, HTML, another encoding, mail quoting, lines that were wrapped.
//
// It is pure and linear in its input. A shape is detected from many lines, never
// from one: a guest may print JSON. A log in no known shape is returned as it is,
// and costs only a look at some of its lines. The raw console of a guest that
// unwedge runs needs none of this.
package shape

import (
	"bytes"
	"slices"
)

// shape is one way in which a log may be wrapped.
type shape struct {
	// name says what it is, for people.
	name string
	// detect says from some lines of the log whether it has this shape.
	detect func(sample) bool
	// unwrap gives the text inside. It may return the log unchanged, where a look
	// at all of it shows that detect was wrong.
	unwrap func([]byte) []byte
}

// table is in the order in which shapes are tried; the outermost come first.
func table() []shape {
	return []shape{
		{"UTF-16", isUTF16, fromUTF16},
		{"byte order mark", hasMark, func(b []byte) []byte { return b[len(mark):] }},
		{"JSON document", isDocument, fromDocument},
		{"JSON lines", isJSON, perLine(jsonLine)},
		{"logfmt", isLogfmt, perLine(logfmtLine)},
		{"journal export", isExport, fromExport},
		{"HTML", isHTML, fromHTML},
		{"escaped lines", isEscaped, fromEscaped},
		{"carets for controls", hasCarets, fromCarets},
		{"#033 for escapes", hasOctals, fromOctals},
		{"blanks of a word processor", hasOddBlanks, fromOddBlanks},
		{"coloured stamps", hasColours, withoutColours},
		{"quoting", isQuoted, perLine(stripped(quoteLen))},
		{"GitLab sections", hasSections, perLine(withoutSection)},
		{"stamps before the line", isStamped, perLine(stripped(stampLen))},
		{"words before the line", hasLead, withoutLead},
		{"indentation", isIndented, withoutIndent},
		{"colours without their escape", hasBareColours, withoutBareColours},
		{"wrapped lines", mayBeWrapped, joined},
	}
}

// maxLayers is how many shapes are taken off one after the other.
const maxLayers = 6

// Unwrap gives the console text inside a log and the names of the shapes that it
// was taken out of, the outermost first. Without any, text is log itself.
func Unwrap(log []byte) (text []byte, shapes []string) {
	all := table()
	text = log
	for range maxLayers {
		s := look(text)
		i := slices.IndexFunc(all, func(sh shape) bool { return !slices.Contains(shapes, sh.name) && sh.detect(s) })
		if i < 0 {
			break
		}
		shapes = append(shapes, all[i].name)
		out := all[i].unwrap(text)
		if len(out) == len(text) && bytes.Equal(out, text) {
			shapes = shapes[:len(shapes)-1]
			all = slices.Delete(all, i, i+1)
			continue
		}
		text = out
	}
	return markCuts(text), shapes
}

// sample is a part of a log: its first bytes and lines from all over it.
type sample struct {
	head  []byte   // the first bytes
	lines [][]byte // not empty, without terminators
	size  int      // of the log, in bytes
}

// windows are taken from all over the log, each of windowLines lines.
const (
	headSize    = 4096
	windows     = 12
	windowLines = 24
	maxLine     = 64 << 10 // longer lines are cut when looked at
)

func look(log []byte) sample {
	s := sample{head: log[:min(len(log), headSize)], size: len(log)}
	end := 0
	for w := range windows {
		pos := max(end, len(log)/windows*w)
		if pos > end { // to the start of a line
			n := bytes.IndexByte(log[pos:min(len(log), pos+maxLine)], '\n')
			if n < 0 {
				continue
			}
			pos += n + 1
		}
		for range windowLines {
			if pos >= len(log) {
				break
			}
			line, n := firstLine(log[pos:])
			pos += n
			if line = trimmed(line); len(line) > 0 {
				s.lines = append(s.lines, line)
			}
		}
		end = pos
	}
	return s
}

// firstLine is the first line of b without its line feed, and the length with it.
func firstLine(b []byte) (line []byte, n int) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return b, len(b)
	}
	return b[:i], i + 1
}

// trimmed is a line without blanks and carriage returns at its end.
func trimmed(b []byte) []byte { return bytes.TrimRight(b, " \t\r") }

// count is how many lines of the sample fit.
func (s sample) count(fits func([]byte) bool) int {
	n := 0
	for _, l := range s.lines {
		if fits(l[:min(len(l), maxLine)]) {
			n++
		}
	}
	return n
}

// most says that at least 3 of 5 lines fit, and not fewer than three.
func (s sample) most(fits func([]byte) bool) bool {
	n := s.count(fits)
	return n >= 3 && n*5 >= len(s.lines)*3
}

// lineFunc appends the text inside a line to out. end is the line's terminator, ""
// at the end of a log that lacks it.
type lineFunc func(out, line []byte, end string) []byte

// perLine makes an unwrap of what to do with each line.
func perLine(one lineFunc) func([]byte) []byte {
	return func(log []byte) []byte {
		out := make([]byte, 0, len(log))
		for len(log) > 0 {
			line, n := firstLine(log)
			end := ""
			if n > len(line) {
				end = "\n"
			}
			out = one(out, line, end)
			log = log[n:]
		}
		return out
	}
}

// stripped makes a lineFunc of the length of what stands before the text.
func stripped(length func([]byte) int) lineFunc {
	return func(out, line []byte, end string) []byte {
		return append(append(out, line[length(line):]...), end...)
	}
}
