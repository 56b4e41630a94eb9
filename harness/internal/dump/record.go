package dump

import (
	"bytes"
	"iter"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// Source is a guess at who wrote a record.
type Source string

// The sources of console text.
const (
	SourceKernel    Source = "kernel"
	SourceUserspace Source = "userspace"
	SourceFirmware  Source = "firmware"
)

// MaxRecord is the longest record in bytes. A longer line is cut into several
// records; printk itself stops near 1,000.
const MaxRecord = 8192

// Record is one message of the console without its prefix.
type Record struct {
	// Offset is where the record starts in the log, prefix included, in bytes.
	Offset int64
	// End is where it ends, line feed included.
	End int64
	// Text is the message without prefix, carriage return and line feed. It
	// points into the log.
	Text []byte
	// Level is the printk log level 0..7, -1 if not printed.
	Level int
	// Time is the stamp in seconds, since boot or, when Wall is set, since
	// 1970 (time zone unknown). Stamps may go backwards.
	Time float64
	// HasTime says that the record carries a stamp.
	HasTime bool
	// Wall says that Time is a date.
	Wall bool
	// Caller is the printk caller ID.
	Caller model.Caller
	// Source is a guess.
	Source Source
}

// Records iterates over the records of a log in the order they were printed.
// A line that holds several records (user-space text followed by a printk
// prefix, or two printk writers on one line) gives several. Empty lines give
// none.
func Records(log []byte) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		var s splitter
		s.split(log, yield)
	}
}

// lineLength is the length of the first line of b with its terminator, at most
// MaxRecord.
func lineLength(b []byte) int {
	w := b
	if len(w) > MaxRecord {
		w = w[:MaxRecord]
	}
	if n := bytes.IndexByte(w, '\n'); n >= 0 {
		return n + 1
	}
	return len(w)
}

// splitter cuts lines into records and guesses who wrote them.
type splitter struct {
	kernelSeen bool // the kernel has printed
	stamped    bool // the kernel prints time stamps
	userSeen   bool // user space runs
	plain      bool // a kernel banner had no stamp
	restarted  bool // firmware or a loader has printed since the kernel's last stamp
	excerpt    bool // a kernel or user space has printed before any banner
	work       int  // bytes looked at
	rec        Record
}

func (s *splitter) split(log []byte, yield func(Record) bool) {
	for pos := 0; pos < len(log); {
		n := lineLength(log[pos:])
		if !s.line(log[pos:pos+n], int64(pos), yield) {
			return
		}
		pos += n
	}
}

// line emits the records of one line, terminator included.
func (s *splitter) line(line []byte, off int64, yield func(Record) bool) bool {
	end := off + int64(len(line))
	text := trimEnd(line)
	s.work += len(line)
	// systemd's status lines overwrite each other with a bare \r.
	for {
		cr := bytes.IndexByte(text, '\r')
		if cr < 0 {
			break
		}
		if !s.segment(text[:cr], off, off+int64(cr)+1, yield) {
			return false
		}
		off += int64(cr) + 1
		text = text[cr+1:]
	}
	return s.segment(text, off, end, yield)
}

// segment emits the records of a piece of a line without carriage returns.
func (s *splitter) segment(text []byte, off, end int64, yield func(Record) bool) bool {
	for len(text) > 0 {
		r := &s.rec
		*r = Record{Offset: off, End: end, Level: -1}
		n, kind := parsePrefix(text, r)
		body := text[n:]
		next := nextStamp(body)
		s.work += n + next
		if next < len(body) {
			r.End = off + int64(n+next)
		}
		r.Text = trimBlanks(body[:next])
		if len(r.Text) > 0 {
			s.guess(r, kind)
			if !yield(*r) {
				return false
			}
		}
		off += int64(n + next)
		text = body[next:]
	}
	return true
}

