package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/bisect/commits"
	"github.com/unwedge/unwedge/harness/internal/bisect/history"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/trees"
)

// treeQuest searches the commits of a source tree.
func (s Session) treeQuest(ctx context.Context, r Request) (*quest, error) {
	sc, err := r.Cell(r.Arch)
	if err != nil {
		return nil, err
	}
	if sc.ExternalModule {
		return nil, usage.Errorf("scenario %s needs the build tree of each kernel, which the next commit's build replaces: use another scenario, or --packages", sc.Name)
	}
	spec, build, err := r.Build.SpecFor(ctx, s.Planner, sc)
	if err != nil {
		return nil, err
	}
	src := &commits.Source{Spec: spec, Resolve: func(ctx context.Context, arg string) (*candidate.Candidate, error) {
		return s.Planner.Candidate(ctx, arg, r.Arch)
	}}
	q := &quest{source: src, cell: sc, build: build}
	if err := openHistory(ctx, r, src, q); err != nil {
		return nil, err
	}
	q.name = "tree " + src.Repo.GitDir()
	q.settle = func(dir string) { src.Dir = dir }
	q.abandon = func(ctx context.Context) error {
		keep := []string{src.Range.Bad().Hash}
		for _, g := range src.Range.Good {
			keep = append(keep, g.Hash)
		}
		return src.Tidy(ctx, keep...)
	}
	q.finish = func(ctx context.Context, r *bisect.Report) { finishTree(ctx, src, r) }
	q.tidy = func(ctx context.Context, r *bisect.Report) error { return tidyTree(ctx, src, r) }
	return q, nil
}

// openHistory opens the tree, which is a directory or a name of the catalogue, and
// lists the commits between the ends.
func openHistory(ctx context.Context, asked Request, src *commits.Source, q *quest) error {
	repo, here, notes, err := locate(ctx, asked.Tree, append([]string{asked.Bad}, asked.Good...)...)
	if err != nil {
		return err
	}
	q.notes = append(q.notes, notes...)
	bad := here(asked.Bad)
	var good []string
	for _, g := range asked.Good {
		good = append(good, here(g))
	}
	r, err := repo.Between(ctx, good, bad)
	if err != nil {
		return historyError(err)
	}
	src.Repo, src.Range, q.bases = repo, r, r.Bases
	for _, b := range r.Bases {
		q.notes = append(q.notes, fmt.Sprintf("%s is not an ancestor of %s: booting their merge base as the good end", b.Revision, asked.Bad))
	}
	if r.Cut > 0 {
		q.notes = append(q.notes, fmt.Sprintf("%s is a shallow clone, which lacks the parents of %d of the commits: a first bad commit before those cannot be found", repo.Dir(), r.Cut))
	}
	dirty, err := repo.Dirty(ctx)
	if err != nil {
		return err
	}
	if dirty {
		q.notes = append(q.notes, "uncommitted changes in "+repo.Dir()+" are not part of any kernel")
	}
	return nil
}

// locate opens a tree, which is a directory or a name of the catalogue, that is fetched;
// here says what a revision is called in it.
func locate(ctx context.Context, tree string, revs ...string) (repo *history.Repo, here func(string) string, notes []string, err error) {
	here = func(rev string) string { return rev }
	if _, err := os.Stat(tree); errors.Is(err, os.ErrNotExist) && !strings.ContainsRune(tree, filepath.Separator) {
		got, err := revisions(ctx, tree, revs)
		if err != nil {
			return nil, nil, nil, err
		}
		tree, notes = got.GitDir, got.Notes
		here = func(rev string) string { return got.Commits[rev] }
	}
	repo, err = history.Open(ctx, tree)
	return repo, here, notes, historyError(err)
}

// revisions gets revisions of a tree of the catalogue.
func revisions(ctx context.Context, name string, revs []string) (*trees.Fetched, error) {
	catalogue, err := trees.Load("")
	if err != nil {
		return nil, usage.Wrap(err)
	}
	store, err := trees.Default(catalogue)
	if err != nil {
		return nil, err
	}
	t, err := catalogue.Find(name)
	if err != nil {
		return nil, usage.Errorf("--tree %s: no such directory, and %w", name, err)
	}
	if note := t.Caveat(); t.Packaging {
		return nil, usage.Errorf("--tree %s: %s", name, note)
	}
	return store.Fetch(ctx, name, revs...)
}

// historyError gives a user's mistake its exit code.
func historyError(err error) error {
	if errors.As(err, new(*history.NotARepoError)) || errors.As(err, new(*history.UnknownRevisionError)) ||
		errors.As(err, new(*history.RangeError)) || errors.Is(err, os.ErrNotExist) {
		return usage.Wrap(err)
	}
	return err
}

// finishTree writes the log for git, and adds the author and the changes of the first
// bad commit to the report. Where that fails, a note says so.
func finishTree(ctx context.Context, src *commits.Source, r *bisect.Report) {
	note := func(what string, err error) {
		if err != nil {
			r.Notes = append(r.Notes, what+": "+console.OneLine(err))
		}
	}
	path := filepath.Join(src.Dir, bisectLog)
	if err := os.WriteFile(path, []byte(src.Log(r)), 0o644); err != nil {
		note("cannot write the log for git", err)
	} else {
		r.Replay = "git bisect replay " + machine.Quote(path)
	}
	if r.First != nil {
		var err error
		r.Commit, err = aboutCommit(ctx, src.Repo, r.First.ID)
		note("cannot read more about the commit from git", err)
	}
}

// tidyTree removes the work tree, the build, and all kernels except those of the answer
// and its parents.
func tidyTree(ctx context.Context, src *commits.Source, r *bisect.Report) error {
	var keep []string
	if r.First != nil {
		keep = append(keep, r.First.ID)
		for _, p := range src.Parents()[indexOf(src, r.First.ID)] {
			keep = append(keep, src.Range.Commits[p].Hash)
		}
	}
	return src.Tidy(ctx, keep...)
}

// aboutCommit asks git for more on a commit.
func aboutCommit(ctx context.Context, repo *history.Repo, hash string) (*bisect.Commit, error) {
	c, err := repo.Commit(ctx, hash)
	if err != nil {
		return nil, err
	}
	out := &bisect.Commit{Author: c.Author, Date: c.Date, After: repo.Describe(ctx, hash)}
	if out.Fixes, err = repo.Fixes(ctx, c); err != nil {
		return nil, err
	}
	stat, err := repo.Stat(ctx, hash)
	out.Changes = strings.ReplaceAll(strings.TrimSpace(stat), "\n ", "\n") // git begins each line with a space
	return out, err
}

func indexOf(src *commits.Source, hash string) int {
	return slices.IndexFunc(src.Range.Commits, func(c history.Commit) bool { return c.Hash == hash })
}
