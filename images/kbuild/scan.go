package kbuild

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/unwedge/unwedge/images/progress"
)

// scanner is given what make prints, shows how far it is, and keeps what explains a
// failure: a bounded part of it, whatever is printed.
type scanner struct {
	task  progress.Task
	rest  []byte
	files int // steps of make's
	pace  pace

	host   *hostPattern // the first that was seen, and its line
	hostAt string
	tree   string // the first error of the source
	stop   string // make's own first "***"
	before string // what was said last before that
	last   string // the last line that is not empty
}

const maxLine = 4096 // bytes; a longer line is looked at in pieces

func newScanner(task progress.Task, p pace) *scanner { return &scanner{task: task, pace: p} }

// Write implements io.Writer; it never fails.
func (s *scanner) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.rest = append(s.rest, p[:min(len(p), maxLine)]...)
			if len(s.rest) > maxLine {
				s.flush()
			}
			break
		}
		s.rest = append(s.rest, p[:min(i, maxLine)]...)
		s.flush()
		p = p[i+1:]
	}
	return n, nil
}

func (s *scanner) flush() {
	line := strings.TrimRight(strings.ToValidUTF8(string(s.rest), "?"), " \t\r")
	s.rest = s.rest[:0]
	s.line(line)
}

// stepRE is a line of kbuild's that says what it does: two spaces, a command in
// capitals, its object (scripts/Kbuild.include, quiet_cmd_*).
var stepRE = regexp.MustCompile(`^  ([A-Z][A-Z0-9_+]*(?: \[M\])?) +(\S+)`)

func (s *scanner) line(line string) {
	if m := stepRE.FindStringSubmatch(line); m != nil {
		s.files++
		s.task.Note(fmt.Sprintf("%s: %s %s", s.pace.text(s.files, time.Now()), m[1], m[2]))
		return
	}
	if line == "" || excerptRE.MatchString(line) || directoryRE.MatchString(line) {
		return
	}
	before := s.last
	s.last = line
	if s.host == nil {
		if p := matchHost(line); p != nil {
			s.host, s.hostAt = p, line
			return
		}
	}
	if s.tree == "" && isTreeError(line) {
		s.tree = line
	}
	if s.stop == "" && strings.Contains(line, "*** ") && strings.HasPrefix(line, "make") {
		s.stop, s.before = line, before
	}
}

// complaint is the line to report when the source is to blame, "" where nothing was
// printed. Where no line is a known error, the last one before make stopped may well be
// one, such as objtool's warnings until 6.15.
func (s *scanner) complaint() string {
	switch {
	case s.tree != "":
		return assembled(s.tree, s.stop)
	case s.stop != "" && s.before != "":
		return s.stop + " (before it: " + s.before + ")"
	default:
		return cmp.Or(s.stop, s.last)
	}
}

// temporaryRE is the assembler's word on a file that the compiler made for it, and
// objectRE the object that make was to make of it.
var (
	temporaryRE = regexp.MustCompile(`^(?:\S*/cc\w{6}\.s|\{standard input\}):\d+: `)
	objectRE    = regexp.MustCompile(`\*\*\* \[(?:.*: )?(\S+)\] Error \d+$`)
)

// assembled has an error of the assembler name the object instead of a file that is
// gone, and called another name each time.
func assembled(line, stop string) string {
	if m := objectRE.FindStringSubmatch(stop); m != nil {
		return temporaryRE.ReplaceAllLiteralString(line, m[1]+": ")
	}
	return line
}

// excerptRE is the source that a compiler quotes: gcc's and clang's " 12 | text"
// and "    | ^~~~". Whatever it says, it is not the compiler's word.
var excerptRE = regexp.MustCompile(`^\s*\d*\s\|`)

// directoryRE is make's word on where it is, with which each run ends.
var directoryRE = regexp.MustCompile(`^make(?:\[\d+\])?: (?:Entering|Leaving) directory `)

// placeRE is a diagnostic of a compiler, an assembler, Kconfig or make.
var placeRE = regexp.MustCompile(`^([^\s:][^:]*):(\d+)(?::\d+)?: ?(?:(?:(?:fatal )?error|Error|syntax error|invalid|unknown|can't open)\b|\*\*\* )`)

// treeREs are errors that a source is to blame for.
var treeREs = []*regexp.Regexp{
	placeRE,
	regexp.MustCompile(`^\S+: (?:fatal )?error: `),
	regexp.MustCompile(`undefined reference to |multiple definition of |undefined symbol: |duplicate symbol: `),
	regexp.MustCompile(`^(?:ERROR|FATAL ERROR|Lexical error|Error|error(?:\[\w+\])?): `), // modpost, dtc, rustc; Kconfig and objtool of late
	regexp.MustCompile(`^FAILED:? `),                                                     // resolve_btfids
	regexp.MustCompile(`^(?:\S+/)?Kconfig\S*:\d+:`),
	regexp.MustCompile(`\*\*\* No rule to make target `),
	regexp.MustCompile(`^\*\*\* Can't find default configuration `), // scripts/kconfig/conf.c
	regexp.MustCompile(`^\S*(?:ld|ld\.lld|ld\.bfd): (?:error: )?\S`),
	regexp.MustCompile(`internal compiler error`),
	regexp.MustCompile(`: error: |: Error: `),
	regexp.MustCompile(`relocation truncated to fit`),
}

// linkWarnRE keeps a linker's warnings out.
var linkWarnRE = regexp.MustCompile(`(?i)\bwarning:|: in function |NOTE: `)

func isTreeError(line string) bool {
	if linkWarnRE.MatchString(line) && !strings.Contains(line, "undefined reference") {
		return false
	}
	for _, re := range treeREs {
		if re.MatchString(line) {
			return true
		}
	}
	return false
}

// place is where a diagnostic points.
func place(line string) (file string, n int) {
	m := placeRE.FindStringSubmatch(line)
	if m == nil {
		return "", 0
	}
	n, err := strconv.Atoi(m[2])
	if err != nil {
		return "", 0
	}
	return m[1], n
}
