package console

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func split(limit int, input []byte, sizes ...byte) []Line {
	s := splitter{max: limit}
	var out []Line
	emit := func(l Line) { out = append(out, l) }
	for i := 0; len(input) > 0; i++ {
		n := len(input)
		if len(sizes) > 0 {
			n = min(n, 1+int(sizes[i%len(sizes)]))
		}
		s.feed(input[:n], time.Unix(int64(i), 0), emit)
		input = input[n:]
	}
	s.finish(emit)
	return out
}

func TestSplit(t *testing.T) {
	long := strings.Repeat("x", MaxLine)
	for _, tt := range []struct {
		name, in string
		want     []string // a trailing ~ is Partial
	}{
		{"empty", "", nil},
		{"lines", "a\nb\n", []string{"a", "b"}},
		{"CRLF", "a\r\nb\r\r\n\r\n", []string{"a", "b", ""}},
		{"inner CR stays", "a\rb\n", []string{"a\rb"}},
		{"no newline at the end", "a\nlogin: ", []string{"a", "login: ~"}},
		{"CR without newline stays", "a\r", []string{"a\r~"}},
		{"longest line", long + "\nb\n", []string{long, "b"}},
		{"one too long", long + "y\nb\n", []string{long + "~", "y", "b"}},
		{"twice as long, no end", long + long, []string{long + "~", long + "~"}},
		{"NUL and high bytes", "a\x00\xff\n", []string{"a\x00\xff"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, sizes := range [][]byte{nil, {0}, {250, 3}} {
				var got []string
				for _, l := range split(MaxLine, []byte(tt.in), sizes...) {
					s := string(l.Text)
					if l.Partial {
						s += "~"
					}
					got = append(got, s)
				}
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Errorf("chunks %v: %s", sizes, d)
				}
			}
		})
	}
}

func TestLineTimeIsThatOfItsLastByte(t *testing.T) {
	lines := split(MaxLine, []byte("abc\nd"), 1)
	if len(lines) != 2 || lines[0].At.Unix() != 1 || lines[1].At.Unix() != 2 {
		t.Errorf("lines = %+v", lines)
	}
}

// The lines are the stream: nothing lost, doubled or moved.
func FuzzSplit(f *testing.F) {
	f.Add([]byte("a\r\nb\n\n\r\rc"), []byte{0, 2})
	f.Add([]byte("xxxxxxxxxxxxxxxxxxxxxxxxx\r\n"), []byte{255})
	f.Fuzz(func(t *testing.T, input, sizes []byte) {
		const limit = 8 // so that short inputs reach it
		var pos int64
		for _, l := range split(limit, input, sizes...) {
			if l.Offset != pos || l.End <= l.Offset || l.End > int64(len(input)) {
				t.Fatalf("line %d..%d after %d of %d", l.Offset, l.End, pos, len(input))
			}
			raw := input[l.Offset:l.End]
			if !bytes.Equal(raw, l.Raw) {
				t.Fatalf("raw %q, stream %q", l.Raw, raw)
			}
			if !l.Partial {
				if raw[len(raw)-1] != '\n' {
					t.Fatalf("line %q has no end", raw)
				}
				raw = bytes.TrimRight(raw[:len(raw)-1], "\r")
			}
			if !bytes.Equal(raw, l.Text) || bytes.IndexByte(l.Text, '\n') >= 0 || len(l.Text) > limit {
				t.Fatalf("text %q, stream %q", l.Text, raw)
			}
			pos = l.End
		}
		if pos != int64(len(input)) {
			t.Fatalf("lines end at %d of %d", pos, len(input))
		}
	})
}
