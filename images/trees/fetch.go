package trees

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/git"
	"github.com/unwedge/unwedge/images/progress"
)

// Fetched is what Fetch returns.
type Fetched struct {
	// GitDir is the bare repository that holds everything.
	GitDir string
	// Commits are the hashes of the commits, by the revisions asked for.
	Commits map[string]string
	// Notes say what a reader should know, each in one line.
	Notes []string
}

// FetchError says that a tree could not be fetched.
type FetchError struct {
	Tree, URL string
	Reason    string // what git said
	Next      string // what the user can do
	Err       error
}

func (e *FetchError) Error() string {
	return fmt.Sprintf("fetch tree %s from %s: %s: %s", e.Tree, e.URL, e.Reason, e.Next)
}

func (e *FetchError) Unwrap() error { return e.Err }

// RevisionError says that a tree lacks a revision.
type RevisionError struct {
	Revision string
	Trees    []string // where it was looked for; none where it cannot be one
	Hint     string
}

func (e *RevisionError) Error() string {
	if len(e.Trees) == 0 {
		return fmt.Sprintf("revision %q: %s", e.Revision, e.Hint)
	}
	return fmt.Sprintf("revision %q is not in tree %s: %s", e.Revision, strings.Join(e.Trees, " nor in "), e.Hint)
}

// NoBranchError says that no revision was named of a tree that has no branch to
// take then.
type NoBranchError struct{ Tree Tree }

func (e *NoBranchError) Error() string {
	like := ""
	if e.Tree.Versions != "" {
		like = ", such as " + e.Tree.Versions
	}
	return fmt.Sprintf("tree %s has no default branch: name a revision%s", e.Tree.Name, like)
}

