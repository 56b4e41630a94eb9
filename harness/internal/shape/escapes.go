package shape

import (
	"bytes"
	"html"
	"regexp"
	"strconv"
)

// htmlTag is one of the tags that web pages put around lines. The kernel's own <TASK>
// is none of them.
var htmlTag = regexp.MustCompile(`(?i)</?(?:span|br|pre|div|p|a|b|i|u|em|strong|font|code|samp|tt|html|head|body|table|tbody|tr|td|th|li|ol|ul|mark|button|section|h[1-6])(?:\s[^<>]*)?/?>`)

var (
	entity   = regexp.MustCompile(`&(?:lt|gt|amp|quot|apos|nbsp|#[0-9]{1,5}|#x[0-9a-fA-F]{1,5});`)
	lineEnds = regexp.MustCompile(`(?i)(?:<br\s*/?>|</(?:div|p|tr|li)>)\r?\n?`)
)

// isHTML: tags that web pages have, or entities, and no other text between < and >.
func isHTML(s sample) bool {
	entities := s.count(func(l []byte) bool { return bytes.IndexByte(l, '&') >= 0 && entity.Match(l) })
	tags := s.count(func(l []byte) bool { return bytes.IndexByte(l, '<') >= 0 && htmlTag.Match(l) })
	if tags < 3 && entities < 1 {
		return false
	}
	bare := s.count(func(l []byte) bool { return bytes.IndexByte(htmlTag.ReplaceAll(l, nil), '<') >= 0 })
	return bare == 0 || tags*4 >= len(s.lines)
}

func fromHTML(log []byte) []byte {
	log = lineEnds.ReplaceAll(log, []byte("\n"))
	log = htmlTag.ReplaceAll(log, nil)
	return entity.ReplaceAllFunc(log, func(e []byte) []byte {
		if string(e) == "&nbsp;" {
			return []byte(" ")
		}
		return []byte(html.UnescapeString(string(e)))
	})
}

// pythonLine is `b'...\r\n'`, as programs in Python log what they read.
func pythonLine(l []byte) bool {
	l = bytes.TrimSpace(l)
	return len(l) > 3 && (l[0] == 'b' && (l[1] == '\'' || l[1] == '"') && l[len(l)-1] == l[1] || l[0] == '"' && l[len(l)-1] == '"') &&
		(bytes.HasSuffix(l[:len(l)-1], []byte(`\n`)) || bytes.HasSuffix(l[:len(l)-1], []byte(`\r`)))
}

// isEscaped: the line feeds are written out as \n, each line in quotes or all of
// them in few lines.
func isEscaped(s sample) bool {
	if s.most(pythonLine) {
		return true
	}
	feeds, lines := bytes.Count(s.head, []byte(`\n`)), bytes.Count(s.head, []byte("\n"))
	return feeds >= 5 && feeds > 5*lines
}

func fromEscaped(log []byte) []byte {
	return perLine(func(out, line []byte, end string) []byte {
		l := bytes.TrimSpace(line)
		if pythonLine(l) {
			l = bytes.TrimPrefix(l, []byte("b"))
			return unescape(out, l[1:len(l)-1])
		}
		return append(unescape(out, line), end...)
	})(log)
}

// escapes are those of C and its heirs, of one letter.
var escapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', 'e': 0x1b, 'a': 7, 'b': 8, '"': '"', '\'': '\'', '\\': '\\', '/': '/', '0': 0}

// unescape undoes backslash escapes.
func unescape(out, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 == len(b) {
			out = append(out, b[i])
			continue
		}
		i++
		digits := map[byte]int{'x': 2, 'u': 4}[b[i]]
		if digits > 0 && i+digits < len(b) {
			if v, err := strconv.ParseUint(string(b[i+1:i+1+digits]), 16, 32); err == nil {
				if digits == 2 {
					out = append(out, byte(v))
				} else {
					out = append(out, string(rune(v))...)
				}
				i += digits
				continue
			}
		}
		if c, ok := escapes[b[i]]; ok {
			out = append(out, c)
		} else {
			out = append(out, '\\', b[i])
		}
	}
	return out
}

var (
	lineCaret = []byte("^M")
	escCaret  = []byte("^[[")
)

// hasCarets: control characters as `cat -v` and editors show them.
func hasCarets(s sample) bool {
	ends := s.count(func(l []byte) bool { return bytes.HasSuffix(l, lineCaret) })
	esc := s.count(func(l []byte) bool { return bytes.Contains(l, escCaret) })
	return ends >= 3 && ends*4 >= len(s.lines) || esc >= 3
}

func fromCarets(log []byte) []byte {
	log = bytes.ReplaceAll(log, []byte("^M\n"), []byte("\n"))
	log = bytes.ReplaceAll(log, lineCaret, []byte("\r"))
	log = bytes.ReplaceAll(log, []byte("^["), []byte("\x1b"))
	return bytes.ReplaceAll(log, []byte("^I"), []byte("\t"))
}

// hasOctals: control characters as rsyslog writes them.
func hasOctals(s sample) bool {
	return s.count(func(l []byte) bool {
		return bytes.Contains(l, []byte("#033[")) || bytes.HasSuffix(l, []byte("#015"))
	}) >= 3
}

func fromOctals(log []byte) []byte {
	for _, o := range []struct{ written, is string }{{"#033", "\x1b"}, {"#015", "\r"}, {"#011", "\t"}} {
		log = bytes.ReplaceAll(log, []byte(o.written), []byte(o.is))
	}
	return log
}

// sgr is a terminal's escape sequence for colours (ECMA-48).
var (
	sgr     = regexp.MustCompile(`\x1b\[[0-9;]{0,16}[mK]`)
	bareSGR = regexp.MustCompile(`\[(?:0|1|[0-9]{1,2}(?:;[0-9]{1,3}){1,4}|3[0-7]|9[0-7])m`)
	// colouredStamp is the start of a line of `dmesg --color`.
	colouredStamp = regexp.MustCompile(`^(?:\x1b\[[0-9;]{0,16}m)+\[`)
)

func hasColours(s sample) bool {
	return s.count(func(l []byte) bool { return colouredStamp.Match(l) && isKernelStamp(sgr.ReplaceAll(l, nil)) }) >= 3
}

func withoutColours(log []byte) []byte { return sgr.ReplaceAll(log, nil) }

// hasBareColours: a paste loses the escape character, and keeps the rest.
func hasBareColours(s sample) bool {
	esc := s.count(func(l []byte) bool { return bytes.IndexByte(l, 0x1b) >= 0 })
	return esc == 0 && s.count(bareSGR.Match) >= 3
}

func withoutBareColours(log []byte) []byte { return bareSGR.ReplaceAll(log, nil) }
