package shape

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

const mark = "\xef\xbb\xbf"

func hasMark(s sample) bool { return bytes.HasPrefix(s.head, []byte(mark)) }

// byteOrder is that of UTF-16 text: by its mark, else by where the zeros of ASCII
// text are. nil means that it is no UTF-16.
func byteOrder(head []byte) binary.ByteOrder {
	switch {
	case len(head) < 8:
		return nil
	case head[0] == 0xff && head[1] == 0xfe:
		return binary.LittleEndian
	case head[0] == 0xfe && head[1] == 0xff:
		return binary.BigEndian
	}
	var zeros [2]int
	for i, c := range head {
		if c == 0 {
			zeros[i&1]++
		}
	}
	half := len(head) / 2
	switch {
	case zeros[1] > half*9/10 && zeros[0] < half/10:
		return binary.LittleEndian
	case zeros[0] > half*9/10 && zeros[1] < half/10:
		return binary.BigEndian
	}
	return nil
}

func isUTF16(s sample) bool { return byteOrder(s.head) != nil }

func fromUTF16(log []byte) []byte {
	order := byteOrder(log[:min(len(log), headSize)])
	out := make([]byte, 0, len(log)/2+len(log)/8)
	for i := 0; i+1 < len(log); i += 2 {
		r := rune(order.Uint16(log[i:]))
		if utf16.IsSurrogate(r) && i+3 < len(log) {
			if r2 := utf16.DecodeRune(r, rune(order.Uint16(log[i+2:]))); r2 != utf8.RuneError {
				r, i = r2, i+2
			}
		}
		if r == 0xfeff && i == 0 {
			continue
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

// oddBlanks are what word processors, mail programs and web pages put in the place
// of blanks, and what they add that nobody sees.
var oddBlanks = []struct{ odd, plain string }{
	{"\u00a0", " "}, {"\u2007", " "}, {"\u202f", " "}, {"\u2003", " "}, {"\u2002", " "},
	{"\u200b", ""}, {"\u2060", ""}, {"\ufeff", ""},
}

func oddBlank(line []byte) bool {
	for _, b := range oddBlanks {
		if bytes.Contains(line, []byte(b.odd)) {
			return true
		}
	}
	return false
}

// hasOddBlanks: the kernel prints none of them.
func hasOddBlanks(s sample) bool {
	n := s.count(oddBlank)
	return n >= 3 && n*4 >= len(s.lines)
}

func fromOddBlanks(log []byte) []byte {
	for _, b := range oddBlanks {
		log = bytes.ReplaceAll(log, []byte(b.odd), []byte(b.plain))
	}
	return log
}
