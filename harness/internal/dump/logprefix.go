package dump

import (
	"bytes"
	"time"
)

var levelNames = []string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"}

// parseLogPrefix reads the prefixes that begin with a letter or a digit.
func parseLogPrefix(b []byte, r *Record) (int, prefixKind) {
	if isDigit(b[0]) {
		if n, kind := parseKmsg(b, r); n > 0 {
			return n, kind
		}
		if n := parseISODate(b, r); n > 0 {
			return parseHostTag(b, n, r)
		}
		return 0, prefixNone
	}
	if n, kind := parseDecoded(b, r); n > 0 {
		return n, kind
	}
	if n := parseSyslogDate(b, r); n > 0 {
		return parseHostTag(b, n, r)
	}
	return 0, prefixNone
}

// parseKmsg reads `4,4955,12879198184,-[,caller=T1];` of /dev/kmsg
// (Documentation/ABI/testing/dev-kmsg): priority, sequence, microseconds.
func parseKmsg(b []byte, r *Record) (int, prefixKind) {
	var v [3]uint64
	i := 0
	for f := range v {
		s := i
		for i < len(b) && i-s < 18 && isDigit(b[i]) {
			v[f] = v[f]*10 + uint64(b[i]-'0')
			i++
		}
		if i == s || i >= len(b) || b[i] != ',' {
			return 0, prefixNone
		}
		i++
	}
	e := bytes.IndexByte(b[i:min(len(b), i+80)], ';')
	if e < 1 {
		return 0, prefixNone
	}
	if c := bytes.Index(b[i:i+e], []byte("caller=")); c >= 0 {
		var w [16]byte
		w[0] = '['
		m := copy(w[1:15], b[i+c+7:i+e])
		w[1+m] = ']'
		parseCaller(w[:m+2], r)
	}
	r.Level = int(v[0] & 7)
	r.Time, r.HasTime = float64(v[2])/1e6, true
	if v[0]>>3 != 0 {
		return i + e + 1, prefixUser
	}
	return i + e + 1, prefixKernel
}

// parseDecoded reads the `kern  :alert : ` of dmesg -x.
func parseDecoded(b []byte, r *Record) (int, prefixKind) {
	i := 0
	for i < len(b) && i < 9 && (b[i] >= 'a' && b[i] <= 'z' || isDigit(b[i])) {
		i++
	}
	name := i
	for i < len(b) && i < 9 && b[i] == ' ' {
		i++
	}
	if name == 0 || i >= len(b) || b[i] != ':' {
		return 0, prefixNone
	}
	rest := b[i+1:]
	for l, w := range levelNames {
		if hasPrefix(rest, w) {
			j := len(w)
			for j < len(rest) && j < 9 && rest[j] == ' ' {
				j++
			}
			if j+1 >= len(rest) || rest[j] != ':' || rest[j+1] != ' ' {
				return 0, prefixNone
			}
			r.Level = l
			if string(b[:name]) == "kern" {
				return i + 1 + j + 2, prefixKernel
			}
			k := i + 1 + j + 2
			m := parseStamp(b[k:], r)
			for k+m < len(b) && b[k+m] == ' ' {
				m++
			}
			return k + m, prefixUser
		}
	}
	return 0, prefixNone
}

// parseSyslogDate reads `Jun  3 19:59:56` with optional decimals.
func parseSyslogDate(b []byte, r *Record) int {
	const layout = "Jan _2 15:04:05"
	if len(b) < len(layout)+2 || b[3] != ' ' || b[6] != ' ' || b[9] != ':' || b[12] != ':' {
		return 0
	}
	t, err := time.Parse(layout, string(b[:len(layout)]))
	if err != nil {
		return 0
	}
	r.Time, r.HasTime, r.Wall = float64(t.Unix()), true, true
	return skipDecimals(b, len(layout))
}

// parseISODate reads `2024-06-03T19:59:56` with optional decimals and zone.
func parseISODate(b []byte, r *Record) int {
	const layout = "2006-01-02T15:04:05"
	if len(b) < len(layout)+2 || b[4] != '-' || b[7] != '-' || b[10] != 'T' && b[10] != ' ' {
		return 0
	}
	s := []byte(string(b[:len(layout)]))
	s[10] = 'T'
	t, err := time.Parse(layout, string(s))
	if err != nil {
		return 0
	}
	r.Time, r.HasTime, r.Wall = float64(t.Unix()), true, true
	n := skipDecimals(b, len(layout))
	for n < len(b) && n < len(layout)+20 && b[n] != ' ' {
		n++
	}
	return n
}

func skipDecimals(b []byte, n int) int {
	if n < len(b) && b[n] == '.' {
		n++
		for n < len(b) && isDigit(b[n]) && n < 40 {
			n++
		}
	}
	return n
}

// parseHostTag reads ` host kernel: ` or ` host name[pid]: ` after a date.
func parseHostTag(b []byte, n int, r *Record) (int, prefixKind) {
	if n >= len(b) || b[n] != ' ' {
		r.Time, r.HasTime, r.Wall = 0, false, false
		return 0, prefixNone
	}
	n++
	sp := bytes.IndexByte(b[n:min(len(b), n+80)], ' ')
	if sp <= 0 {
		return n, prefixNone
	}
	tag := b[n+sp+1:]
	if hasPrefix(tag, "kernel:") {
		n += sp + 1 + len("kernel:")
		if n < len(b) && b[n] == ' ' {
			n++
		}
		return n, prefixKernel
	}
	return n + sp + 1, prefixUser
}

// monotonicTag reads the `host kernel: ` or `host name[pid]: ` that
// journalctl -o short-monotonic prints after the stamp. Of a program's tag (user)
// it skips the host only.
func monotonicTag(b []byte) (n int, user bool) {
	sp := bytes.IndexByte(b[:min(len(b), 65)], ' ')
	if sp <= 0 {
		return 0, false
	}
	for _, c := range b[:sp] {
		if !isWord(c) && c != '-' && c != '.' {
			return 0, false
		}
	}
	tag := b[sp+1:]
	if hasPrefix(tag, "kernel: ") {
		return sp + 1 + len("kernel: "), false
	}
	if userTagLength(tag) > 0 {
		return sp + 1, true
	}
	return 0, false
}
