package dump

import (
	"bytes"
	"time"
)

var levelNames = []string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"}

// logPrefixes are the prefixes that begin with a letter or a digit.
var logPrefixes = []struct {
	digit bool // it begins with one
	parse func([]byte, *Record) (int, prefixKind)
}{
	{true, parseKmsg},
	{true, tagged(parseISODate)},   // syslog, journalctl -o short-iso
	{true, tagged(parseEpoch)},     // journalctl -o short-unix
	{false, parseDecoded},          // dmesg -x
	{false, tagged(parseSyslog)},   // syslog, journalctl
	{false, tagged(parseFullDate)}, // journalctl -o short-full
}

// tagged makes a parser of a prefix of one of its date.
func tagged(date func([]byte, *Record) int) func([]byte, *Record) (int, prefixKind) {
	return func(b []byte, r *Record) (int, prefixKind) {
		n := date(b, r)
		if n == 0 {
			return 0, prefixNone
		}
		return parseHostTag(b, n, r)
	}
}

// parseLogPrefix reads the first of logPrefixes that fits.
func parseLogPrefix(b []byte, r *Record) (int, prefixKind) {
	digit := isDigit(b[0])
	for i := range logPrefixes {
		if p := &logPrefixes[i]; p.digit == digit {
			if n, kind := p.parse(b, r); n > 0 {
				return n, kind
			}
		}
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

// parseSyslog reads `Jun  3 19:59:56` with optional decimals.
func parseSyslog(b []byte, r *Record) int {
	const layout = "Jan _2 15:04:05"
	if len(b) < len(layout)+2 || b[0] < 'A' || b[0] > 'S' || b[3] != ' ' || b[6] != ' ' || b[9] != ':' || b[12] != ':' {
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

// parseFullDate reads `Mon 2024-06-03 19:59:56 UTC`.
func parseFullDate(b []byte, r *Record) int {
	if len(b) < 28 || b[3] != ' ' || b[8] != '-' || b[0] < 'F' || b[0] > 'W' {
		return 0
	}
	n := parseISODate(b[4:], r)
	if n == 0 {
		return 0
	}
	n += 4
	for k := n + 1; n < len(b) && b[n] == ' ' && k < len(b) && k < n+8; k++ { // the zone
		if b[k] == ' ' {
			return k
		}
	}
	return n
}

// parseEpoch reads `1717444796.123456`.
func parseEpoch(b []byte, r *Record) int {
	sec, n := parseDec(b)
	if n != 10 || n == len(b) || b[n] != '.' {
		return 0
	}
	r.Time, r.HasTime, r.Wall = float64(sec), true, true
	return skipDecimals(b, n)
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

// parseHostTag reads ` host kernel: ` or ` host name[pid]: ` after a date. A date
// without it says nothing about who wrote the line, and only its blank is skipped.
func parseHostTag(b []byte, n int, r *Record) (int, prefixKind) {
	if n < len(b) && b[n] == ' ' {
		n++
		if k, user := hostTag(b[n:]); user {
			return n + k, prefixUser
		} else if k > 0 {
			return n + k, prefixKernel
		}
	}
	r.Time, r.HasTime, r.Wall = 0, false, false
	return n, prefixNone
}

// hostTag reads `host kernel: ` or `host name[pid]: ` or `host name: `. Of a
// program's tag (user) it skips the host only.
func hostTag(b []byte) (n int, user bool) {
	host := 0
	for host < len(b) && host < 65 && (isWord(b[host]) || b[host] == '-' || b[host] == '.') {
		host++
	}
	if host == 0 || host+1 >= len(b) || b[host] != ' ' {
		return 0, false
	}
	tag := b[host+1:]
	if hasPrefix(tag, "kernel:") {
		n = host + 1 + len("kernel:")
		if n < len(b) && b[n] == ' ' {
			n++
		}
		return n, false
	}
	if userTagLength(tag) > 0 {
		return host + 1, true
	}
	name := 0
	for name < len(tag) && name < 65 && (isWord(tag[name]) || bytes.IndexByte([]byte("-.@/()"), tag[name]) >= 0) {
		name++
	}
	if name > 0 && name+1 < len(tag) && tag[name] == ':' && tag[name+1] == ' ' {
		return host + 1, true
	}
	return 0, false
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
