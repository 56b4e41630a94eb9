package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/bisect/history"
	"github.com/unwedge/unwedge/harness/internal/bisect/trial"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/git"
	"github.com/unwedge/unwedge/images/kbuild"
)

// Trial is a series of patches that may mend a failure.
type Trial struct {
	// Runs are the Results of the failure: one that failed first, then boots of the same
	// kernel in the same scenario, which failed or did not.
	Runs []*result.Result
	// Tree is a repository or a name of the catalogue, Rev what the series is based on.
	Tree, Rev string
	// Patch is the series, as a mailbox.
	Patch string
	Build plan.Build
	// Confidence is how sure the answer must be, Boots how many boots it may take.
	Confidence float64
	Boots      int
	// DryRun applies the series, and neither builds nor boots.
	DryRun bool
	// By is who tests, as NAME <ADDRESS>; "" asks the repository's configuration.
	By string
}

// Check reports wrong use, before anything is done.
func (t Trial) Check() error {
	switch {
	case t.Tree == "" || t.Rev == "" || t.Patch == "":
		return usage.Errorf("--tree, --rev and --patch are needed: see `unwedge try --help`")
	case !(t.Confidence > 0.5 && t.Confidence < 1):
		return usage.Errorf("--confidence %v: use a value between 0.5 and 1, such as 0.95", t.Confidence)
	case t.Boots < 1 || t.Boots > 100000:
		return usage.Errorf("--boots %d: use 1 to 100000", t.Boots)
	case t.Runs[0].Expected:
		return usage.Errorf("%s did not fail: name a run that did first", t.Runs[0].Dir)
	}
	for _, r := range t.Runs[1:] {
		if r.Kernel.SHA256 != t.Runs[0].Kernel.SHA256 || r.Scenario.Name != t.Runs[0].Scenario.Name {
			return usage.Errorf("%s is no repeat of %s: its kernel or its scenario differs", r.Dir, t.Runs[0].Dir)
		}
	}
	if st, err := os.Stat(t.Patch); err != nil || !st.Mode().IsRegular() {
		return usage.Errorf("--patch %s: no such file: save the series as a mailbox, with `b4 am` or `git format-patch --stdout`", t.Patch)
	}
	return nil
}

// begin is the report before anything was tried.
func (t Trial) begin() (*trial.Report, bisect.Boot) {
	want := bisect.BootOf(t.Runs[0])
	r := &trial.Report{Schema: trial.Schema, Failure: want.Name(), Signature: want.Signature, Scenario: t.Runs[0].Scenario.Name, Asked: t.Confidence}
	for _, run := range t.Runs {
		r.Before.Boots++
		if b := bisect.BootOf(run); !b.Expected && b.Same(want) {
			r.Before.Failed++
		}
	}
	r.Need = r.Before.Need(t.Confidence, t.Boots)
	return r, want
}

// Try applies the series in a work tree of its own, builds it, and boots until it is sure
// whether the failure is gone. What became of the series is in the Report; an error says
// nothing about it. The work tree is removed, however it ends.
func (s Session) Try(ctx context.Context, t Trial) (r *trial.Report, err error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	r, want := t.begin()
	repo, here, notes, err := locate(ctx, t.Tree, t.Rev)
	if err != nil {
		return nil, err
	}
	for _, n := range notes {
		s.Say("note: " + n)
	}
	base, err := repo.Commit(ctx, here(t.Rev))
	if err != nil {
		return nil, historyError(err)
	}
	r.Base, r.Describe = base.Hash, repo.Describe(ctx, base.Hash)
	sum := sha256.Sum256([]byte(repo.GitDir()))
	dir := filepath.Join(s.Planner.State, "try", hex.EncodeToString(sum[:8]))
	unlock, err := alone(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	w, err := repo.Worktree(ctx, filepath.Join(dir, "tree"), base)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Remove(context.WithoutCancel(ctx))) }()
	if err := w.Checkout(ctx, base); err != nil {
		return nil, err
	}
	if r.Patches, err = trial.Apply(ctx, w.Dir(), t.Patch); err != nil {
		return r, rejected(r, t.Patch, err)
	}
	if t.DryRun {
		r.Verdict, r.Why = trial.Planned, planned(r, t)
		return r, nil
	}
	if err := s.tryBoots(ctx, t, r, want, w.Dir(), filepath.Join(dir, "build")); err != nil {
		return nil, err
	}
	if r.Verdict == trial.Fixed {
		r.Tag(tester(ctx, repo, t.By))
	}
	return r, nil
}

