package notice

import (
	"bytes"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/phrase"
)

// The pieces of a pattern that stand for text.
const (
	anything = "…"  // any text
	subject  = "{}" // any text, the subject
)

// pattern is one wording: literal pieces with text between them. "^" ties the
// first piece to the beginning of the line, "$" the last to its end.
type pattern struct {
	row        int
	pieces     [][]byte
	subject    int // the gap after pieces[subject-1] is the subject, -1 for none
	begin, end bool
}

func parse(row int, s string) pattern {
	p := pattern{row: row, subject: -1}
	s, p.begin = strings.CutPrefix(s, "^")
	s, p.end = strings.CutSuffix(s, "$")
	for {
		i, j := strings.Index(s, anything), strings.Index(s, subject)
		if i < 0 && j < 0 {
			p.pieces = append(p.pieces, []byte(s))
			return p
		}
		gap := anything
		if i < 0 || j >= 0 && j < i {
			gap, i = subject, j
			p.subject = len(p.pieces) + 1
		}
		p.pieces = append(p.pieces, []byte(s[:i]))
		s = s[i+len(gap):]
	}
}

// match says whether a line has the wording, and gives its subject. A gap is as
// short as it can be; one at the end takes the rest of the line.
func (p *pattern) match(line []byte) (what []byte, ok bool) {
	at := 0
	for n, piece := range p.pieces {
		i := 0
		switch {
		case n == 0 && p.begin:
			if !bytes.HasPrefix(line, piece) {
				return nil, false
			}
		case n == len(p.pieces)-1 && p.end:
			if i = len(line) - at - len(piece); i < 0 || !bytes.HasSuffix(line, piece) {
				return nil, false
			}
		case n > 0 && n == len(p.pieces)-1 && len(piece) == 0:
			i = len(line) - at
		default:
			if i = bytes.Index(line[at:], piece); i < 0 {
				return nil, false
			}
		}
		if n == p.subject {
			what = line[at : at+i]
		}
		at += i + len(piece)
	}
	return what, !p.end || at == len(line)
}

// anchor is the piece to look a line up by: that at its beginning, or the longest.
func (p *pattern) anchor() phrase.Anchor {
	first := p.pieces[0]
	if p.begin && len(first) > 0 {
		return phrase.Anchor{Text: first, Begin: true}
	}
	return phrase.Anchor{Text: slices.MaxFunc(p.pieces, func(a, b []byte) int { return len(a) - len(b) })}
}
