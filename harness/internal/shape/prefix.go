package shape

import (
	"bytes"
	"regexp"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/dump"
)

// stamps are the dates and times that CI systems, terminals and `ts` put before a
// line, each with what belongs to it:
//
//	2024-05-01T10:00:01.1234567Z           GitHub Actions
//	2024-05-01T10:00:01.123456Z 00O        GitLab; 00O+ continues a line
//	2024-05-01T10:00:01.123456789Z stdout F  Kubernetes (CRI)
//	[2024-05-01T10:00:01.123Z]             Jenkins
//	2024-05-01 10:00:01,123                Python's logging
//	May 01 10:00:01                        ts
//	Wed May  1 10:00:01 2024
//	00:13:03.237, [00:13:03]               terminals, Jenkins, ts -s
//	1714557601.123456                      ts %.s
//
// The date in brackets of `dmesg -T` is the kernel's own prefix, and not one of them.
var stamps = regexp.MustCompile(`^(?:` +
	`\[?\d{4}-\d\d-\d\d[T _]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|\s?[+-]\d\d:?\d\d|\sUTC)?\]?(?: \d\d[OE][ +]| (?:stdout|stderr) [FP])?` +
	`|(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ 0-3]?\d \d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?: [A-Z]{3,4})?(?: \d{4})?` +
	`|\[?\d\d:\d\d:\d\d(?:[.,]\d{1,9})?\]?` +
	`|\[?\d{10}\.\d{3,9}\]?` +
	`)(?::? ?\|? |\t|$|:)`)

// longStamp is more than any of them takes.
const longStamp = 80

// stampLen is the length of the stamp at the start of a line, with the one blank
// behind it; 0 for none.
func stampLen(line []byte) int {
	if len(line) < 8 || line[0] != '[' && (line[0] < '0' || line[0] > '9') && (line[0] < 'A' || line[0] > 'Z') {
		return 0
	}
	if n := plainStamp(line); n > 0 {
		return n
	}
	m := stamps.FindIndex(line[:min(len(line), longStamp)])
	if m == nil {
		return 0
	}
	return m[1]
}

// plainStamp is stampLen of the commonest stamp, without a regular expression:
// 2024-05-01T10:00:01.1234567Z and a blank, with nothing of a CI's own behind it.
func plainStamp(line []byte) int {
	const form = "dddd-dd-ddTdd:dd:dd."
	if len(line) < len(form)+3 {
		return 0
	}
	for i := range len(form) {
		if form[i] == 'd' && !digit(line[i]) || form[i] != 'd' && form[i] != line[i] {
			return 0
		}
	}
	n := len(form)
	for n < len(line) && n < len(form)+9 && digit(line[n]) {
		n++
	}
	if n == len(form) || n+2 >= len(line) || line[n] != 'Z' || line[n+1] != ' ' {
		return 0
	}
	switch c := line[n+2]; { // what may be GitLab's, Kubernetes' or a column of its own
	case digit(c), c == 's', c == '|', c == ':':
		return 0
	}
	return n + 2
}

// hostTag is what syslog and journalctl print behind the date. Package dump reads
// such lines with the date.
var hostTag = regexp.MustCompile(`^[\w.-]+ (?:kernel|[\w@.()/-]+(?:\[\d+\])?): `)

// isStamped: most lines begin with a stamp, and they are no syslog.
func isStamped(s sample) bool {
	n, tagged := 0, 0
	for _, l := range s.lines {
		if k := stampLen(l); k > 0 {
			n++
			if hostTag.Match(l[k:min(len(l), k+160)]) {
				tagged++
			}
		}
	}
	return n >= 3 && n*5 >= len(s.lines)*3 && tagged*2 < n
}

// quoteLen is the length of the `> ` of mail at the start of a line, of all levels.
func quoteLen(line []byte) int {
	n := 0
	for n < len(line) && line[n] == '>' && n < 20 {
		if n++; n < len(line) && line[n] == ' ' {
			n++
		}
	}
	return n
}

func isQuoted(s sample) bool { return s.most(func(l []byte) bool { return l[0] == '>' }) }

// gitlabSection is the marker of a foldable part of a job's log.
var gitlabSection = regexp.MustCompile(`section_(?:start|end):\d+:[\w.-]+(?:\[[^\]]*\])?\r?(?:\x1b\[0K)?`)

func hasSections(s sample) bool {
	return s.count(func(l []byte) bool { return bytes.HasPrefix(l, []byte("section_")) && gitlabSection.Match(l) }) >= 1
}

