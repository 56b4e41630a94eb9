// Package history is what a bisection asks of git: which commits lie between a
// good and a bad revision, and a work tree of its own to put them into. The
// user's checkout, index, branches and bisect state are never touched.
package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/unwedge/unwedge/images/git"
)

// Commit is one commit.
type Commit struct {
	Hash    string `json:"hash"`
	Subject string `json:"subject"`
	Author  string `json:"author"` // name <address>
	Date    string `json:"date"`   // the author's, strict ISO 8601
}

// Short is the hash as people write it.
func (c Commit) Short() string { return c.Hash[:min(12, len(c.Hash))] }

func (c Commit) String() string { return fmt.Sprintf("%s (%q)", c.Short(), c.Subject) }

// Repo is a user's repository. It is safe for several goroutines.
type Repo struct {
	dir string // as the user named it, absolute
	git string // its common git directory
}

// NotARepoError says that a directory is no git repository.
type NotARepoError struct{ Dir string }

func (e *NotARepoError) Error() string {
	return fmt.Sprintf("%s is not a git repository: use a clone, which has the history, or --packages for released kernels", e.Dir)
}

// UnknownRevisionError says that a revision names no commit.
type UnknownRevisionError struct {
	Revision, Dir string
	Near          []string // tags with a like name
	Shallow       bool     // the clone lacks history
}

func (e *UnknownRevisionError) Error() string {
	next := "fetch it, or list what exists with `git tag`"
	switch {
	case len(e.Near) > 0:
		next = "did you mean " + strings.Join(e.Near, " or ") + "?"
	case e.Shallow:
		next = unshallow
	}
	return fmt.Sprintf("revision %q is not in %s: %s", e.Revision, e.Dir, next)
}

// RangeError says that the two ends have no bisection between them.
type RangeError struct{ Reason string }

func (e *RangeError) Error() string { return e.Reason }

// Open finds the repository of a work tree or of a bare repository.
func Open(ctx context.Context, dir string) (*Repo, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	out, err := git.Run(ctx, dir, "rev-parse", "--path-format=absolute", "--git-common-dir")
	if failed := new(*git.Error); errors.As(err, failed) {
		if strings.Contains((*failed).Said, "dubious ownership") {
			return nil, fmt.Errorf("open repository: %w: see safe.directory in git-config(1)", err)
		}
		return nil, &NotARepoError{dir}
	}
	if err != nil {
		return nil, err
	}
	return &Repo{dir: dir, git: strings.TrimSpace(out)}, nil
}

// Dir is the directory that the repository was opened by.
func (r *Repo) Dir() string { return r.dir }

// GitDir is the repository itself, which all its work trees and folders share.
func (r *Repo) GitDir() string { return r.git }

// Commit resolves a revision. The error is an UnknownRevisionError where there
// is no such commit.
func (r *Repo) Commit(ctx context.Context, rev string) (Commit, error) {
	if rev == "" || strings.ContainsAny(rev[:1], "-^") { // an option, or what is to be left out
		return Commit{}, &UnknownRevisionError{Revision: rev, Dir: r.dir}
	}
	out, err := git.Run(ctx, r.dir, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if errors.As(err, new(*git.Error)) {
		cut, serr := r.shallow(ctx)
		return Commit{}, &UnknownRevisionError{Revision: rev, Dir: r.dir, Near: r.near(ctx, rev), Shallow: serr == nil && len(cut) > 0}
	}
	if err != nil {
		return Commit{}, err
	}
	return r.read(ctx, strings.TrimSpace(out))
}

// format is one commit in one record: %x00 between fields, so that no subject
// can break it.
const format = "%H%x00%an <%ae>%x00%aI%x00%s"

func (r *Repo) read(ctx context.Context, hash string) (Commit, error) {
	out, err := git.Run(ctx, r.dir, "log", "-1", "--no-show-signature", "--format="+format, hash)
	if err != nil {
		return Commit{}, err
	}
	return parse(strings.TrimSuffix(out, "\n"))
}

func parse(record string) (Commit, error) {
	f := strings.SplitN(record, "\x00", 4)
	if len(f) != 4 {
		return Commit{}, fmt.Errorf("read commit: git printed %q", record)
	}
	return Commit{Hash: f[0], Author: f[1], Date: f[2], Subject: f[3]}, nil
}

// near lists tags that differ from rev by what people forget: the v, an rc.
func (r *Repo) near(ctx context.Context, rev string) []string {
	bare := strings.TrimPrefix(rev, "v")
	if bare == "" || strings.ContainsAny(bare, "*?[\\ \t\n") {
		return nil
	}
	out, err := git.Run(ctx, r.dir, "tag", "--list", "v"+bare, bare, "v"+bare+"-rc*", "v"+bare+".?")
	if err != nil {
		return nil
	}
	tags := strings.Fields(out)
	return tags[:min(3, len(tags))]
}

// Describe names a commit by the nearest tag, "" where there is none.
func (r *Repo) Describe(ctx context.Context, hash string) string {
	out, err := git.Run(ctx, r.dir, "describe", "--tags", "--abbrev=12", hash)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// Dirty says whether the work tree has changes that no commit has; a bare
// repository has none.
func (r *Repo) Dirty(ctx context.Context) (bool, error) {
	out, err := git.Run(ctx, r.dir, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules")
	if errors.As(err, new(*git.Error)) {
		return false, nil // bare
	}
	return out != "", err
}

// Stat is what a commit changes, as `git show --stat` has it: a merge what it
// changes in its first parent. Of many files the first are named.
func (r *Repo) Stat(ctx context.Context, hash string) (string, error) {
	return git.Run(ctx, r.dir, "show", "--no-show-signature", "--stat=80", "--stat-count=25", "--diff-merges=first-parent", "--format=", "--no-color", "--no-ext-diff", hash)
}

// Fixes is the tag that names a commit in the one which mends it, as
// Documentation/process/submitting-patches.rst has it: 12 digits at least.
func (r *Repo) Fixes(ctx context.Context, c Commit) (string, error) {
	short, err := git.Run(ctx, r.dir, "rev-parse", "--short=12", c.Hash)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Fixes: %s (\"%s\")", strings.TrimSpace(short), c.Subject), nil
}
