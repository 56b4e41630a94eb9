package dump

import "bytes"

// StripANSI removes terminal escape sequences (CSI, OSC, charset selection and
// single-character escapes) and other control bytes except tab. It returns b
// itself when there is nothing to remove.
func StripANSI(b []byte) []byte {
	clean := true
	for _, c := range b {
		if c < 0x20 && c != '\t' || c == 0x7f {
			clean = false
			break
		}
	}
	if clean {
		return b
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		c := b[i]
		if c == 0x1b {
			i += escapeLength(b[i:])
			continue
		}
		if c >= 0x20 && c != 0x7f || c == '\t' {
			out = append(out, c)
		}
		i++
	}
	return out
}

// escapeLength is the length of the escape sequence at the start of b (ECMA-48).
func escapeLength(b []byte) int {
	if len(b) < 2 {
		return len(b)
	}
	switch b[1] {
	case '[':
		for i := 2; i < len(b); i++ {
			if b[i] >= 0x40 && b[i] <= 0x7e {
				return i + 1
			}
			if b[i] < 0x20 {
				return i
			}
		}
		return len(b)
	case ']', 'P', '_', '^', 'X':
		for i := 2; i < len(b); i++ {
			if b[i] == 0x07 {
				return i + 1
			}
			if b[i] == 0x1b {
				if i+1 < len(b) && b[i+1] == '\\' {
					return i + 2
				}
				return i
			}
		}
		return len(b)
	case '(', ')', '*', '+', '#', '%', ' ':
		return min(3, len(b))
	}
	return 2
}

// trim removes white space at both ends.
func trim(b []byte) []byte { return bytes.TrimSpace(b) }
