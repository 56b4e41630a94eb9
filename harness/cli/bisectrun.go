package cli

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
	"github.com/unwedge/unwedge/harness/internal/bisect/session"
	"github.com/unwedge/unwedge/images/progress"
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
	checkout session.Checkout
}

func (a *app) bisectRunCmd() *cobra.Command {
	var f bisectRunFlags
	cmd := &cobra.Command{
		Use:   "run [TREE]",
		Short: "Build and judge one checkout, for `git bisect run`",
		Long: `Build the kernel tree here (or TREE) out of tree, boot it, and exit as git bisect run
expects: 0 for good, 1 for bad, 125 (skip) for a tree that does not build or fails
unlike --like, and 128 where there is no verdict: wrong use, or a build or boot that
failed because of this host.

Without --like every failure is bad. Pass the result.json of the bad end, or its
signature, so that other failures on the way are skipped.`,
		Example: `  unwedge boot --json ~/src/linux > bad.json
  git bisect start v7.3-rc1 v7.2
  git bisect run unwedge bisect run --config defconfig --like bad.json`,
		Args: func(c *cobra.Command, args []string) error { return stopGit(cobra.MaximumNArgs(1)(c, args)) },
		RunE: func(c *cobra.Command, args []string) error {
			f.checkout.Tree = "."
			if len(args) > 0 {
				f.checkout.Tree = args[0]
			}
			return stopGit(a.bisectRun(c.Context(), f))
		},
	}
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return stopGit(fmt.Errorf("%w: see `%s --help`", err, c.CommandPath()))
	})
	f.cellFlags(cmd)
	addBuildFlags(cmd, &f.checkout.Build)
	cmd.Flags().StringVar(&f.checkout.Like, "like", "", "only this failure is bad: a result.json, or a signature")
	cmd.Flags().IntVar(&f.checkout.Tries, "tries", 1, "boots that must be good, for an intermittent failure")
	return cmd
}

func (a *app) bisectRun(ctx context.Context, f bisectRunFlags) error {
	noVerdictByCrash()
	ar, err := archOrHost(f.arch)
	if err != nil {
		return err
	}
	f.checkout.Arch = ar
	if f.checkout.Cell, err = a.cellOf(f.bootFlags, ar); err != nil {
		return err
	}
	s, d, err := a.session()
	if err != nil {
		return err
	}
	defer d.Close()
	v, err := s.Judge(progress.With(ctx, d), f.checkout)
	switch {
	case v == search.Skip:
		return &gitError{gitSkip, err}
	case err != nil:
		return err
	case v == search.Bad:
		return &gitError{code: gitBad}
	}
	return nil
}

// noVerdictByCrash makes a panic, or Go's having no memory, end this program by a signal,
// which ends git's bisection: Go's own exit code is 2, which git takes for bad.
func noVerdictByCrash() { debug.SetTraceback("crash") }
