package dump

import (
	"bytes"
	"time"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// prefixKind is who wrote a line, judging by its prefix.
type prefixKind uint8

const (
	prefixNone   prefixKind = iota // no prefix
	prefixKernel                   // a printk prefix
	prefixUser                     // a syslog prefix of a user-space program
)

// parsePrefix reads the prefix of a console line into r and returns its length.
// The forms, which combine:
//
//	<6>                            pstore, /proc/kmsg, netconsole
//	[    1.234567]                 printk.time, also unpadded and dmesg -d
//	[    1.234567][    T1]         caller ID, 5.1
//	[    1.234567] [      T1]      the same as dmesg prints it, util-linux 2.41
//	[    1.234567] 003:            PREEMPT_RT 5.4
//	[Mon Jun  3 19:59:56 2024]     dmesg -T
//	[Jun 3 19:56], [  +0.000234]   dmesg -H
//	kern  :alert :                 dmesg -x
//	4,4955,12879198184,-;          /dev/kmsg
//	Jun  3 19:59:56 host kernel:   syslog and journalctl, also with other dates
//	May 01 10:00:01                a date of somebody else, before any of these
func parsePrefix(b []byte, r *Record) (int, prefixKind) {
	n, kind := 0, prefixNone
	if len(b) == 0 {
		return 0, kind
	}
	if b[0] == '<' {
		if k := parseLevel(b, r); k > 0 {
			n, kind = k, prefixKernel
		}
	} else if b[0] != '[' && b[0] != ' ' {
		if k, what := parseLogPrefix(b, r); k > 0 {
			n, kind = k, what
			if what == prefixUser {
				return n, kind
			}
		}
	}
	k := parseStamp(b[n:], r)
	if k == 0 {
		return n, kind
	}
	n += k
	kind = prefixKernel
	if k := parseCaller(b[n:], r); k > 0 {
		n += k
	} else if n < len(b) && b[n] == ' ' {
		if k := parseCaller(b[n+1:], r); k > 0 {
			n += 1 + k
		}
	}
	if n < len(b) && b[n] == ' ' {
		n++
	}
	if rest := b[n:]; len(rest) > 4 && isDigit(rest[0]) && isDigit(rest[1]) && isDigit(rest[2]) && rest[3] == ':' && rest[4] == ' ' && r.Caller.Kind == 0 {
		r.Caller = model.Caller{Kind: 'C', ID: int(rest[0]-'0')*100 + int(rest[1]-'0')*10 + int(rest[2]-'0')}
		return n + 5, kind
	}
	if k, user := monotonicTag(b[n:]); k > 0 {
		n += k
		if user {
			kind = prefixUser
		}
	}
	return n, kind
}

// parseLevel reads `<6>`; the facility in the higher bits is dropped.
func parseLevel(b []byte, r *Record) int {
	v, i := 0, 1
	for i < len(b) && i < 5 && isDigit(b[i]) {
		v = v*10 + int(b[i]-'0')
		i++
	}
	if i == 1 || i >= len(b) || b[i] != '>' {
		return 0
	}
	r.Level = v & 7
	return i + 1
}

// parseStamp reads `[    1.234567]` or a date in brackets.
func parseStamp(b []byte, r *Record) int {
	if len(b) < 5 || b[0] != '[' {
		return 0
	}
	i := 1
	for i < len(b) && i < 16 && b[i] == ' ' {
		i++
	}
	since := i < len(b) && b[i] == '+' // dmesg -H: since the line before
	if since {
		i++
	}
	sec, j := uint64(0), i
	for j < len(b) && j-i < 12 && isDigit(b[j]) {
		sec = sec*10 + uint64(b[j]-'0')
		j++
	}
	if j == i {
		return parseDateStamp(b, r)
	}
	if j+1 >= len(b) || b[j] != '.' {
		return 0
	}
	frac, scale, k := uint64(0), 1.0, j+1
	for k < len(b) && k-j <= 9 && isDigit(b[k]) {
		frac = frac*10 + uint64(b[k]-'0')
		scale *= 10
		k++
	}
	if k-j <= 3 || k >= len(b) { // fewer than three decimals is no stamp
		return 0
	}
	if b[k] == ' ' && k+1 < len(b) && b[k+1] == '<' { // dmesg -d
		if e := bytes.IndexByte(b[k:min(len(b), k+24)], ']'); e > 0 {
			k += e
		}
	}
	if b[k] != ']' {
		return 0
	}
	r.Time, r.HasTime, r.Wall = float64(sec)+float64(frac)/scale, true, false
	if since {
		r.Time, r.Wall = 0, true
	}
	return k + 1
}

// parseDateStamp reads the `[Mon Jun  3 19:59:56 2024]` of dmesg -T and the
// `[Jun 3 19:56]` of dmesg -H.
func parseDateStamp(b []byte, r *Record) int {
	const layout = "Mon Jan _2 15:04:05 2006"
	if n := minuteStamp(b); n > 0 {
		r.Time, r.HasTime, r.Wall = 0, true, true
		return n
	}
	n := len(layout) + 2
	if len(b) < n || b[n-1] != ']' || b[4] != ' ' {
		return 0
	}
	t, err := time.Parse(layout, string(b[1:n-1]))
	if err != nil {
		return 0
	}
	r.Time, r.HasTime, r.Wall = float64(t.Unix()), true, true
	return n
}

// minuteStamp is the length of `[Jun 3 19:56]` or `[Jun13 19:56]`, 0 for another text.
func minuteStamp(b []byte) int {
	e := bytes.IndexByte(b[:min(len(b), 16)], ']')
	if e < 11 || b[e-3] != ':' || b[e-6] != ' ' {
		return 0
	}
	day := string(bytes.TrimLeft(b[4:e-6], " "))
	if _, err := time.Parse("Jan 2 15:04", string(b[1:4])+" "+day+" "+string(b[e-5:e])); err != nil {
		return 0
	}
	return e + 1
}

// parseCaller reads `[    T1]` or `[   C0]`. Later kernels may add to it
// (CONFIG_PRINTK_EXECUTION_CTX); the addition is skipped.
func parseCaller(b []byte, r *Record) int {
	if len(b) < 4 || b[0] != '[' {
		return 0
	}
	i := 1
	for i < len(b) && i < 12 && b[i] == ' ' {
		i++
	}
	if i >= len(b) || b[i] != 'T' && b[i] != 'C' {
		return 0
	}
	kind, v, j := b[i], 0, i+1
	for j < len(b) && j-i <= 9 && isDigit(b[j]) {
		v = v*10 + int(b[j]-'0')
		j++
	}
	if j == i+1 || j >= len(b) {
		return 0
	}
	if b[j] != ']' {
		e := bytes.IndexByte(b[j:min(len(b), j+40)], ']')
		if e < 0 || bytes.IndexByte(b[j:j+e], '[') >= 0 {
			return 0
		}
		j += e
	}
	r.Caller = model.Caller{Kind: kind, ID: v}
	return j + 1
}

// nextStamp is where the next printk prefix starts in the middle of b, len(b)
// if there is none. It needs the kernel's six decimals, so that a number in
// brackets does not cut a message.
func nextStamp(b []byte) int {
	for i := 0; i < len(b); {
		k := bytes.IndexByte(b[i:], '[')
		if k < 0 {
			break
		}
		i += k
		if isStampAt(b[i:]) {
			// A log level before it belongs to it.
			if i >= 3 && b[i-1] == '>' && isDigit(b[i-2]) && b[i-3] == '<' {
				i -= 3
			}
			if i > 0 {
				return i
			}
		}
		i++
		for i < len(b) && b[i-1] != '[' {
			i++
		}
	}
	return len(b)
}

func isStampAt(b []byte) bool {
	i := 1
	for i < len(b) && i < 8 && b[i] == ' ' {
		i++
	}
	j := i
	for j < len(b) && j-i < 10 && isDigit(b[j]) {
		j++
	}
	if j == i || j+7 >= len(b) || b[j] != '.' || b[j+7] != ']' {
		return false
	}
	// printk pads the seconds to five places: `[1.000000]` is not a stamp.
	if j-1 < 5 {
		return false
	}
	for k := j + 1; k < j+7; k++ {
		if !isDigit(b[k]) {
			return false
		}
	}
	return true
}

// PrefixLength is the length of what the kernel, syslog or journald put before the
// message of a line: 0 for a line without a stamp.
func PrefixLength(line []byte) int {
	var r Record
	n, kind := parsePrefix(line, &r)
	if kind == prefixNone {
		return 0
	}
	return n
}
