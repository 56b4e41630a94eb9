package console

import (
	"bytes"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestSanitize(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "[    1.0] task:systemd state:S", "[    1.0] task:systemd state:S"},
		{"letters", "Käse 日本 ␛", "Käse 日本 ␛"},
		{"CSI", "\x1b[31mred\x1b[0m", "␛[31mred␛[0m"},
		{"OSC title", "\x1b]0;pwned\x07", "␛]0;pwned␇"},
		{"tab and ends", "a\tb\r\n", "a b␍␊"},
		{"NUL, DEL", "\x00\x7f", "␀␡"},
		{"C1 as UTF-8", "\u009b31m", `\u009b31m`},
		{"C1 as a byte", "\x9b31m", `\x9b31m`},
		{"torn UTF-8", "a\xe2\x82", `a\xe2\x82`},
		{"replacement rune is itself", "\ufffd", "\ufffd"},
		{"bidi", "a\u202eb\u2066c\u200f", `a\u202eb\u2066c\u200f`},
		{"zero width", "a\u200bb\ufeff\u00ad", `a\u200bb\ufeff\u00ad`},
		{"line separators", "\u2028\u2029", `\u2028\u2029`},
		{"tags", "\U000e0041", `\U000e0041`},
		{"fillers", "\u3164\ufe0f\u115f", `\u3164\ufe0f\u115f`},
		{"private use", "\ue000", `\ue000`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Sanitize(tt.in); got != tt.want {
				t.Errorf("Sanitize(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

func TestSanitizeMax(t *testing.T) {
	for _, tt := range []struct {
		in    string
		limit int
		want  string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"abc", 1, "…"}, {"", 0, ""}, {"a", 0, ""},
		{"日本語", 2, "日…"}, {"\x9b", 3, `\x…`}, {"abc", -1, "abc"},
	} {
		if got := SanitizeMax(tt.in, tt.limit); got != tt.want {
			t.Errorf("SanitizeMax(%q, %d) = %q, want %q", tt.in, tt.limit, got, tt.want)
		}
	}
}

func TestStrip(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "a\tb", "a\tb"},
		{"colours", "[\x1b[0;32m  OK  \x1b[0m] Started", "[  OK  ] Started"},
		{"clear screen", "\x1bc\x1b[?7l\x1b[2Jboot", "boot"},
		{"charset", "\x1b(Bx", "x"},
		{"title", "\x1b]0;t\x07a\x1b]8;;u\x1b\\b", "ab"},
		{"controls", "a\r\x00b\x7f", "ab"},
		{"unfinished sequence keeps the text", "a\x1b[12", "a[12"},
		{"stray escape keeps the text", "a\x1b\x01login", "alogin"},
		{"escape at the end", "a\x1b", "a"},
		{"unfinished string keeps the text", "\x1b]panic", "]panic"},
		{"unfinished sequence before another", "\x1b[\x1b[0mx", "[x"},
		{"sequence that is cut", "cut \x1b[38;5;", "cut [38;5;"},
		{"blinking job", "[\x1b[0;1;31m*\x1b[0m] A job", "[*] A job"},
		{"24-bit colour", "\x1b[38;2;23;147;209mArch\x1b[0m ", "Arch "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(Strip([]byte(tt.in))); got != tt.want {
				t.Errorf("Strip(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
	if b := []byte("unchanged"); &Strip(b)[0] != &b[0] {
		t.Error("text with nothing to remove was copied")
	}
}

func FuzzSanitize(f *testing.F) {
	f.Add("\x1b[31m\u202e\x9b\t\xff", 5)
	f.Fuzz(func(t *testing.T, in string, limit int) {
		for _, out := range []string{Sanitize(in), SanitizeMax(in, limit)} {
			if !utf8.ValidString(out) {
				t.Fatalf("%q is not UTF-8", out)
			}
			for _, r := range out {
				if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
					t.Fatalf("%U in %q", r, out)
				}
			}
		}
		if n := utf8.RuneCountInString(SanitizeMax(in, limit)); limit >= 0 && n > limit {
			t.Fatalf("%d characters, limit %d", n, limit)
		}
		if Sanitize(Sanitize(in)) != Sanitize(in) {
			t.Fatal("not a fixed point")
		}
	})
}

func FuzzStrip(f *testing.F) {
	f.Add([]byte("\x1b[31m\x1b]0;x\x07\x1bP\x1b\\"))
	f.Fuzz(func(t *testing.T, in []byte) {
		before := bytes.Clone(in)
		for _, c := range Strip(in) {
			if control(c) {
				t.Fatalf("%#x left", c)
			}
		}
		if !bytes.Equal(in, before) {
			t.Fatal("the input was changed")
		}
	})
}