// guess sets the source of a record.
func (s *splitter) guess(r *Record, kind prefixKind) {
	switch {
	case kind == prefixUser:
		r.Source = SourceUserspace
		s.userSeen = true
	case kind == prefixKernel:
		s.kernelSeen, s.stamped, s.restarted = true, true, false
		r.Source = SourceKernel
		if isUserTag(r.Text) {
			r.Source = SourceUserspace
		}
	case isKernelStart(r.Text) && !s.quoted(r.Text):
		if s.excerpt { // what was before belongs to another boot
			s.userSeen, s.excerpt = false, false
		}
		s.plain = s.plain || hasPrefix(r.Text, "Linux version ")
		s.kernelSeen, s.restarted = true, true
		r.Source = SourceKernel
	case !s.kernelSeen:
		r.Source = writer(r.Text)
		s.excerpt = r.Source != SourceFirmware
		s.kernelSeen, s.userSeen = s.excerpt, r.Source == SourceUserspace
	case s.excerpt && !s.stamped:
		r.Source = SourceUserspace
		if w := writer(r.Text); w == SourceKernel || w == SourceFirmware && !s.userSeen {
			r.Source = SourceKernel
		}
		s.userSeen = s.userSeen || r.Source == SourceUserspace
	case isFirmwareStart(r.Text):
		s.restarted = true
		r.Source = SourceUserspace
	case s.stamped || s.userSeen:
		r.Source = SourceUserspace
	default:
		// printk.time=0: the two look alike before user space starts.
		r.Source = SourceKernel
	}
	if !s.userSeen && hasPrefix(r.Text, "Run ") && bytes.Contains(r.Text, []byte("as init process")) {
		s.userSeen = true
	}
}

// quoted recognises `cat /proc/version`: a banner without a stamp after a kernel
// that stamps its lines, and no reset between them.
func (s *splitter) quoted(b []byte) bool {
	return s.stamped && !s.plain && !s.restarted && (hasPrefix(b, "Linux version ") || hasPrefix(b, "Booting Linux on physical CPU"))
}

// isKernelStart recognises the kernel's first lines, which carry no stamp.
func isKernelStart(b []byte) bool {
	return hasPrefix(b, "Linux version ") || hasPrefix(b, "EFI stub: ") ||
		hasPrefix(b, "early console in ") || hasPrefix(b, "Decompressing Linux") ||
		hasPrefix(b, "Uncompressing Linux") || hasPrefix(b, "Booting Linux on physical CPU") ||
		hasPrefix(b, "Probing EDD (edd=off")
}

// isReportStart recognises the first line of a report of the kernel, in an excerpt of
// a log that begins there.
func isReportStart(b []byte) bool {
	t := unprefixed(b)
	if len(t) < 5 {
		return false
	}
	if rest, ok := bytes.CutPrefix(t, []byte("INFO: ")); ok {
		return lockdepInfo(rest) || hasPrefix(rest, "rcu_") || hasPrefix(rest, "task ")
	}
	switch reportKind(t) {
	case "":
		in, _ := reportIn(t)
		return in != nil
	case ReportReboot:
		return false
	case ReportWarning: // anybody may print "WARNING: "
		return !hasPrefix(t, "WARNING: ") || ipSymbol(t) != nil || hasPrefix(t, "WARNING: kernel stack ")
	}
	return true
}

// isFirmwareStart recognises the first lines of firmware.
func isFirmwareStart(b []byte) bool {
	return hasPrefix(b, "SeaBIOS (version") || hasPrefix(b, "U-Boot ") || hasPrefix(b, "UEFI firmware") || hasPrefix(b, "coreboot-")
}

// isUserTag distinguishes `name[pid]: text`, which user space writes to /dev/kmsg,
// from// the kernel's own `comm[pid]: segfault at ...`.
func isUserTag(b []byte) bool {
	if hasPrefix(b, "dracut: ") {
		return true
	}
	n := userTagLength(b)
	if n == 0 {
		return false
	}
	rest := bytes.TrimLeft(b[n:], " ")
	return !hasPrefix(rest, "segfault at") && !hasPrefix(rest, "unhandled ") && !hasPrefix(rest, "bad frame")
}

// userTagLength is the length of a leading `name[pid]:`, 0 if there is none.
func userTagLength(b []byte) int {
	i := 0
	for i < len(b) && i < 64 && (isWord(b[i]) || b[i] == '-' || b[i] == '.' || b[i] == '@' || b[i] == '(' || b[i] == ')' || b[i] == '/') {
		i++
	}
	if i == 0 || i >= len(b) || b[i] != '[' {
		return 0
	}
	j := i + 1
	for j < len(b) && isDigit(b[j]) {
		j++
	}
	if j == i+1 || j+1 >= len(b) || b[j] != ']' || b[j+1] != ':' {
		return 0
	}
	return j + 2
}

// trim removes white space at both ends.
func trim(b []byte) []byte { return bytes.TrimSpace(b) }

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t' || b[len(b)-1] == 0) {
		b = b[:len(b)-1]
	}
	return b
}

func trimEnd(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}

func hasPrefix(b []byte, p string) bool { return len(b) >= len(p) && string(b[:len(p)]) == p }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }

func isWord(c byte) bool {
	return isDigit(c) || c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
