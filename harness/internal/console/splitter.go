package console

import (
	"bytes"
	"time"
)

// MaxLine is the longest line kept in one piece, in bytes. A longer one is cut
// into pieces of this size, all but the last of them marked Partial.
const MaxLine = 64 << 10

// Line is one line of the guest's console.
type Line struct {
	// Offset is the position of the first byte of the line in the stream.
	Offset int64
	// End is the position behind the line and its terminator: the Offset of
	// the next one.
	End int64
	// Raw is the line as the guest sent it, and Text without its newline and
	// the carriage returns before that. They are shared: do not change them.
	// They are hostile: Sanitize them before they go to a terminal.
	Raw, Text []byte
	// At is when the last byte of the line was read.
	At time.Time
	// Partial says that no newline followed: a piece of a line longer than
	// MaxLine, or the end of the stream.
	Partial bool
}

// splitter cuts a stream into lines. It holds at most max bytes.
type splitter struct {
	max    int   // the longest line; MaxLine but in tests
	offset int64 // of the first byte in rest
	rest   []byte
	at     time.Time // of the last byte in rest
}

// feed takes the next bytes of the stream and calls emit for each line they
// complete.
func (s *splitter) feed(p []byte, at time.Time, emit func(Line)) {
	if len(p) > 0 {
		s.at = at
	}
	for len(p) > 0 {
		window := p[:min(len(p), s.max-len(s.rest)+1)]
		n := bytes.IndexByte(window, '\n')
		switch {
		case n >= 0:
			s.rest = append(s.rest, p[:n]...)
			s.emit(emit, false)
			p = p[n+1:]
		case len(s.rest)+len(window) > s.max:
			n = s.max - len(s.rest)
			s.rest = append(s.rest, p[:n]...)
			s.emit(emit, true)
			p = p[n:]
		default:
			s.rest = append(s.rest, window...)
			p = p[len(window):]
		}
	}
}

// finish emits what is left when the stream has ended.
func (s *splitter) finish(emit func(Line)) {
	if len(s.rest) > 0 {
		s.emit(emit, true)
	}
}

// partial is the unfinished line; its Text is a copy.
func (s *splitter) partial() (Line, bool) {
	if len(s.rest) == 0 {
		return Line{}, false
	}
	text := bytes.Clone(s.rest)
	return Line{Offset: s.offset, End: s.offset + int64(len(text)), Raw: text, Text: text, At: s.at, Partial: true}, true
}

func (s *splitter) emit(emit func(Line), partial bool) {
	n := len(s.rest)
	raw := append(make([]byte, 0, n+1), s.rest...)
	l := Line{Raw: raw, Text: raw, Offset: s.offset, At: s.at, Partial: partial}
	if !partial {
		l.Raw, l.Text = append(raw, '\n'), bytes.TrimRight(raw, "\r")
	}
	l.End = l.Offset + int64(len(l.Raw))
	s.offset, s.rest = l.End, s.rest[:0]
	emit(l)
}
