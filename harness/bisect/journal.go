package bisect

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// journalName is the file in a bisection's directory that lets it go on where it
// was: one JSON object a line, appended and never changed.
const journalName = "journal.jsonl"

// maxLine bounds one line of the journal, in bytes. The first one has all that decides
// how candidates are built, whole configurations among it.
const maxLine = 16 << 20

// entry is one line: one of its fields.
type entry struct {
	Question *Question `json:"question,omitempty"`
	// Candidate is whom the rest is about.
	Candidate   string       `json:"candidate,omitempty"`
	Stamp       string       `json:"stamp,omitempty"` // the candidate's
	Kernel      *Kernel      `json:"kernel,omitempty"`
	Unbuildable *unbuildable `json:"unbuildable,omitempty"`
	// Image and Boot are a boot of that image, On a digest of what it was made
	// with.
	Image string `json:"image,omitempty"`
	Boot  *Boot  `json:"boot,omitempty"`
	On    string `json:"on,omitempty"`
}

type unbuildable struct {
	Reason string `json:"reason"`
	Log    string `json:"log,omitempty"`
}

// Question is what a bisection asks. Two with the same Question are the same
// bisection.
type Question struct {
	// Source is the repository, or the packages' pattern.
	Source string `json:"source"`
	// Good are the IDs of the good ends.
	Good []string `json:"good"`
	// Bad is the ID of the bad end.
	Bad string `json:"bad"`
	// Scenario is how a kernel is booted, and what it has to reach.
	Scenario string `json:"scenario"`
	// Build is all that decides how a commit is built: configuration, compiler.
	Build string `json:"build,omitempty"`
	// Any says that every failure counts as bad, not only that of the bad end.
	Any bool `json:"any_failure,omitempty"`
}

// ErrBusy says that another process is at the same bisection.
var ErrBusy = errors.New("another unwedge is running this bisection: wait for it, or stop it")

// NotOursError says that a directory has files of somebody else's.
type NotOursError struct{ Dir string }

func (e *NotOursError) Error() string {
	return fmt.Sprintf("%s has files that do not belong to a bisection, which removes its trees and builds at the end: name a new or empty directory with --out", e.Dir)
}

// JournalError says that a directory's journal is another bisection's, or none.
type JournalError struct {
	Dir, Reason string
}

func (e *JournalError) Error() string { return e.Dir + " " + e.Reason }

func notAJournal(name, why string) error {
	dir, base := filepath.Split(name)
	return &JournalError{filepath.Clean(dir), fmt.Sprintf("has a %s that this unwedge cannot read: %s: use another --out, or remove the directory to start over", base, why)}
}

// made is of what a kernel was made: a candidate's ID and Stamp.
type made struct{ id, stamp string }

// journal is what is known already. One goroutine at a time.
type journal struct {
	f           *os.File
	w           io.Writer // f
	size        int64     // of what was written whole
	on          string    // boots that were made with anything else are not taken
	others      int       // those
	kernels     map[made]Kernel
	unbuildable map[made]unbuildable
	boots       map[string][]Boot // by image, in the order in which they were made
}

