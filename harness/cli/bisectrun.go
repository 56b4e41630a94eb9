package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/bisect/search"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/kbuild"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios"
)

// What `git bisect run` makes of an exit code (git-bisect's manual): 0 is good, 125
// cannot be tested, 1 to 127 else are bad, and everything above ends the bisection.
const (
	gitGood = 0
	gitBad  = 1
	gitSkip = 125
	gitStop = 128
)

// gitError is an exit code for git. What there is to say is said where err is
// nil.
type gitError struct {
	code int
	err  error
}

func (e *gitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *gitError) Unwrap() error { return e.err }

// stopGit makes every error one that ends the bisection: none of them is a
// verdict.
func stopGit(err error) error {
	if err == nil || errors.As(err, new(*gitError)) || errors.Is(err, errInterrupted) {
		return err
	}
	return &gitError{gitStop, err}
}

// bisectRunFlags are what `unwedge bisect run` was asked.
type bisectRunFlags struct {
	bootFlags
	build treeFlags
	like  string
	tries int
}

func (a *app) bisectRunCmd() *cobra.Command {
	var f bisectRunFlags
	cmd := &cobra.Command{
		Use:   "run [TREE]",
		Short: "Build and judge one checkout, for `git bisect run`",
		Long: `Build the kernel tree here (or TREE) out of tree, boot it, and say what git bisect run
wants to hear: exit code 0 for good, 1 for bad, 125 for a tree that does not build or
fails in another way than --like says, and 128 for everything that is no verdict: wrong
use, a build or a boot that this host could not make.

Without --like every failure is bad. Give it the result.json of the bad end, or its
signature, so that another failure on the way is not taken for it.`,
		Example: `  unwedge boot --json ~/src/linux > bad.json
  git bisect start v7.3-rc1 v7.2
  git bisect run unwedge bisect run --config defconfig --like bad.json`,
		Args: func(c *cobra.Command, args []string) error { return stopGit(cobra.MaximumNArgs(1)(c, args)) },
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return stopGit(a.bisectRun(c.Context(), dir, f))
		},
	}
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return stopGit(fmt.Errorf("%w: see `%s --help`", err, c.CommandPath()))
	})
	f.cellFlags(cmd)
	f.build.add(cmd)
	cmd.Flags().StringVar(&f.like, "like", "", "the failure that is bad: a result.json, or a signature")
	cmd.Flags().IntVar(&f.tries, "tries", 1, "how many boots must be good, for a failure that shows in some only")
	return cmd
}

func (a *app) bisectRun(ctx context.Context, dir string, f bisectRunFlags) error {
	noVerdictByCrash()
	if f.tries < 1 {
		return fmt.Errorf("--tries %d: use 1 or more", f.tries)
	}
	want, err := likeOf(f.like)
	if err != nil {
		return err
	}
	ar, err := archOrHost(f.arch)
	if err != nil {
		return err
	}
	sc, err := a.cellOf(f.bootFlags, ar)
	if err != nil {
		return err
	}
	p, err := a.planner()
	if err != nil {
		return err
	}
	d := display.New(a.stderr, a.quiet)
	defer d.Close()
	ctx = progress.With(ctx, d)
	if _, err := p.Host(ctx, ar); err != nil { // no QEMU: then there is no use in a build
		return err
	}
	built, err := a.buildHere(ctx, p, dir, sc, f)
	if err != nil {
		return err
	}
	for range f.tries {
		v, why, err := a.judgeOnce(ctx, p, d, sc, built, want, f.like == "")
		if err != nil {
			return err
		}
		d.Say(fmt.Sprintf("%s: %s", v, console.SanitizeMax(why, 300)))
		switch v {
		case search.Bad:
			return &gitError{code: gitBad}
		case search.Skip:
			return &gitError{code: gitSkip}
		}
	}
	return nil
}

// noVerdictByCrash makes a panic, or Go's having no memory, end this program by a signal,
// which ends git's bisection: Go's own exit code is 2, which git takes for bad.
func noVerdictByCrash() { debug.SetTraceback("crash") }

// buildHere builds a checkout; what the source does not build is a skip.
func (a *app) buildHere(ctx context.Context, p *plan.Planner, dir string, sc scenarios.Scenario, f bisectRunFlags) (*kbuild.Built, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	spec, identity, err := f.build.specFor(ctx, p, sc)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(dir + "\x00" + identity))
	spec.Source, spec.Output = dir, filepath.Join(p.State, "bisect-run", hex.EncodeToString(sum[:8]))
	if err := kbuild.Check(ctx, spec); err != nil {
		return nil, err
	}
	built, err := kbuild.Build(ctx, spec)
	if errors.As(err, new(*kbuild.TreeError)) || errors.As(err, new(*kbuild.ConfigError)) {
		return nil, &gitError{gitSkip, err}
	}
	return built, err
}

// slowTries is how often a boot is made again that was still at work at its deadline.
const slowTries = 2

// decided boots once, and again while that decides nothing.
func decided(want bisect.Boot, boot func() (bisect.Boot, error)) (b bisect.Boot, err error) {
	for range 1 + slowTries {
		if b, err = boot(); err != nil || !b.Undecided(want) {
			break
		}
	}
	return b, err
}

// judgeOnce boots once, and again where that decides nothing.
func (a *app) judgeOnce(ctx context.Context, p *plan.Planner, d display.Display, sc scenarios.Scenario, built *kbuild.Built, want bisect.Boot, any bool) (search.Verdict, string, error) {
	name := built.Release
	b, err := decided(want, func() (bisect.Boot, error) {
		res, err := a.bootOne(ctx, p, d, sc, bisect.Candidate{ID: name, Name: name}, bisect.Kernel{Arg: filepath.Dir(built.Vmlinux)})
		if err != nil {
			return bisect.Boot{}, err
		}
		return bisect.BootOf(res), nil
	})
	if err != nil {
		return 0, "", err
	}
	v, why := bisect.Judge(b, want, any)
	if !b.Expected {
		why += "; signature " + b.Signature + "; run in " + b.Dir
	}
	return v, why, nil
}

// likeOf reads --like.
func likeOf(arg string) (bisect.Boot, error) {
	if arg == "" {
		return bisect.Boot{}, nil
	}
	if st, err := os.Stat(arg); err != nil || !st.Mode().IsRegular() {
		if !diagnose.IsSignature(arg) { // no boot would be like it, and git would skip commit after commit
			return bisect.Boot{}, fmt.Errorf("--like %s: no such file, and no signature, which is like hang/entropy-starvation: name the bad end's result.json by its whole path, as git runs this at the top of the tree", arg)
		}
		return bisect.Boot{Outcome: "failed", Signature: arg}, nil
	}
	r, err := result.Read(arg)
	if err != nil {
		return bisect.Boot{}, fmt.Errorf("--like: %w", err)
	}
	b := bisect.BootOf(r)
	if b.Expected {
		return b, fmt.Errorf("--like %s: that boot did not fail: name the result of the bad end", arg)
	}
	return b, nil
}
