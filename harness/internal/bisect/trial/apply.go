package trial

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/unwedge/unwedge/images/git"
)

// maxSaid bounds what is kept of git's complaints, in bytes; maxRejected how many are told.
const (
	maxSaid     = 1 << 20
	maxRejected = 100
)

// Rejected is a part of a patch that does not apply.
type Rejected struct {
	// Patch is the patch's subject.
	Patch string `json:"patch"`
	// File is the file, "" where git says none.
	File string `json:"file,omitempty"`
	// Hunk is the number of the hunk in the file, from 1 on; 0 for the whole file.
	Hunk int `json:"hunk,omitempty"`
	// Why is what git says.
	Why string `json:"why"`
}

func (r Rejected) String() string {
	where := r.File
	if r.Hunk > 0 {
		where = fmt.Sprintf("%s, hunk %d", r.File, r.Hunk)
	}
	if where == "" {
		return r.Why
	}
	return where + ": " + r.Why
}

// RejectedError says that a series does not apply.
type RejectedError struct {
	Subject string
	Parts   []Rejected
}

func (e *RejectedError) Error() string {
	said := "git names no file"
	if len(e.Parts) > 0 {
		said = e.Parts[0].String()
	}
	if more := len(e.Parts) - 1; more > 0 {
		said += fmt.Sprintf(" (and %d more)", more)
	}
	return fmt.Sprintf("%q does not apply: %s", e.Subject, said)
}

// committer is who applies: the series' authors stay its authors.
var committer = []string{"GIT_COMMITTER_NAME=unwedge", "GIT_COMMITTER_EMAIL=unwedge@localhost", "GIT_COMMITTER_DATE=2000-01-01T00:00:00Z"}

// Apply applies a mailbox to the work tree dir and returns the subjects of the patches, in
// order. A patch that does not apply is a *RejectedError, and the tree is as it was.
func Apply(ctx context.Context, dir, mbox string) ([]string, error) {
	mbox, err := filepath.Abs(mbox)
	if err != nil {
		return nil, err
	}
	at, err := git.Run(ctx, dir, "rev-parse", "HEAD")
	if err != nil {
		return nil, err
	}
	_, err = git.Command{Dir: dir, Args: []string{"am", "--quiet", "--no-gpg-sign", mbox}, Env: committer}.Run(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, refused(ctx, dir, strings.TrimSpace(at), err)
	}
	out, err := git.Run(ctx, dir, "log", "--reverse", "--format=%s", strings.TrimSpace(at)+"..HEAD")
	if err != nil {
		return nil, err
	}
	subjects := strings.Split(strings.TrimSpace(out), "\n")
	if out == "" {
		return nil, errors.New("no patch is in it")
	}
	return subjects, nil
}

// refused tells why git am stopped, and takes the tree back.
func refused(ctx context.Context, dir, at string, failed error) error {
	state := filepath.Join(dir, "unwedge-patch")
	defer os.Remove(state) // it goes with the tree anyway
	diff, err := git.Run(ctx, dir, "am", "--show-current-patch=diff")
	if err != nil {
		return fmt.Errorf("%w: is it a mailbox, as `b4 am` or `git format-patch --stdout` writes it?", failed)
	}
	subject := subjectOf(ctx, dir)
	e := &RejectedError{Subject: subject}
	if err := os.WriteFile(state, []byte(diff), 0o600); err != nil {
		return err
	}
	said := &heard{}
	_, _ = git.Command{Dir: dir, Args: []string{"apply", "--reject", "--verbose", state}, Progress: said}.Run(ctx) // it fails, and says where
	for _, p := range rejected(said.String()) {
		p.Patch = subject
		e.Parts = append(e.Parts, p)
	}
	_, aerr := git.Run(ctx, dir, "am", "--abort")
	_, rerr := git.Run(ctx, dir, "reset", "--quiet", "--hard", at)
	_, cerr := git.Run(ctx, dir, "clean", "--quiet", "-ffdx")
	if err := errors.Join(aerr, rerr, cerr); err != nil {
		return fmt.Errorf("%w (and the work tree could not be taken back: %w)", e, err)
	}
	return e
}

// subjectOf is the subject of the patch that git am stopped at.
func subjectOf(ctx context.Context, dir string) string {
	raw, err := git.Run(ctx, dir, "am", "--show-current-patch=raw")
	if err != nil {
		return "a patch"
	}
	for line := range strings.Lines(raw) {
		if s, ok := strings.CutPrefix(line, "Subject: "); ok {
			return strings.TrimSpace(s)
		}
	}
	return "a patch"
}

// What `git apply --reject --verbose` says (apply.c, apply_one_fragment and
// write_out_one_reject).
var (
	rejects      = regexp.MustCompile(`^Applying patch (.+) with \d+ rejects?\.\.\.$`)
	rejectedHunk = regexp.MustCompile(`^Rejected hunk #(\d{1,6})\.$`)
	whole        = regexp.MustCompile(`^error: (.+?): (No such file or directory|does not exist in index|already exists in working directory|does not match index|patch does not apply)$`)
)

// rejected reads what does not apply from git's words.
func rejected(said string) []Rejected {
	var out []Rejected
	file := ""
	hunks := map[string]bool{}
	for line := range strings.Lines(said) {
		line = strings.TrimRight(line, "\r\n")
		if len(out) >= maxRejected {
			break
		}
		if m := rejects.FindStringSubmatch(line); m != nil {
			file, hunks[m[1]] = m[1], true
			continue
		}
		if m := rejectedHunk.FindStringSubmatch(line); m != nil && file != "" {
			n := 0
			_, _ = fmt.Sscan(m[1], &n) // digits, by the pattern
			out = append(out, Rejected{File: file, Hunk: n, Why: "the lines around it differ"})
			continue
		}
		if m := whole.FindStringSubmatch(line); m != nil && !hunks[m[1]] && m[2] != "patch does not apply" {
			out = append(out, Rejected{File: m[1], Why: m[2]})
		}
	}
	return out
}

// heard keeps the first of what was said, as much as is bounded.
type heard struct{ b bytes.Buffer }

func (t *heard) Write(p []byte) (int, error) {
	if t.b.Len()+len(p) <= maxSaid {
		t.b.Write(p)
	}
	return len(p), nil
}

func (t *heard) String() string { return t.b.String() }
