package dump

import (
	"slices"
	"strings"
)

// Normalise replaces what varies from boot to boot in a message: addresses
// become ADDR, source lines LINE, numbers of four digits and more NUM, and
// fn+0x1/0x2 becomes fn. Exit codes and device numbers stay.
func Normalise(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		c := s[i]
		if c == '+' && strings.HasPrefix(s[i:], "+0x") && i > 0 && isWord(s[i-1]) {
			i += offsetLength(s[i:])
			continue
		}
		if !isHex(c) || i > 0 && (isWord(s[i-1]) || s[i-1] == '.') {
			b.WriteByte(c)
			i++
			continue
		}
		j := i
		for j < len(s) && isWord(s[j]) {
			j++
		}
		w := s[i:j]
		switch {
		case strings.HasSuffix(s[:i], "exitcode="):
			b.WriteString(w)
		case strings.HasPrefix(w, "0x") && len(w) > 7, len(w) >= 12 && allHex([]byte(w)):
			b.WriteString("ADDR")
		case allDigits([]byte(w)) && isLineNumber(s[:i]):
			b.WriteString("LINE")
		case allDigits([]byte(w)) && len(w) >= 4:
			b.WriteString("NUM")
		default:
			b.WriteString(w)
		}
		i = j
	}
	return b.String()
}

// isLineNumber says whether a number that follows s is the line of a file.
func isLineNumber(s string) bool {
	return slices.ContainsFunc([]string{".c:", ".h:", ".S:", ".rs:"}, func(e string) bool { return strings.HasSuffix(s, e) })
}

// offsetLength is the length of "+0x1a/0x2b" at the start of s.
func offsetLength(s string) int {
	n := len("+0x")
	for n < len(s) && isHex(s[n]) {
		n++
	}
	if strings.HasPrefix(s[n:], "/0x") {
		n += len("/0x")
		for n < len(s) && isHex(s[n]) {
			n++
		}
	}
	return n
}