// openJournal opens or begins the journal in dir, and holds it against others
// until it is closed. A torn last line, of a process that was killed while it
// wrote, is dropped. Boots count that were made on what on names.
func openJournal(dir string, q Question, on string) (*journal, error) {
	if err := CheckDir(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	name := filepath.Join(dir, journalName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &journal{f: f, w: f, on: on, kernels: map[made]Kernel{}, unbuildable: map[made]unbuildable{}, boots: map[string][]Boot{}}
	if err := j.begin(name, q); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// CheckDir says with a NotOursError whether a directory cannot be a bisection's: it
// has something in it, and no journal. One that is not there can be.
func CheckDir(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, journalName)); err == nil {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if len(entries) > 0 {
		return &NotOursError{dir}
	}
	return nil
}

func (j *journal) begin(name string, q Question) error {
	if err := syscall.Flock(int(j.f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("%w (%s)", ErrBusy, filepath.Dir(name))
		}
		return fmt.Errorf("lock %s: %w", name, err)
	}
	whole, asked, err := j.read(name)
	if err != nil {
		return err
	}
	if asked != nil && !asked.equal(q) {
		return &JournalError{filepath.Dir(name), fmt.Sprintf("holds another bisection, %s%s: use another --out", asked, q.unlike(*asked))}
	}
	j.size = whole
	if err := j.dropTorn(); err != nil {
		return fmt.Errorf("drop the torn end of %s: %w", name, err)
	}
	if asked == nil {
		return j.add(entry{Question: &q})
	}
	return nil
}

// read takes in all whole lines, and returns how many bytes they have.
func (j *journal) read(name string) (whole int64, q *Question, err error) {
	r := bufio.NewReader(j.f)
	for n := 1; ; n++ {
		line, err := readLine(r)
		if errors.Is(err, bufio.ErrBufferFull) {
			return 0, nil, notAJournal(name, fmt.Sprintf("line %d is longer than %d bytes", n, maxLine))
		}
		if errors.Is(err, io.EOF) { // the end, or a torn line
			return whole, q, nil
		}
		if err != nil {
			return 0, nil, fmt.Errorf("read journal: %w", err)
		}
		var e entry
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&e); err != nil {
			return 0, nil, notAJournal(name, fmt.Sprintf("line %d: %v", n, err))
		}
		if n == 1 && e.Question == nil {
			return 0, nil, notAJournal(name, "line 1 does not name the bisection")
		}
		if e.Question != nil {
			q = e.Question
		}
		j.take(e)
		whole += int64(len(line))
	}
}

// readLine reads up to the end of a line. The error is bufio.ErrBufferFull where that
// is further than maxLine.
func readLine(r *bufio.Reader) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) || len(line) > maxLine {
			return line, err
		}
	}
}

func (j *journal) take(e entry) {
	switch {
	case e.Kernel != nil:
		j.kernels[made{e.Candidate, e.Stamp}] = *e.Kernel
	case e.Unbuildable != nil:
		j.unbuildable[made{e.Candidate, e.Stamp}] = *e.Unbuildable
	case e.Boot != nil && e.On == j.on:
		j.boots[e.Image] = append(j.boots[e.Image], *e.Boot)
	case e.Boot != nil:
		j.others++
	}
}

// dropTorn leaves what was written whole, and appends there.
func (j *journal) dropTorn() error {
	_, err := j.f.Seek(j.size, io.SeekStart)
	return errors.Join(j.f.Truncate(j.size), err)
}

// add appends one entry; it is on the disk when add returns. Of one that could not
// be written nothing stays: the next one begins a line.
func (j *journal) add(e entry) error {
	if e.Boot != nil {
		e.On = j.on
	}
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	n, err := j.w.Write(append(line, '\n'))
	if err != nil {
		return fmt.Errorf("write journal: %w", errors.Join(err, j.dropTorn()))
	}
	j.size += int64(n)
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.take(e)
	return nil
}

func (j *journal) close() error { return j.f.Close() }

func (q Question) equal(other Question) bool { return q.key() == other.key() }

func (q Question) String() string {
	return fmt.Sprintf("of %s, good %v, bad %s", q.Source, q.Good, q.Bad)
}

// unlike says in what a Question differs that is about the same commits, "" where
// it is about others.
func (q Question) unlike(other Question) string {
	if q.Source != other.Source || q.Bad != other.Bad || !slices.Equal(q.Good, other.Good) {
		return ""
	}
	var of []string
	if q.Scenario != other.Scenario {
		of = append(of, "in another scenario")
	}
	if q.Build != other.Build {
		of = append(of, "built in another way (configuration, fragments, compiler)")
	}
	if q.Any != other.Any {
		of = append(of, "with another --any-failure")
	}
	return ", " + strings.Join(of, " and ")
}

// key is the Question as bytes.
func (q Question) key() string {
	b, _ := json.Marshal(q) // strings and a bool: it cannot fail
	return string(b)
}