func withoutSection(out, line []byte, end string) []byte {
	if bytes.Contains(line, []byte("section_")) {
		if line = gitlabSection.ReplaceAll(line, nil); len(trimmed(line)) == 0 {
			return out
		}
	}
	return append(append(out, line...), end...)
}

// kernelStamp finds the kernel's stamp of six decimals in a line, with a level before
// it: -1 for none.
func kernelStamp(line []byte) int {
	for i := 0; i < len(line); i++ {
		k := bytes.IndexByte(line[i:], '[')
		if k < 0 {
			return -1
		}
		if i += k; stampAt(line[i:]) {
			if i >= 3 && line[i-1] == '>' && line[i-3] == '<' {
				i -= 3
			}
			return i
		}
	}
	return -1
}

func isKernelStamp(line []byte) bool { return kernelStamp(line[:min(len(line), 40)]) == 0 }

// stampAt recognises `[    1.234567]`, and the `[  +0.000234]` of dmesg -H.
func stampAt(b []byte) bool {
	i := 1
	for i < len(b) && i < 12 && (b[i] == ' ' || b[i] == '+') {
		i++
	}
	j := i
	for j < len(b) && j < i+8 && digit(b[j]) {
		j++
	}
	if j == i || j+7 >= len(b) || b[j] != '.' || b[j+7] != ']' {
		return false
	}
	for _, c := range b[j+1 : j+7] {
		if !digit(c) {
			return false
		}
	}
	return true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// maxLead bounds what stands before the kernel's stamp.
const maxLead = 100

// lead is the words before the kernel's stamp in a line, with each number as one 0;
// nil where there are none, or where package dump reads them.
func lead(line []byte) []byte {
	i := kernelStamp(line[:min(len(line), maxLead+40)])
	if i <= 0 || i > maxLead || dump.PrefixLength(line) > i {
		return nil
	}
	return numberless(line[:i])
}

func numberless(b []byte) []byte {
	var out []byte
	for i, c := range b {
		switch {
		case !digit(c):
			out = append(out, c)
		case i == 0 || !digit(b[i-1]):
			out = append(out, '0')
		}
	}
	return out
}

// leads are the words that stand before the kernel's stamp in many lines; most of the
// lines with a stamp must have some.
func leads(s sample) [][]byte {
	seen := map[string]int{}
	stamped := 0
	for _, l := range s.lines {
		if p := lead(l); p != nil {
			seen[string(p)]++
			stamped++
		} else if isKernelStamp(l) || dump.PrefixLength(l) > 0 {
			stamped++
		}
	}
	var out [][]byte
	total := 0
	for p, n := range seen {
		if n >= 3 && n*10 >= stamped {
			out = append(out, []byte(p))
			total += n
		}
	}
	if total*5 < stamped*3 {
		return nil
	}
	slices.SortFunc(out, func(a, b []byte) int { return len(b) - len(a) })
	return out
}

func hasLead(s sample) bool { return len(leads(s)) > 0 }

func withoutLead(log []byte) []byte {
	all := leads(look(log))
	return perLine(stripped(func(line []byte) int {
		for _, p := range all {
			if n := matchLead(line, p); n > 0 {
				return n
			}
		}
		return 0
	}))(log)
}

// matchLead is the length of the words at the start of a line, 0 if it has others.
func matchLead(line, words []byte) int {
	n := 0
	for i, w := range words {
		switch {
		case n == len(line) || n == len(line)-1 && line[n] == '\r':
			if len(bytes.TrimSpace(words[i:])) > 0 {
				return 0
			}
			return n // an empty line has lost its last blank
		case w == '0' && digit(line[n]):
			for n < len(line) && digit(line[n]) {
				n++
			}
		case w != line[n]:
			return 0
		default:
			n++
		}
	}
	return n
}

// indent is the number of blanks that every line begins with.
func indent(s sample) int {
	least := 1000
	for _, l := range s.lines {
		n := 0
		for n < len(l) && (l[n] == ' ' || l[n] == '\t') {
			n++
		}
		least = min(least, n)
	}
	return least
}

// isIndented: a log as a block of Markdown. A trace alone is indented by one.
func isIndented(s sample) bool { return len(s.lines) >= 3 && indent(s) >= 2 }

func withoutIndent(log []byte) []byte {
	width := indent(look(log))
	return perLine(stripped(func(line []byte) int {
		n := 0
		for n < len(line) && n < width && (line[n] == ' ' || line[n] == '\t') {
			n++
		}
		return n
	}))(log)
}
