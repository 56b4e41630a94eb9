package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/git"
	"github.com/unwedge/unwedge/images/progress"
)

// Worktree is a work tree of its own, on no branch. One goroutine at a time.
type Worktree struct {
	repo *Repo
	dir  string
	at   string // the commit checked out, "" where unknown
	// alone says that it has a repository of its own, which borrows the objects of
	// the user's: that one may not be written to.
	alone bool
}

// Worktree makes the work tree, or takes the one that an interrupted run has
// left. The repository's `git worktree list` shows it, but where that may not be
// written to. It is empty until the first Checkout; at is any commit, which a
// repository without a HEAD needs.
func (r *Repo) Worktree(ctx context.Context, dir string, at Commit) (*Worktree, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("make work tree: %w", err)
	}
	w := &Worktree{repo: r, dir: dir}
	if w.usable(ctx) {
		return w, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("make work tree: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, fmt.Errorf("make work tree: %w", err)
	}
	// Not `git worktree prune`: the user's own may be on a disk that is away. Forced,
	// git takes the place of one that has gone from here.
	if _, err := git.Run(ctx, r.dir, "worktree", "add", "--force", "--force", "--detach", "--no-checkout", dir, at.Hash); err != nil {
		if ctx.Err() != nil || w.borrow(ctx) != nil {
			return nil, fmt.Errorf("make work tree %s: %w", dir, err)
		}
	}
	return w, nil
}

// borrow makes a repository of the work tree's own, with the objects of the user's
// (gitrepository-layout(5), objects/info/alternates) and its cut where it is shallow.
func (w *Worktree) borrow(ctx context.Context) error {
	if err := os.RemoveAll(w.dir); err != nil {
		return err
	}
	if _, err := git.Run(ctx, w.repo.git, "init", "--quiet", w.dir); err != nil {
		return err
	}
	own := filepath.Join(w.dir, ".git")
	if err := os.WriteFile(filepath.Join(own, alternates), []byte(filepath.Join(w.repo.git, "objects")+"\n"), 0o644); err != nil {
		return err
	}
	cut, err := os.ReadFile(filepath.Join(w.repo.git, "shallow"))
	if err == nil {
		err = os.WriteFile(filepath.Join(own, "shallow"), cut, 0o644)
	}
	w.alone = err == nil || errors.Is(err, os.ErrNotExist)
	if !w.alone {
		return err
	}
	return nil
}

// alternates is the file that names the objects that a repository borrows.
const alternates = "objects/info/alternates"

// usable says whether the directory is a work tree of this very repository.
func (w *Worktree) usable(ctx context.Context) bool {
	if _, err := os.Stat(filepath.Join(w.dir, ".git")); err != nil {
		return false
	}
	borrowed, err := os.ReadFile(filepath.Join(w.dir, ".git", alternates))
	if err == nil && string(borrowed) == filepath.Join(w.repo.git, "objects")+"\n" {
		w.alone = true
		return true
	}
	out, err := git.Run(ctx, w.dir, "rev-parse", "--path-format=absolute", "--git-common-dir")
	return err == nil && strings.TrimSpace(out) == w.repo.git
}

// Dir is where the files are.
func (w *Worktree) Dir() string { return w.dir }

// Checkout puts a commit's files into the work tree. Files that differ not
// between this commit and the one before keep their times, so that make builds
// only what changed.
func (w *Worktree) Checkout(ctx context.Context, c Commit) error {
	if w.at == c.Hash {
		return nil
	}
	w.at = ""
	// A run that was killed may have left git's lock; nobody else uses this tree.
	lock, err := git.Run(ctx, w.dir, "rev-parse", "--path-format=absolute", "--git-path", "index.lock")
	if err != nil {
		return fmt.Errorf("check out %s: %w", c.Short(), err)
	}
	if err := os.Remove(strings.TrimSpace(lock)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("check out %s: %w", c.Short(), err)
	}
	task := progress.From(ctx).Task("check out "+c.Short(), 0)
	_, err = git.Run(ctx, w.dir, "checkout", "--quiet", "--force", "--detach", c.Hash)
	task.Done(err)
	switch {
	case err == nil:
	case errors.Is(err, unix.ENOSPC): // git names the file, and not why
		return fmt.Errorf("check out %s into %s: %w (%w)", c.Short(), w.dir, unix.ENOSPC, err)
	default:
		return fmt.Errorf("check out %s into %s: %w%s", c.Short(), w.dir, err, w.repo.later(ctx))
	}
	// What a build may have put beside the source, and files of other commits.
	if _, err := git.Run(ctx, w.dir, "clean", "--quiet", "-ffdx"); err != nil {
		return fmt.Errorf("clean %s: %w", w.dir, err)
	}
	w.at = c.Hash
	return nil
}

// later says where the files of a commit come from that are not here yet, "" where
// all are.
func (r *Repo) later(ctx context.Context) string {
	if out, err := git.Run(ctx, r.dir, "config", "--get-regexp", `^remote\..*\.(promisor|partialclonefilter)$`); err != nil || out == "" {
		return ""
	}
	return ": this is a partial clone, which fetches files at checkout: make sure that the server is reachable and run the same command again"
}

// Remove takes the work tree away again, from the disk and from git's list.
func (w *Worktree) Remove(ctx context.Context) error {
	if w.alone {
		if err := os.RemoveAll(w.dir); err != nil {
			return fmt.Errorf("remove work tree: %w", err)
		}
		return nil
	}
	if _, err := git.Run(ctx, w.repo.dir, "worktree", "remove", "--force", "--force", w.dir); err != nil {
		return fmt.Errorf("remove work tree %s: %w", w.dir, err)
	}
	return nil
}
