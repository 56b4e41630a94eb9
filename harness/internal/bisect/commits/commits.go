// Package commits makes the commits of a kernel's git history the candidates of
// a bisection: each is checked out into a work tree of its own, built out of tree,
// and its kernel put aside.
package commits

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/bisect/history"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kbuild"
	"github.com/unwedge/unwedge/images/progress"
)

// The folders below Source.Dir.
const (
	treeDir    = "tree"    // the work tree
	buildDir   = "build"   // make's O=
	kernelsDir = "kernels" // COMMIT/IMAGE
	logsDir    = "logs"    // COMMIT.log, of builds that failed
)

// Source builds the commits of a Range.
type Source struct {
	Repo  *history.Repo
	Range *history.Range
	// Spec says how to build; its Source and Output are set here.
	Spec kbuild.Spec
	// Dir is where work tree, build and kernels are, the bisection's own.
	Dir string
	// Resolve takes the kernel and the modules of a build tree.
	Resolve func(ctx context.Context, arg string) (*candidate.Candidate, error)

	tree    *history.Worktree
	checked bool // that this host can build
}

// Good implements bisect.Source.
func (s *Source) Good() []bisect.Candidate { return named(s.Range.Good) }

// Candidates implements bisect.Source.
func (s *Source) Candidates() []bisect.Candidate { return named(s.Range.Commits) }

// Parents implements bisect.Source.
func (s *Source) Parents() [][]int { return s.Range.Parents }

func named(cs []history.Commit) []bisect.Candidate {
	var out []bisect.Candidate
	for _, c := range cs {
		out = append(out, bisect.Candidate{ID: c.Hash, Name: c.Short(), About: c.Subject})
	}
	return out
}

// commit finds a candidate's commit.
func (s *Source) commit(id string) (history.Commit, bool) {
	for _, list := range [][]history.Commit{s.Range.Commits, s.Range.Good} {
		if i := slices.IndexFunc(list, func(c history.Commit) bool { return c.Hash == id }); i >= 0 {
			return list[i], true
		}
	}
	return history.Commit{}, false
}

// Prepare implements bisect.Source. What the source does not build is the
// commit's own fault, as far as kbuild can tell it from the host's.
func (s *Source) Prepare(ctx context.Context, c bisect.Candidate, hurry <-chan struct{}) (bisect.Kernel, error) {
	commit, ok := s.commit(c.ID)
	if !ok {
		return bisect.Kernel{}, fmt.Errorf("build %s: it is not in the range", c.Name)
	}
	if !s.checked {
		if err := kbuild.CheckHost(ctx, s.Spec); err != nil {
			return bisect.Kernel{}, err
		}
	}
	ctx = progress.With(ctx, of{progress.From(ctx), commit, hurry != nil})
	output := filepath.Join(s.Dir, buildDir)
	// A build that outlived its unwedge would compile what is checked out now, and
	// leave objects that are newer than their source and not of it.
	if err := kbuild.Settle(ctx, output); err != nil {
		return bisect.Kernel{}, err
	}
	if err := s.checkOut(ctx, commit); err != nil {
		return bisect.Kernel{}, err
	}
	spec := s.Spec
	spec.Source, spec.Output = s.tree.Dir(), output
	spec.Yield = hurry
	if err := s.check(ctx, spec); err != nil {
		return bisect.Kernel{}, err
	}
	built, err := kbuild.Build(ctx, spec)
	var broken *kbuild.TreeError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return bisect.Kernel{}, context.Cause(ctx)
	case errors.As(err, &broken):
		log, err := s.keepLog(broken.Log, commit)
		if err != nil { // a full disk, say: then the commit may not be to blame
			return bisect.Kernel{}, err
		}
		return bisect.Kernel{}, &bisect.UnbuildableError{Candidate: c, Reason: broken.Line, Log: log}
	case errors.As(err, new(*kbuild.ConfigError)), errors.As(err, new(*kbuild.NotATreeError)):
		return bisect.Kernel{}, &bisect.UnbuildableError{Candidate: c, Reason: err.Error()}
	default:
		return bisect.Kernel{}, fmt.Errorf("build %s: %w", c.Name, err)
	}
	k, err := s.keep(ctx, commit, built)
	k.Took = built.Elapsed
	return k, err
}

// of names the commit in what its build reports.
type of struct {
	progress.Reporter
	commit history.Commit
	ahead  bool
}

// Task implements progress.Reporter.
func (o of) Task(name string, total int64) progress.Task {
	when := ""
	if o.ahead {
		when = ", ahead"
	}
	return o.Reporter.Task(o.commit.Short()+when+": "+name, total)
}

