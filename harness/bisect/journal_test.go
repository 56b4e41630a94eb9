package bisect

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// full is a disk with room for some bytes.
type full struct {
	w    io.Writer
	room int
}

var errFull = errors.New("no space left on device")

func (f *full) Write(p []byte) (int, error) {
	n, err := f.w.Write(p[:min(f.room, len(p))])
	f.room -= n
	if err == nil && n < len(p) {
		err = errFull
	}
	return n, err
}

// An entry for which there was no room does not spoil the one after it.
func TestJournalOnAFullDisk(t *testing.T) {
	dir, q := t.TempDir(), Question{Source: "s", Bad: "b"}
	j, err := openJournal(dir, q, "")
	if err != nil {
		t.Fatal(err)
	}
	j.w = &full{j.f, 40}
	if err := j.add(entry{Candidate: "lost", Kernel: &Kernel{Arg: strings.Repeat("x", 100)}}); !errors.Is(err, errFull) {
		t.Fatalf("error %v", err)
	}
	j.w = j.f
	if err := errors.Join(j.add(entry{Candidate: "kept", Kernel: &Kernel{Arg: "k"}}), j.close()); err != nil {
		t.Fatal(err)
	}
	j, err = openJournal(dir, q, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, lost := j.kernels[made{id: "lost"}]; lost || j.kernels[made{id: "kept"}].Arg != "k" {
		t.Errorf("the journal has %v", j.kernels)
	}
	if err := j.close(); err != nil {
		t.Error(err)
	}
}

// The question has all settings of the user's fragments: a whole configuration, where
// that is given as one.
func TestJournalOfALongQuestion(t *testing.T) {
	dir, q := t.TempDir(), Question{Source: "s", Bad: "b", Build: strings.Repeat("CONFIG_X=y ", 200_000)}
	for range 2 {
		j, err := openJournal(dir, q, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A journal that cannot be read is not a torn one, of which the rest is dropped.
func TestJournalThatCannotBeRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), journalName)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644) // every read of it fails
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // nothing is written
	if whole, _, err := (&journal{f: f}).read(name); err == nil {
		t.Errorf("it is read as %d whole bytes", whole)
	}
}

// A directory with files of the user's is refused and left as it is: a bisection
// removes what is in its own.
func TestNotOurDirectory(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "build", "thesis.tex")
	if err := errors.Join(os.Mkdir(filepath.Dir(mine), 0o755), os.WriteFile(mine, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(dir, Question{}, ""); !errors.As(err, new(*NotOursError)) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory has %v, %v", entries, err)
	}
	// One that was made for it will do, and so does one whose journal was just begun.
	for range 2 {
		empty := t.TempDir()
		for range 2 {
			j, err := openJournal(empty, Question{}, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(j.f.Truncate(0), j.close()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Another bisection's journal is refused with what differs.
func TestAnotherQuestion(t *testing.T) {
	dir, q := t.TempDir(), Question{Source: "s", Good: []string{"g"}, Bad: "b", Scenario: "tiny", Build: "gcc 12"}
	j, err := openJournal(dir, q, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(*Question)
		says   string
	}{
		{func(q *Question) { q.Build = "gcc 13" }, "bad b, built in another way"},
		{func(q *Question) { q.Scenario, q.Any = "distro", true }, "in another scenario and with another --any-failure"},
		{func(q *Question) { q.Bad = "c" }, "bad b: use another --out"},
	} {
		other := q
		c.change(&other)
		if _, err := openJournal(dir, other, ""); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("error %v, want %q", err, c.says)
		}
	}
}
