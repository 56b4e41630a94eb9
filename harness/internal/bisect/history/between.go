package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/git"
)

// Range is the commits of which one is the first bad one.
type Range struct {
	// Good are the commits below the range: the revisions that the user named
	// where they are ancestors of Bad, and otherwise the merge bases.
	Good []Commit
	// Bases says which of Good are merge bases, and for which named revision each of
	// them stands, for the user to know what is booted: git bisect does the same.
	Bases []Base
	// Commits are all that Bad has and Good have not, parents first; the last is
	// Bad itself.
	Commits []Commit
	// Parents are, for each of Commits, the indices of its parents among them.
	Parents [][]int
	// Below are, for each of Commits, its other parents: ancestors of Good, or Good.
	Below [][]string
	// Cut says of how many of Commits the parents are not here, in a shallow clone.
	// A first bad commit before one of them cannot be found.
	Cut int
}

// Base is a merge base of the bad end and of a good revision, which stands for that.
type Base struct {
	Hash     string
	Revision string
}

// Bad is the bad end.
func (r *Range) Bad() Commit { return r.Commits[len(r.Commits)-1] }

// Between lists what lies between the good revisions and the bad one.
func (r *Repo) Between(ctx context.Context, good []string, bad string) (*Range, error) {
	if len(good) == 0 {
		return nil, &RangeError{"no good revision: use --good"}
	}
	end, err := r.Commit(ctx, bad)
	if err != nil {
		return nil, err
	}
	out := &Range{}
	args := []string{"log", "--no-show-signature", "--topo-order", "--reverse", "--format=%P%x00" + format, end.Hash}
	for _, rev := range good {
		c, err := r.Commit(ctx, rev)
		if err != nil {
			return nil, err
		}
		if err := out.addGood(ctx, r, rev, c, bad, end); err != nil {
			return nil, err
		}
	}
	for _, g := range out.Good {
		args = append(args, "^"+g.Hash)
	}
	list, err := git.Run(ctx, r.dir, args...)
	if err != nil {
		return nil, err
	}
	if err := out.fill(list); err != nil {
		return nil, err
	}
	if len(out.Commits) == 0 || out.Bad().Hash != end.Hash {
		return nil, &RangeError{fmt.Sprintf("no commits between %s and %s", strings.Join(good, ", "), bad)}
	}
	cut, err := r.shallow(ctx)
	for _, c := range out.Commits {
		if cut[c.Hash] {
			out.Cut++
		}
	}
	return out, err
}

// shallow are the commits whose parents a shallow clone has not; none in a whole one.
func (r *Repo) shallow(ctx context.Context) (map[string]bool, error) {
	path, err := git.Run(ctx, r.dir, "rev-parse", "--path-format=absolute", "--git-path", "shallow")
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(strings.TrimSpace(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read shallow commits: %w", err)
	}
	cut := map[string]bool{}
	for hash := range strings.FieldsSeq(string(b)) {
		cut[hash] = true
	}
	return cut, nil
}

// unshallow is what to do in a shallow clone for want of history.
const unshallow = "the clone is shallow: fetch the rest with `git fetch --unshallow --tags`"

// addGood adds one named revision's own good ends.
func (out *Range) addGood(ctx context.Context, r *Repo, rev string, c Commit, bad string, end Commit) error {
	if c.Hash == end.Hash {
		return &RangeError{fmt.Sprintf("good %s and bad %s are the same commit %s", rev, bad, c.Short())}
	}
	bases, err := git.Run(ctx, r.dir, "merge-base", "--all", c.Hash, end.Hash)
	if errors.As(err, new(*git.Error)) {
		why := "their histories are unrelated"
		if cut, err := r.shallow(ctx); err == nil && len(cut) > 0 {
			why = unshallow
		}
		return &RangeError{fmt.Sprintf("good %s and bad %s have no common ancestor: %s", rev, bad, why)}
	}
	if err != nil {
		return err
	}
	for hash := range strings.FieldsSeq(bases) {
		switch hash {
		case end.Hash:
			return &RangeError{fmt.Sprintf("good %s is a descendant of bad %s: swap --good and --bad if the older one hangs", rev, bad)}
		case c.Hash:
		default:
			out.Bases = append(out.Bases, Base{hash, rev})
		}
		base, err := r.read(ctx, hash)
		if err != nil {
			return err
		}
		if !out.has(hash) {
			out.Good = append(out.Good, base)
		}
	}
	return nil
}

func (out *Range) has(hash string) bool {
	for _, g := range out.Good {
		if g.Hash == hash {
			return true
		}
	}
	return false
}

// fill reads git's list, parents first.
func (out *Range) fill(list string) error {
	index := map[string]int{}
	for line := range strings.Lines(list) {
		parents, record, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\x00")
		c, err := parse(record)
		if err != nil {
			return err
		}
		var own []int
		var below []string
		for p := range strings.FieldsSeq(parents) {
			if i, ok := index[p]; !ok {
				below = append(below, p)
			} else if !slices.Contains(own, i) { // git lets a commit name a parent twice
				own = append(own, i)
			}
		}
		index[c.Hash] = len(out.Commits)
		out.Commits = append(out.Commits, c)
		out.Parents, out.Below = append(out.Parents, own), append(out.Below, below)
	}
	return nil
}