// check finds out once, before the first build, whether this host can build such
// a source. Where it cannot, and nothing was built before, nothing is left behind.
func (s *Source) check(ctx context.Context, spec kbuild.Spec) error {
	if s.checked {
		return nil
	}
	err := kbuild.Check(ctx, spec)
	if errors.As(err, new(*kbuild.NotATreeError)) {
		return nil // this commit's fault; the next one is checked
	}
	s.checked = err == nil
	if _, built := os.Stat(spec.Output); err != nil && errors.Is(built, fs.ErrNotExist) {
		return errors.Join(err, s.removeTree(context.WithoutCancel(ctx)))
	}
	return err
}

func (s *Source) checkOut(ctx context.Context, c history.Commit) error {
	if s.tree == nil {
		t, err := s.Repo.Worktree(ctx, filepath.Join(s.Dir, treeDir), c)
		if err != nil {
			return err
		}
		s.tree = t
	}
	return s.tree.Checkout(ctx, c)
}

// removeTree takes the work tree away, also one that an earlier run has left.
func (s *Source) removeTree(ctx context.Context) error {
	dir := filepath.Join(s.Dir, treeDir)
	if _, err := os.Lstat(dir); s.tree == nil && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if s.tree == nil {
		t, err := s.Repo.Worktree(ctx, dir, s.Range.Bad())
		if err != nil {
			return err
		}
		s.tree = t
	}
	if err := s.tree.Remove(ctx); err != nil {
		return err
	}
	s.tree = nil
	return nil
}

// keep puts the kernel aside: the next build overwrites it.
func (s *Source) keep(ctx context.Context, c history.Commit, b *kbuild.Built) (bisect.Kernel, error) {
	dir := filepath.Join(s.Dir, kernelsDir, c.Hash)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return bisect.Kernel{}, fmt.Errorf("keep kernel: %w", err)
	}
	k := bisect.Kernel{Arg: filepath.Join(dir, filepath.Base(b.Image))}
	sum, err := copyFile(b.Image, k.Arg)
	if err != nil {
		return bisect.Kernel{}, fmt.Errorf("keep kernel: %w", err)
	}
	// Not vmlinux's build ID: what unpacks it, and runs before it, is not in that.
	k.Image = "sha256:" + sum
	if b.Modules == "" {
		return k, nil
	}
	cand, err := s.Resolve(ctx, b.Modules)
	if err != nil {
		return bisect.Kernel{}, fmt.Errorf("keep modules: %w", err)
	}
	if k.ModulesDir = cand.ModulesDir; k.ModulesDir == "" {
		return k, nil
	}
	modules, err := digestTree(k.ModulesDir)
	if err != nil {
		return bisect.Kernel{}, fmt.Errorf("keep modules: %w", err)
	}
	k.Image += "+" + modules
	return k, nil
}

// keepLog puts the log of a failed build aside.
func (s *Source) keepLog(log string, c history.Commit) (string, error) {
	to := filepath.Join(s.Dir, logsDir, c.Short()+".log")
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return "", fmt.Errorf("keep build log: %w", err)
	}
	if _, err := copyFile(log, to); err != nil {
		return "", fmt.Errorf("keep build log: %w", err)
	}
	return to, nil
}

// copyFile copies by way of a temporary name, so that a copy is whole or not
// there, and returns the SHA-256.
func copyFile(from, to string) (sum string, err error) {
	in, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer in.Close() // only read
	out, err := os.CreateTemp(filepath.Dir(to), ".new-*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.Remove(out.Name()) // the first error counts
		}
	}()
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(out, h), in)
	if err := errors.Join(err, out.Chmod(0o644), out.Sync(), out.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), os.Rename(out.Name(), to)
}

// digestTree is a digest of all files below dir, names and contents.
func digestTree(dir string) (string, error) {
	h := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close() // only read
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s\x00", rel)
		_, err = io.Copy(h, f)
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:32], err
}

// Log is the bisection for `git bisect replay`, which comes to the same answer.
func (s *Source) Log(r *bisect.Report) string {
	answer := r.Suspects
	if r.First != nil {
		answer = []bisect.Candidate{*r.First}
	}
	var first []history.Commit
	for _, a := range answer {
		if c, ok := s.commit(a.ID); ok {
			first = append(first, c)
		}
	}
	held := s.held(first)
	said := s.said(r, first, held)
	return history.Log(append(said, s.follows(said, first, held)...), first...)
}