// revRE is what a revision may look like: the name of a branch, a tag or a
// commit, and steps from there.
var (
	revRE   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/+-]*$`)
	stepsRE = regexp.MustCompile(`^([~^][0-9]{0,6})*$`)
	hashRE  = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)
	shortRE = regexp.MustCompile(`^[0-9a-f]{7,39}$`)
)

func checkRev(rev string) (name, steps string, err error) {
	name, steps = rev, ""
	if i := strings.IndexAny(rev, "~^"); i >= 0 {
		name, steps = rev[:i], rev[i:]
	}
	if !revRE.MatchString(name) || !stepsRE.MatchString(steps) || strings.Contains(name, "..") || strings.HasSuffix(name, ".lock") {
		return "", "", &RevisionError{Revision: rev, Hint: "want a tag, a branch or a commit, such as v7.2, linux-6.12.y or v7.3-rc1~2"}
	}
	return name, steps, nil
}

// Fetch brings the revisions of a tree and their history into the store, and
// says which commits they are. A tag, a branch or a commit may be named; none
// means the tree's branch. Tags and commits that are there already need no
// network; a branch is looked at again each time. What a tree does not have is
// taken from the tree it is built on.
//
// An interrupted fetch goes on where it was: the history comes in pieces.
func (s *Store) Fetch(ctx context.Context, tree string, revs ...string) (*Fetched, error) {
	t, err := s.trees.Find(tree)
	if err != nil {
		return nil, err
	}
	if len(revs) == 0 {
		if t.Branch == "" {
			return nil, &NoBranchError{t}
		}
		revs = []string{t.Branch}
	}
	for _, rev := range revs {
		if _, _, err := checkRev(rev); err != nil {
			return nil, err
		}
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	f := &fetch{store: s, remotes: map[string]*remote{}, out: &Fetched{GitDir: s.GitDir(), Commits: map[string]string{}}}
	for _, rev := range revs {
		hash, err := f.revision(ctx, t, rev)
		if err != nil {
			return nil, err
		}
		f.out.Commits[rev] = hash
	}
	if t.Rebuilt && f.moves {
		f.out.note("tree %s rebuilds its branches from time to time: a commit found there may vanish later; its tags stay", t.Name)
	}
	return f.out, nil
}

func (f *Fetched) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(f.Notes, n) {
		f.Notes = append(f.Notes, n)
	}
}

// fetch is one call of Fetch. It holds the store's lock.
type fetch struct {
	store   *Store
	remotes map[string]*remote // what servers were asked for, by tree
	out     *Fetched
	moves   bool // something was taken that no tag keeps
}

// revision finds a revision in a tree, or in those it is built on.
func (f *fetch) revision(ctx context.Context, t Tree, rev string) (string, error) {
	name, steps, err := checkRev(rev)
	if err != nil {
		return "", err
	}
	missing := &RevisionError{Revision: rev}
	for at := t; ; {
		if err := f.store.prepare(ctx, at); err != nil {
			return "", err
		}
		hash, err := f.inTree(ctx, at, name)
		if err != nil {
			return "", err
		}
		if hash != "" {
			if at.Name != t.Name {
				f.out.note("%s comes from tree %s, the base of %s", rev, at.Name, t.Name)
			}
			return f.walk(ctx, rev, hash, steps)
		}
		missing.Trees = append(missing.Trees, at.Name)
		if at.Base == "" {
			missing.Hint = f.hint(ctx, t, name)
			return "", missing
		}
		if at, err = f.store.trees.Find(at.Base); err != nil {
			return "", err
		}
	}
}

// inTree returns the commit that a name means in one tree, and fetches it where
// needed; "" where the tree has no such name.
func (f *fetch) inTree(ctx context.Context, t Tree, name string) (string, error) {
	if hash, err := f.local(ctx, t, "tags/"+name); hash != "" || err != nil {
		return hash, err
	}
	if hashRE.MatchString(name) || shortRE.MatchString(name) {
		if hash, err := f.present(ctx, name); hash != "" || err != nil {
			return hash, err
		}
	}
	r, err := f.remote(ctx, t)
	if err != nil {
		if hash, lerr := f.offline(ctx, t, name, err); hash != "" || lerr != nil {
			return hash, lerr
		}
		return "", err
	}
	for _, kind := range []string{"tags/", "heads/"} {
		if hash, ok := r.refs["refs/"+kind+name]; ok {
			return f.get(ctx, t, r, kind+name, hash)
		}
	}
	switch {
	case hashRE.MatchString(name):
		return f.commit(ctx, t, r, name)
	case shortRE.MatchString(name) && t.Branch != "" && r.refs["refs/heads/"+t.Branch] != "":
		if _, err := f.get(ctx, t, r, "heads/"+t.Branch, r.refs["refs/heads/"+t.Branch]); err != nil {
			return "", err
		}
		return f.present(ctx, name)
	}
	return "", nil
}

// offline finds what a name meant when a server that cannot be reached now, for
// why, was: the state of a branch, or a tag of the trees that the tree is built on.
func (f *fetch) offline(ctx context.Context, t Tree, name string, why error) (string, error) {
	if ctx.Err() != nil {
		return "", why
	}
	if hash, err := f.local(ctx, t, "heads/"+name); hash != "" || err != nil {
		f.moves = true
		f.out.note("branch %s of tree %s was not refreshed: %v", name, t.Name, why)
		return hash, err
	}
	for at := t; at.Base != ""; {
		var err error
		if at, err = f.store.trees.Find(at.Base); err != nil {
			return "", err
		}
		if hash, err := f.local(ctx, at, "tags/"+name); hash != "" || err != nil {
			f.out.note("tag %s comes from tree %s, the base of %s: %v", name, at.Name, t.Name, why)
			return hash, err
		}
	}
	return "", nil
}

// commit fetches a commit by its whole hash. A server need not hand it out; one
// on the tree's branch comes with that.
func (f *fetch) commit(ctx context.Context, t Tree, r *remote, hash string) (string, error) {
	got, err := f.get(ctx, t, r, "commits/"+hash, hash)
	var refused *FetchError
	if err == nil || !errors.As(err, &refused) || !notOffered(refused.Reason) {
		return got, err
	}
	if head := r.refs["refs/heads/"+t.Branch]; head != "" {
		if _, err := f.get(ctx, t, r, "heads/"+t.Branch, head); err != nil {
			return "", err
		}
	}
	return f.present(ctx, hash)
}

// get fetches one ref of a tree, history in pieces first, and returns its
// commit. hash is what the server has there.
func (f *fetch) get(ctx context.Context, t Tree, r *remote, name, hash string) (string, error) {
	want := "refs/" + name
	if strings.HasPrefix(name, "commits/") {
		want = hash
	}
	f.moves = f.moves || !strings.HasPrefix(name, "tags/")
	refs, err := f.store.Refs(ctx)
	if err != nil {
		return "", err
	}
	if err := f.makeWay(ctx, t, name, refs); err != nil {
		return "", err
	}
	if got, err := f.local(ctx, t, name); err != nil {
		return "", err
	} else if got == "" {
		refs = nil // it was, and its objects are gone
	}
	if i := slices.IndexFunc(refs, func(x Ref) bool { return x.Tree == t.Name && x.Name == name && x.Hash == r.commitOf(want, hash) }); i >= 0 {
		return refs[i].Hash, nil // a branch that has not moved
	}
	steps, err := f.milestones(ctx, r, strings.TrimPrefix(strings.TrimPrefix(name, "tags/"), "heads/"))
	if err != nil {
		return "", err
	}
	for _, tag := range steps {
		if err := f.pull(ctx, t, tag, "refs/tags/"+tag, "tags/"+tag); err != nil {
			return "", err
		}
	}
	if err := f.pull(ctx, t, strings.TrimPrefix(strings.TrimPrefix(name, "tags/"), "heads/"), want, name); err != nil {
		return "", err
	}
	return f.local(ctx, t, name)
}

// makeWay removes branches that were and that are in the place of one that is: git
// keeps no branch for-next beside one for-next/core.
func (f *fetch) makeWay(ctx context.Context, t Tree, name string, refs []Ref) error {
	for _, r := range refs {
		if r.Tree != t.Name || !strings.HasPrefix(r.Name, name+"/") && !strings.HasPrefix(name, r.Name+"/") {
			continue
		}
		if _, err := f.store.git("update-ref", "-d", refsBelow+t.Name+"/"+r.Name).Run(ctx); err != nil {
			return fmt.Errorf("forget branch %s of tree %s: %w", r.Name, t.Name, err)
		}
	}
	return nil
}

// pull runs one git fetch.
func (f *fetch) pull(ctx context.Context, t Tree, label, want, name string) (err error) {
	before := f.store.partial()
	defer func() {
		if err != nil { // a full disk has no room for half a pack
			for _, path := range f.store.partial() {
				if !slices.Contains(before, path) {
					_ = os.Remove(path) // the next fetch tries again
				}
			}
		}
	}()
	task := progress.From(ctx).Task(fmt.Sprintf("fetch %s of tree %s", label, t.Name), 0)
	c := f.store.git("-c", "fetch.writeCommitGraph=true", "fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
		t.Name, "+"+want+":"+refsBelow+t.Name+"/"+name)
	c.Silence, c.Progress = f.store.silence, &meter{task: task}
	_, err = c.Run(ctx)
	task.Done(err)
	if err != nil {
		return f.failed(ctx, t, err)
	}
	return f.plainTag(ctx, t, name)
}

// releaseTagRE matches the tags that mean the same in every tree.
var releaseTagRE = regexp.MustCompile(`^tags/(v\d+\.\d+(\.\d+)?(-rc\d+)?)$`)

// plainTag makes a release's tag a plain one too, so that `git describe` and a
// person at the store find it. The first tree to have it is right.
func (f *fetch) plainTag(ctx context.Context, t Tree, name string) error {
	m := releaseTagRE.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	const absent = "0000000000000000000000000000000000000000"
	_, err := f.store.git("update-ref", "refs/tags/"+m[1], refsBelow+t.Name+"/"+name, absent).Run(ctx)
	var g *git.Error
	if errors.As(err, &g) {
		return nil // it is there
	}
	return err
}

// failed explains why a server was of no use.
func (f *fetch) failed(ctx context.Context, t Tree, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	var g *git.Error
	if !errors.As(err, &g) {
		return fmt.Errorf("fetch tree %s: %w", t.Name, err)
	}
	return &FetchError{Tree: t.Name, URL: t.ShownURL(), Reason: conceal(t, g.Reason()), Next: f.store.nextStep(t, g), Err: err}
}

// local returns the commit of something fetched before, "" where it was not, or is
// no longer here: it may have been a local clone's.
func (f *fetch) local(ctx context.Context, t Tree, name string) (string, error) {
	refs, err := f.store.Refs(ctx)
	if err != nil {
		return "", err
	}
	if i := slices.IndexFunc(refs, func(r Ref) bool { return r.Tree == t.Name && r.Name == name }); i >= 0 {
		return f.present(ctx, refs[i].Hash)
	}
	return "", nil
}

// present returns the commit that a hash, or the beginning of one, means in the
// store, "" where there is none. Nothing is fetched.
func (f *fetch) present(ctx context.Context, hash string) (string, error) {
	return f.ask(ctx, hash+"^{commit}")
}

// walk takes steps from a commit: ~2, ^.
func (f *fetch) walk(ctx context.Context, rev, hash, steps string) (string, error) {
	if steps == "" {
		return hash, nil
	}
	got, err := f.ask(ctx, hash+steps+"^{commit}")
	if err == nil && got == "" {
		err = &RevisionError{Revision: rev, Hint: "the history does not go back that far"}
	}
	return got, err
}

func (f *fetch) ask(ctx context.Context, expression string) (string, error) {
	out, err := f.store.ask("rev-parse", "--quiet", "--verify", expression).Run(ctx)
	var g *git.Error
	if errors.As(err, &g) {
		return "", nil
	}
	return strings.TrimSpace(out), err
}
