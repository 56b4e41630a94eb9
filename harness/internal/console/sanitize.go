package console

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Sanitize makes guest text safe and honest on a terminal or in a report: no
// byte of it acts, and what would have acted can be seen. Escape and the other
// ASCII controls become their control pictures (ESC is ␛), tabs become a
// space, C1 controls, bidirectional overrides, zero-width and other invisible
// characters become \u202e or \U000e0001, and bytes that are not UTF-8 become \x9b. The
// result is valid UTF-8 and one line: a newline becomes ␊.
func Sanitize(s string) string { return SanitizeMax(s, -1) }

// SanitizeMax does what Sanitize does and cuts the result to at most limit
// characters, the last of them an ellipsis where something was cut. A
// negative limit means no limit.
func SanitizeMax(s string, limit int) string {
	var b strings.Builder
	count := 0
	for len(s) > 0 && (limit < 0 || count <= limit) {
		r, size := utf8.DecodeRuneInString(s)
		before := b.Len()
		visible(&b, r, s[:size])
		count += utf8.RuneCountInString(b.String()[before:])
		s = s[size:]
	}
	if limit < 0 || count <= limit {
		return b.String()
	}
	out := []rune(b.String())
	if limit == 0 {
		return ""
	}
	return string(out[:limit-1]) + "…"
}

// SanitizeLine does what SanitizeMax does, and keeps tabs, where s is not longer than
// limit bytes.
func SanitizeLine(s string, limit int) string {
	parts := strings.Split(s, "\t")
	for i, p := range parts {
		parts[i] = Sanitize(p)
	}
	if s = strings.Join(parts, "\t"); len(s) > limit {
		s = SanitizeMax(s, limit)
	}
	return s
}

// visible writes one rune of the input; raw is what it was decoded from.
func visible(b *strings.Builder, r rune, raw string) {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		fmt.Fprintf(b, `\x%02x`, raw[0])
	case r == '\t':
		b.WriteByte(' ')
	case r < 0x20:
		b.WriteRune(0x2400 + r) // the block "Control Pictures"
	case r == 0x7f:
		b.WriteRune('␡')
	case unicode.IsGraphic(r) && !invisible(r):
		b.WriteRune(r)
	case r > 0xffff:
		fmt.Fprintf(b, `\U%08x`, r)
	default:
		fmt.Fprintf(b, `\u%04x`, r)
	}
}

// invisible lists graphic characters that show nothing, and with which text
// can be hidden or made to look like other text. Format characters (Cf),
// among them the bidirectional ones, are not graphic to begin with.
func invisible(r rune) bool {
	switch {
	case r == 0x034f, r == 0x115f, r == 0x1160, r == 0x17b4, r == 0x17b5, r == 0x3164, r == 0xffa0:
		return true // joiners and fillers
	case r >= 0x180b && r <= 0x180f, r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0100 && r <= 0xe01ef:
		return true // variation selectors
	}
	return false
}

// Strip removes what a terminal would act on instead of showing: escape
// sequences (ECMA-48: CSI, OSC and the other strings, two-character escapes)
// and control characters other than tab. It is for matching and parsing; the
// result is still guest text and needs Sanitize before it is shown. Text with
// nothing to remove is returned as it is.
func Strip(text []byte) []byte {
	first := 0
	for first < len(text) && !control(text[first]) {
		first++
	}
	if first == len(text) {
		return text
	}
	out := append(make([]byte, 0, len(text)), text[:first]...)
	for i := first; i < len(text); {
		switch {
		case text[i] == 0x1b:
			i += escapeLen(text[i:])
		case control(text[i]):
			i++
		default:
			out = append(out, text[i])
			i++
		}
	}
	return out
}

func control(c byte) bool { return c < 0x20 && c != '\t' || c == 0x7f }

// escapeLen is the length of the escape sequence that s begins with. One that
// is not finished counts as its first byte only, so that a stray ESC does not
// swallow the text behind it.
func escapeLen(s []byte) int {
	if len(s) < 2 {
		return len(s)
	}
	switch c := s[1]; {
	case c == '[':
		return csiLen(s)
	case c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_':
		return stringLen(s)
	case c >= 0x20 && c <= 0x2f: // intermediates and a final, as in ESC ( B
		if len(s) >= 3 && s[2] >= 0x30 && s[2] <= 0x7e {
			return 3
		}
		return 1
	case c >= 0x30 && c <= 0x7e:
		return 2
	}
	return 1
}

// csiLen measures ESC [ parameters intermediates final (ECMA-48, 5.4).
func csiLen(s []byte) int {
	const limit = 64 // far longer than any real one
	for i := 2; i < len(s) && i < limit; i++ {
		switch c := s[i]; {
		case c >= 0x40 && c <= 0x7e:
			return i + 1
		case c < 0x20 || c > 0x3f:
			return 1
		}
	}
	return 1
}

// stringLen measures a control string up to its end, BEL or ESC \.
func stringLen(s []byte) int {
	const limit = 4096
	for i := 2; i < len(s) && i < limit; i++ {
		if s[i] == 0x07 {
			return i + 1
		}
		if s[i] == 0x1b {
			if i+1 < len(s) && s[i+1] == '\\' {
				return i + 2
			}
			return 1
		}
	}
	return 1
}