// said is what the steps told, in their order.
func (s *Source) said(r *bisect.Report, first []history.Commit, held map[string]int) (out []history.Said) {
	showed := map[string]words{} // by image
	for _, st := range r.Steps {
		if st.Boot != nil {
			showed[st.Image] = append(showed[st.Image], history.Word(st.Verdict))
		}
	}
	seen := map[history.Said]bool{}
	for _, st := range r.Steps {
		c, ok := s.commit(st.Candidate.ID)
		if !ok {
			continue
		}
		l := history.Said{Commit: c, Word: history.Word(st.Verdict)}
		if all := showed[st.Image]; len(all) > 0 {
			has := len(first) > 0 && held[c.Hash] == len(first)
			hasNot := len(first) > 0 && held[c.Hash] == 0
			counts := all.counts(has, hasNot)
			if l.Word == bisect.Same {
				l.Word = cmp.Or(counts, all[0])
			}
			if l.Word != counts {
				l.Note = why(l.Word, has)
			}
		}
		if !seen[l] {
			out = append(out, l)
			seen[l] = true
		}
	}
	return out
}

// words are the verdicts of the boots of one image.
type words []history.Word

// counts is the one that git is told, "" for none. One bad boot outweighs the good ones,
// and each of them a boot that said nothing; but of a commit that has all that may be
// the first bad one, or has none of it, the answer says which boots were by chance.
func (w words) counts(has, hasNot bool) history.Word {
	switch {
	case slices.Contains(w, history.Bad) && !hasNot:
		return history.Bad
	case slices.Contains(w, history.Good) && !has:
		return history.Good
	case slices.Contains(w, history.Skip):
		return history.Skip
	}
	return ""
}

// why is the reason for which a boot's word does not count.
func why(w history.Word, has bool) string {
	switch {
	case w == history.Skip:
		return "another boot decided"
	case w == history.Bad:
		return "by chance: it does not contain the first bad commit"
	case has:
		return "by chance: it contains the first bad commit"
	default:
		return "it failed in another boot"
	}
}

// follows is what git has to be told besides. It knows one bad commit, the last that it
// is told of, and takes a commit for good only if it is an ancestor of one that is; with
// the bad commit no descendant of that, it asks for the merge base.
func (s *Source) follows(said []history.Said, first []history.Commit, held map[string]int) (out []history.Said) {
	good, bad := map[string]bool{}, ""
	for _, l := range said {
		switch {
		case l.Note != "":
		case l.Word == history.Good:
			good[l.Commit.Hash] = true
		case l.Word == history.Bad:
			bad = l.Commit.Hash
		}
	}
	tell := func(c history.Commit) {
		if held[c.Hash] == 0 && !good[c.Hash] {
			good[c.Hash] = true
			out = append(out, history.Said{Commit: c, Word: history.Good, Follows: true})
		}
	}
	for _, c := range first {
		i := slices.Index(s.Range.Commits, c)
		if i < 0 {
			continue
		}
		for _, p := range s.Range.Parents[i] {
			tell(s.Range.Commits[p])
		}
		for _, hash := range s.Range.Below[i] {
			tell(history.Commit{Hash: hash})
		}
	}
	if n := len(first); n > 0 && first[n-1].Hash != bad && held[first[n-1].Hash] == n {
		out = append(out, history.Said{Commit: first[n-1], Word: history.Bad, Follows: true})
	}
	return out
}

// held says how many of first each commit of the range is or has among its ancestors.
func (s *Source) held(first []history.Commit) map[string]int {
	out := map[string]int{}
	for _, f := range first {
		has := make([]bool, len(s.Range.Commits))
		for i, c := range s.Range.Commits {
			has[i] = c.Hash == f.Hash || slices.ContainsFunc(s.Range.Parents[i], func(p int) bool { return has[p] })
			if has[i] {
				out[c.Hash]++
			}
		}
	}
	return out
}

// Tidy removes the work tree, the build and all kernels but those of keep. The
// journal and the logs stay.
func (s *Source) Tidy(ctx context.Context, keep ...string) error {
	if err := s.removeTree(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(s.Dir, buildDir)); err != nil {
		return fmt.Errorf("remove builds: %w", err)
	}
	kernels, err := os.ReadDir(filepath.Join(s.Dir, kernelsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove builds: %w", err)
	}
	for _, k := range kernels {
		if slices.Contains(keep, k.Name()) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.Dir, kernelsDir, k.Name())); err != nil {
			return fmt.Errorf("remove builds: %w", err)
		}
	}
	return nil
}
