package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/bisect/session"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// bisectFlags are what `unwedge bisect` was asked.
type bisectFlags struct {
	bootFlags
	request session.Request
}

func (a *app) bisectCmd() *cobra.Command {
	var f bisectFlags
	cmd := &cobra.Command{
		Use:   "bisect {--tree TREE | --packages PATTERN} --good REV --bad REV",
		Short: "Find the first bad one of many kernels",
		Long: `Find the first kernel that fails in a scenario as the bad end does, by booting some
of them: commits of a source tree, which are built, or released packages. Bad is that
failure, by its signature; a kernel that fails in another way says nothing, and so
does one that cannot be made ready.

TREE is a git repository, or a name that unwedge trees lists, which is fetched. The
checkout there is not touched: commits are built in a work tree of the bisection's
own, out of tree, and the next ones that may be asked for while a guest runs.

It can be ended at any moment: the same command goes on where it was, and nothing
is built or booted twice. A failure that shows in some boots only is found too: with
--intermittent from the start, and otherwise once boots contradict each other; the
search then boots kernels more often, until the answer has the confidence asked for.

Exit codes: 0 the first bad one was found, 1 it could not be told apart from others,
2 usage or bad input, 3 the harness, a build or the host failed, 130 interrupted.`,
		Example: `  unwedge bisect --tree ~/src/linux --good v7.2 --bad v7.3-rc1 --config deb:linux-image-cloud-amd64@bookworm
  unwedge bisect --tree stable --good v6.12.40 --bad v6.12.44 --arch aarch64 -s random --entropy none
  unwedge bisect --tree . --good v7.2 --bad HEAD --intermittent --confidence 0.999

  # released kernels, no source needed:
  unwedge bisect --packages 'deb:linux-image-*-cloud-amd64@trixie-backports' --good 6.12 --bad 7.3
  unwedge bisect --packages ./kept/ --good 6.1.170 --bad 6.1.176 -s random --entropy none`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.bisect(c.Context(), f) },
	}
	f.cellFlags(cmd)
	addBuildFlags(cmd, &f.request.Build)
	fs := cmd.Flags()
	fs.StringVar(&f.request.Tree, "tree", "", "source to build commits of: a git repository, or the name of a `TREE` that unwedge trees lists")
	fs.StringVar(&f.request.Packages, "packages", "", "released kernels: a `PATTERN` deb:GLOB[@SUITE,...], a directory, or files, as unwedge kernels lists them")
	fs.StringVar(&f.request.Flavour, "flavour", "", "which flavour, where the pattern names several: cloud-amd64, ...")
	fs.StringArrayVar(&f.request.Good, "good", nil, "an end that is good")
	fs.StringVar(&f.request.Bad, "bad", "", "the end that is bad")
	fs.BoolVar(&f.request.Options.AnyFailure, "any-failure", false, "every failure is bad, not only the bad end's own")
	fs.BoolVar(&f.request.Options.Intermittent, "intermittent", false, "the failure is known to show in some boots only")
	fs.BoolVar(&f.request.Options.Confirm, "confirm", false, "boot more often, until the answer is that sure even if one failure in ten is intermittent, and one boot in 1000 misleads")
	fs.Float64Var(&f.request.Options.Confidence, "confidence", 0.99, "how sure the answer must be")
	fs.IntVar(&f.request.Options.Retries, "retries", 2, "how often to try again when a boot fails in the harness, or is still at work at its deadline")
	fs.BoolVar(&f.request.Options.Alone, "no-ahead", false, "make nothing ready while a guest runs")
	fs.BoolVar(&f.request.Fresh, "fresh", false, "use no verdicts of earlier bisections")
	fs.StringVarP(&f.out, "out", "o", "", "directory of this bisection (default: one below $XDG_STATE_HOME/unwedge, found again by what is asked)")
	fs.BoolVar(&f.json, "json", false, "print the report as JSON")
	cmd.AddCommand(a.bisectRunCmd())
	return cmd
}

func (a *app) bisect(ctx context.Context, f bisectFlags) (err error) {
	if f.request.Options.Retries < 0 {
		return usage.Errorf("--retries %d: use 0 or more", f.request.Options.Retries)
	}
	if f.request.Options.Retries == 0 {
		f.request.Options.Retries = -1 // never
	}
	if err := f.request.Check(); err != nil {
		return err
	}
	find := parseArch
	if f.request.Tree != "" {
		find = archOrHost
	}
	if f.request.Arch, err = find(f.arch); err != nil {
		return err
	}
	f.request.Out = f.out
	f.request.Cell = func(ar arch.Arch) (scenarios.Scenario, error) { return a.cellOf(f.bootFlags, ar) }
	s, d, err := a.session()
	if err != nil {
		return err
	}
	defer d.Close()
	s.Answer = func(r *bisect.Report) error {
		if f.json {
			return report.JSON(a.stdout, r)
		}
		return report.Bisect(a.stdout, r, a.style())
	}
	r, err := s.Run(progress.With(ctx, d), f.request)
	if err == nil && r.First == nil {
		err = errKernel
	}
	return err
}

// session is what bisects, with the display that it uses.
func (a *app) session() (session.Session, display.Display, error) {
	p, err := a.planner()
	if err != nil {
		return session.Session{}, nil, err
	}
	d := display.New(a.stderr, a.quiet)
	boot := func(ctx context.Context, req harness.Request, dir, name string) (*result.Result, error) {
		return a.run(ctx, d, req, dir, name, nil)
	}
	return session.Session{Planner: p, Say: d.Say, Boot: boot}, d, nil
}

// cellOf is the scenario's cell for an arch.
func (a *app) cellOf(f bootFlags, ar arch.Arch) (scenarios.Scenario, error) {
	cat, err := a.catalogue()
	if err != nil {
		return scenarios.Scenario{}, err
	}
	t, err := cat.Find(f.scenario)
	if err != nil {
		return scenarios.Scenario{}, usage.Wrap(err)
	}
	return f.cell(t, ar)
}
