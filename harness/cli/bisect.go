package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/bisect/session"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/report/summary"
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
		Short: "Bisect kernels by booting them",
		Long: `Find the first kernel that fails in a scenario like the bad end, among the commits of
a source tree, which are built, or among released packages. Only failures with the
bad end's signature are bad: a kernel that fails in another way, or does not build,
is skipped.

TREE is a git repository, or a name from ` + "`unwedge trees`" + `, which is fetched. Your
checkout is not touched: commits are built out of tree, in a separate work tree. The
likely next ones are built while a guest runs.

It can be interrupted at any time: the same command continues where it stopped, and
nothing is built or booted twice. Intermittent failures are found too, with
--intermittent from the start, otherwise once boots contradict each other: kernels
are then booted repeatedly until the answer is as certain as --confidence asks.

Exit codes: 0 first bad kernel found, 1 several suspects are left, 2 usage or bad
input, 3 the harness, a build or the host failed, 130 interrupted.`,
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
	fs.StringVar(&f.request.Tree, "tree", "", "build commits of this `TREE`: a git repository, or a name from unwedge trees")
	fs.StringVar(&f.request.Packages, "packages", "", "boot released kernels: a `PATTERN` deb:GLOB[@SUITE,...], a directory, or files, as for unwedge kernels")
	fs.StringVar(&f.request.Flavour, "flavour", "", "flavour, if the pattern matches several: cloud-amd64, ...")
	fs.StringArrayVar(&f.request.Good, "good", nil, "a good revision or version (repeatable for commits)")
	fs.StringVar(&f.request.Bad, "bad", "", "the bad revision or version")
	fs.BoolVar(&f.request.Options.AnyFailure, "any-failure", false, "count every failure as bad, not only the bad end's")
	fs.BoolVar(&f.request.Options.Intermittent, "intermittent", false, "the failure shows only in some boots")
	fs.BoolVar(&f.request.Options.Confirm, "confirm", false, "boot until --confidence is reached even if one failure in ten is intermittent and one boot in 1000 misleads")
	fs.Float64Var(&f.request.Options.Confidence, "confidence", 0.99, "required probability of the answer")
	fs.IntVar(&f.request.Options.Retries, "retries", 2, "retries of a boot that fails in the harness, or still makes progress at its deadline")
	fs.BoolVar(&f.request.Options.Alone, "no-ahead", false, "build nothing while a guest runs")
	fs.BoolVar(&f.request.Fresh, "fresh", false, "ignore verdicts of earlier bisections")
	fs.StringVarP(&f.out, "out", "o", "", "directory of this bisection (default: one below $XDG_STATE_HOME/unwedge, the same for the same arguments)")
	fs.BoolVar(&f.json, "json", false, "print the report as JSON")
	f.report.add(cmd)
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
	if _, err := f.report.targets(); err != nil {
		return err
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
		show := func() error { return report.Bisect(a.stdout, r, a.style()) }
		if f.json {
			show = func() error { return report.JSON(a.stdout, r) }
		}
		if err := show(); err != nil {
			return err
		}
		return a.write(f.report, summary.Of([]summary.Cell{summary.OfBisection(r)}))
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
