package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
)

// partialLimit is how much of an unfinished line is matched, in bytes. It
// bounds the work on a guest that sends one long line byte by byte.
const partialLimit = 4 << 10

// ErrEnded is returned when the console ended before a match.
var ErrEnded = errors.New("console ended")

// Matcher recognises a line. It sees the line without terminal escapes and
// controls (Strip), so that colours do not come between.
type Matcher struct {
	re   *regexp.Regexp
	text []byte
}

// Substring matches lines that contain text.
func Substring(text string) Matcher { return Matcher{text: []byte(text)} }

// Regexp matches lines that re does.
func Regexp(re *regexp.Regexp) Matcher { return Matcher{re: re} }

func (m Matcher) String() string {
	if m.re != nil {
		return "/" + m.re.String() + "/"
	}
	return strconv.Quote(string(m.text))
}

// Match says whether the line matches, and gives the matched text and the
// regular expression's groups behind it.
func (m Matcher) Match(line []byte) (groups [][]byte, ok bool) {
	line = Strip(line)
	if m.re != nil {
		groups = m.re.FindSubmatch(line)
		return groups, groups != nil
	}
	if bytes.Contains(line, m.text) {
		return [][]byte{m.text}, true
	}
	return nil, false
}

// Found is a match.
type Found struct {
	Line   Line
	Groups [][]byte
	// Dropped counts the bytes that were no longer in memory.
	Dropped int64
}

// WaitFor waits for the first line at or behind offset that matches; each line
// is looked at once. The unfinished last line counts too (its first 4 KiB), so
// that a prompt is found. The error is ErrEnded or the context's, and names
// what was waited for and the last line seen.
func (r *Recorder) WaitFor(ctx context.Context, offset int64, m Matcher) (Found, error) {
	c := r.Lines(offset)
	var last Line
	for {
		v := r.look(c.pos, true)
		candidate := v.part
		if v.found {
			candidate = v.line
			last = v.line
			c.take(v.line)
		}
		if groups, ok := m.Match(candidate.Text); ok && candidate.End > offset {
			return Found{candidate, groups, c.dropped}, nil
		}
		if v.found {
			continue
		}
		if v.wake == nil {
			return Found{}, waitError(m, last, ErrEnded)
		}
		select {
		case <-v.wake:
		case <-ctx.Done():
			return Found{}, waitError(m, last, context.Cause(ctx))
		}
	}
}

func waitError(m Matcher, last Line, err error) error {
	if last.End == 0 {
		return fmt.Errorf("wait for console line %s: no line came: %w", m, err)
	}
	return fmt.Errorf("wait for console line %s: last line %q: %w", m, SanitizeMax(string(last.Text), 120), err)
}

var _ io.Writer = (*Recorder)(nil)
