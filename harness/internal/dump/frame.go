package dump

import (
	"bytes"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// pastEnd says that the address is the first byte of the function. A return
// address there belongs to the function before it, which ends in a call that does
// not return; its name is not printed.
func pastEnd(f model.Frame) bool { return f.Off == 0 && f.Size > 0 }

// rawFrame is a Frame whose strings still point into the log.
type rawFrame struct {
	fn, mod   []byte
	off, size uint64
	guess     bool
	inline    bool
}

// parseFrame reads one line of a stack trace. The forms:
//
//	fn+0x12/0x34 [mod]                      >= 4.10
//	? fn+0x12/0x34                          unreliable
//	[<ffffffff81012345>] ? fn+0x12/0x34     < 4.10
//	[<ffff..>] :mod:fn+0x12/0x34            2.6 x86_64
//	[sp] [pc] fn+0x12/0x34 (unreliable)     ppc
//	fn+0x12/0x34 (P)                        arm64 >= 6.13
//	fn+0x12/0x34 file.c:12 [inline]         syzkaller's symbolised form
//
// A line whose first word is not a symbol is not a frame.
func parseFrame(b []byte) (rawFrame, bool) {
	plus := bytes.IndexByte(b, '+')
	if plus <= 0 || plus+3 >= len(b) || b[plus+1] != '0' || b[plus+2] != 'x' {
		return rawFrame{}, false
	}
	f := rawFrame{}
	start := plus
	for start > 0 && isSymbol(b[start-1]) {
		start--
	}
	f.fn = b[start:plus]
	if len(f.fn) == 0 || len(f.fn) > 300 || isDigit(f.fn[0]) {
		return rawFrame{}, false
	}
	var ok bool
	if f.mod, f.guess, ok = frameLead(b[:start]); !ok {
		return rawFrame{}, false
	}
	i := plus + 3
	var n int
	if f.off, n = parseHex(b[i:]); n == 0 {
		return rawFrame{}, false
	}
	i += n
	if i+2 >= len(b) || b[i] != '/' || b[i+1] != '0' || b[i+2] != 'x' {
		return rawFrame{}, false
	}
	i += 3
	if f.size, n = parseHex(b[i:]); n == 0 {
		return rawFrame{}, false
	}
	frameTail(b[i+n:], &f)
	return f, true
}

// frameLead checks what stands before the symbol: blanks, an address in
// brackets, the question mark, or an old `:mod:`.
func frameLead(b []byte) (mod []byte, guess, ok bool) {
	for i := 0; i < len(b); {
		switch {
		case b[i] == ' ' || b[i] == '\t':
			i++
		case b[i] == '?':
			guess = true
			i++
		case b[i] == '[':
			e := bytes.IndexByte(b[i:min(len(b), i+24)], ']')
			if e < 0 || !isAddress(b[i+1:i+e]) {
				return nil, false, false
			}
			i += e + 1
		case b[i] == ':':
			e := bytes.IndexByte(b[i+1:], ':')
			if e <= 0 || i+e+2 != len(b) {
				return nil, false, false
			}
			return b[i+1 : i+1+e], guess, true
		default:
			return nil, false, false
		}
	}
	return mod, guess, true
}

// isAddress accepts `<ffffffff81012345>`, `<0>`, `(address)` and bare hex.
func isAddress(b []byte) bool {
	if len(b) > 2 && b[0] == '<' && b[len(b)-1] == '>' {
		b = b[1 : len(b)-1]
	}
	if len(b) == 0 {
		return false
	}
	for _, c := range b {
		if !isHex(c) {
			return false
		}
	}
	return true
}

// frameTail reads ` [mod]`, ` [mod buildid]` and ` (unreliable)`.
func frameTail(b []byte, f *rawFrame) {
	if len(b) < 3 || b[0] != ' ' {
		return
	}
	if hasPrefix(b, " (unreliable)") {
		f.guess = true
		return
	}
	if b[1] != '[' {
		return
	}
	e := bytes.IndexByte(b, ']')
	if e < 3 {
		return
	}
	m := b[2:e]
	if s := bytes.IndexByte(m, ' '); s > 0 {
		m = m[:s]
	}
	if string(m) != "inline" {
		f.mod = m
	}
}

// parseOddFrames reads the rarer forms, appending to out. It is tried only
// inside a trace:
//
//	[<c0..>] (fn) from [<c0..>] (gn+0x12/0x34)      arm32
//	[<c0..>] (fn+0x0/0x12) from [<c0..>] (gn+0x12/0x34)   arm32 until 3.14
//	 fn from gn+0x12/0x34                            arm32 >= 5.18
//	<ffffffff80123456>{fn+12} <..>{gn+34}            x86_64 before 2.6.18
//	 fn (file.c:12 file.c:34)                        decode_stacktrace.sh
//	 fn file.c:12 [inline]                           syzkaller
//	 [inline] fn file.c:12
func parseOddFrames(b []byte, out []rawFrame) []rawFrame {
	if i := bytes.Index(b, []byte(" from ")); i > 0 {
		if g, ok := parseFrame(stripParens(b[i+6:])); ok {
			if f, ok := parseFrame(stripParens(b[:i])); ok { // 3.x: (fn+0x0/0xf8) from ...
				out = append(out, f)
			} else if fn := lastSymbol(b[:i]); len(fn) > 0 {
				out = append(out, rawFrame{fn: fn})
			}
			return append(out, g)
		}
	}
	if bytes.IndexByte(b, '{') >= 0 {
		return braceFrames(b, out)
	}
	s := bytes.TrimLeft(b, " \t")
	guess, inline := false, bytes.HasSuffix(s, []byte("[inline]"))
	if hasPrefix(s, "[inline] ") {
		s, inline = s[len("[inline] "):], true
	}
	if hasPrefix(s, "? ") {
		s, guess = s[2:], true
	}
	n := 0
	for n < len(s) && isSymbol(s[n]) {
		n++
	}
	if n == 0 || isDigit(s[0]) || n+3 >= len(s) || s[n] != ' ' {
		return out
	}
	rest := s[n+1:]
	if rest[0] == '(' {
		rest = rest[1:]
	}
	if isSourceLine(rest) {
		f := rawFrame{fn: s[:n], guess: guess, inline: inline}
		if e := bytes.LastIndexByte(rest, '['); e > 0 {
			frameTail(append([]byte{' '}, rest[e:]...), &f)
		}
		return append(out, f)
	}
	return out
}

// isSourceLine recognises `dir/file.c:12`.
func isSourceLine(b []byte) bool {
	n := 0
	for n < len(b) && (isWord(b[n]) || b[n] == '/' || b[n] == '.' || b[n] == '-' || b[n] == '+') {
		n++
	}
	if n < 3 || n+1 >= len(b) || b[n] != ':' || !isDigit(b[n+1]) {
		return false
	}
	e := b[:n]
	return bytes.HasSuffix(e, []byte(".c")) || bytes.HasSuffix(e, []byte(".h")) ||
		bytes.HasSuffix(e, []byte(".S")) || bytes.HasSuffix(e, []byte(".rs"))
}

// stripParens turns `[<c0..>] (fn+0x1/0x2)` into `[<c0..>]  fn+0x1/0x2)`.
func stripParens(b []byte) []byte {
	i := bytes.IndexByte(b, '(')
	if i < 0 || i > 30 {
		return b
	}
	return b[i+1:]
}

func lastSymbol(b []byte) []byte {
	e := len(b)
	for e > 0 && !isSymbol(b[e-1]) {
		e--
	}
	s := e
	for s > 0 && isSymbol(b[s-1]) {
		s--
	}
	return b[s:e]
}

// braceFrames reads the `<addr>{fn+12}` of old x86_64 kernels; several stand on
// one line.
func braceFrames(b []byte, out []rawFrame) []rawFrame {
	for len(out) < 16 {
		o := bytes.IndexByte(b, '{')
		if o < 1 || b[o-1] != '>' {
			return out
		}
		e := bytes.IndexByte(b[o:], '}')
		if e < 0 {
			return out
		}
		in := b[o+1 : o+e]
		if p := bytes.IndexByte(in, '+'); p > 0 && isSymbolName(in[:p]) {
			f := rawFrame{fn: in[:p]}
			if c := bytes.LastIndexByte(in[:p], ':'); c > 0 {
				f.mod, f.fn = bytes.Trim(in[:c], ":"), in[c+1:p]
			}
			for _, d := range in[p+1:] {
				if !isDigit(d) || f.off > 1<<40 {
					break
				}
				f.off = f.off*10 + uint64(d-'0')
			}
			out = append(out, f)
		}
		b = b[o+e+1:]
	}
	return out
}

func isSymbolName(b []byte) bool {
	for _, c := range b {
		if !isSymbol(c) && c != ':' {
			return false
		}
	}
	return len(b) > 0
}

func isSymbol(c byte) bool { return isWord(c) || c == '.' || c == '$' || c == '@' }

// parseHex reads hex digits, at most 16, and returns their number.
func parseHex(b []byte) (uint64, int) {
	var v uint64
	i := 0
	for i < len(b) && i < 16 {
		c := b[i]
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		case c >= 'A' && c <= 'F':
			v = v<<4 | uint64(c-'A'+10)
		default:
			return v, i
		}
		i++
	}
	return v, i
}

// parseDec reads decimal digits, at most 18.
func parseDec(b []byte) (int, int) {
	v, i := 0, 0
	for i < len(b) && i < 18 && isDigit(b[i]) {
		v = v*10 + int(b[i]-'0')
		i++
	}
	return v, i
}