// rejected notes in the report what does not apply; other errors stay errors.
func rejected(r *trial.Report, patch string, err error) error {
	var bad *trial.RejectedError
	if errors.As(err, &bad) {
		r.Verdict, r.Why, r.Rejected = trial.Rejects, bad.Error(), bad.Parts
		return nil
	}
	if errors.As(err, new(*git.Error)) {
		return usage.Errorf("--patch %s: %w", patch, err)
	}
	return err
}

func planned(r *trial.Report, t Trial) string {
	need := fmt.Sprintf("%d boots without the failure would make it %.4g %% sure", r.Need, 100*t.Confidence)
	if r.Need == 0 {
		need = fmt.Sprintf("%d boots would not make it %.4g %% sure: raise --boots", t.Boots, 100*t.Confidence)
	}
	return fmt.Sprintf("the series applies; %s (the failure showed in %d of %d before)", need, r.Before.Failed, r.Before.Boots)
}

// tryBoots builds the tree, and boots it until the answer is there.
func (s Session) tryBoots(ctx context.Context, t Trial, r *trial.Report, want bisect.Boot, tree, output string) error {
	cell := t.Runs[0].Scenario
	spec, _, err := t.Build.SpecFor(ctx, s.Planner, cell)
	if err != nil {
		return err
	}
	spec.Source, spec.Output = tree, output
	if err := kbuild.Check(ctx, spec); err != nil {
		return err
	}
	built, err := kbuild.Build(ctx, spec)
	if errors.As(err, new(*kbuild.TreeError)) || errors.As(err, new(*kbuild.ConfigError)) {
		r.Verdict, r.Why = trial.NoBuild, "the tree with the series does not build: "+console.OneLine(err)
		return nil
	}
	if err != nil {
		return err
	}
	r.Release = built.Release
	return s.until(t.Boots, r, want, func() (bisect.Boot, error) {
		res, err := s.boot(ctx, cell, bisect.Candidate{ID: built.Release, Name: built.Release}, bisect.Kernel{Arg: filepath.Dir(built.Vmlinux)})
		if err != nil {
			return bisect.Boot{}, err
		}
		return bisect.BootOf(res), nil
	})
}

// until boots until the answer is there, or as often as allowed.
func (s Session) until(most int, r *trial.Report, want bisect.Boot, boot func() (bisect.Boot, error)) error {
	for range most {
		b, err := decided(want, boot)
		if err != nil {
			return err
		}
		done := r.Judge(b, want)
		s.Say(fmt.Sprintf("boot %d with the series: %s; %.1f %% sure that the failure is gone", r.After.Boots, console.SanitizeMax(b.Name(), 200), 100*r.Confidence))
		if done {
			return nil
		}
	}
	r.Undecided()
	return nil
}

// tester is who tests: as given, or as git knows the user.
func tester(ctx context.Context, repo *history.Repo, by string) string {
	if by != "" {
		return by
	}
	name, nerr := git.Run(ctx, repo.Dir(), "config", "user.name")
	mail, merr := git.Run(ctx, repo.Dir(), "config", "user.email")
	if nerr != nil || merr != nil {
		return "YOUR NAME <YOUR ADDRESS>"
	}
	return strings.TrimSpace(name) + " <" + strings.TrimSpace(mail) + ">"
}

// alone locks a directory, which it makes: two trials of one tree would share work tree
// and build.
func alone(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(usage.Errorf("lock %s: another `unwedge try` works on this tree: wait for it", dir), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing unlocks
}
