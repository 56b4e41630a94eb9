package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/matrix"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/release"
)

type matrixFlags struct {
	scenarios          []string
	arch               []string
	entropy, initramfs []string
	releases           []string
	jobs               int
	probe              []string
	once               bool
	json, verbose      bool
	judge              judgeFlags
	report             reportTo
}

func (a *app) matrixCmd() *cobra.Command {
	var f matrixFlags
	cmd := &cobra.Command{
		Use:   "matrix [KERNEL...]",
		Short: "Boot kernels in all cells of scenarios",
		Long: `Boot each kernel in each cell of the scenarios for its architecture, several at a
time, and report what the cells that failed have in common and the others lack.
Without KERNEL a Debian kernel for each architecture is booted.`,
		Example: `  unwedge matrix                                     # the 8 cells of "distro"
  unwedge matrix -j 4 ./bzImage ./Image
  unwedge matrix -s tiny -s random deb:linux-image-cloud-amd64@trixie-backports
  unwedge matrix --arch aarch64 --entropy none
  unwedge matrix --image-release bookworm,trixie     # the user space of two releases
  unwedge matrix --probe ./bzImage                   # experiment on each guest that hangs`,
		RunE: func(c *cobra.Command, args []string) error { return a.matrix(c.Context(), args, f) },
	}
	fs := cmd.Flags()
	fs.StringSliceVarP(&f.scenarios, "scenario", "s", []string{"distro"}, "scenarios: `NAMES` from unwedge scenarios")
	fs.StringSliceVar(&f.arch, "arch", nil, "only these architectures")
	fs.StringSliceVar(&f.entropy, "entropy", nil, "only these entropy sources")
	fs.StringSliceVar(&f.initramfs, "initramfs", nil, "only these kinds of initramfs")
	addReleases(cmd, &f.releases)
	fs.IntVarP(&f.jobs, "jobs", "j", 1, "guests at a time; one per core is best")
	addOnceFlag(cmd, &f.once)
	addProbeFlag(cmd, &f.probe)
	f.judge.add(cmd)
	fs.BoolVar(&f.json, "json", false, "print the Results as a JSON list")
	f.report.add(cmd)
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "print the full report of every cell, not only of those that failed")
	return cmd
}

func (a *app) matrix(ctx context.Context, args []string, f matrixFlags) error {
	if f.jobs < 1 {
		return usage.Errorf("-j %d: use 1 or more", f.jobs)
	}
	if _, err := f.report.targets(); err != nil {
		return err
	}
	if _, err := f.judge.list(); err != nil { // before anything boots
		return err
	}
	probes, err := parseProbes(f.probe)
	if err != nil {
		return err
	}
	p, err := a.planner()
	if err != nil {
		return err
	}
	p.Probes = probes
	d := display.New(a.stderr, a.quiet)
	defer d.Close()
	ctx = progress.With(ctx, d)
	boots, err := a.boots(ctx, p, args, f)
	if err != nil {
		return err
	}
	done := matrix.Run(ctx, boots, f.jobs, func(ctx context.Context, c matrix.Cell[matrix.Boot]) (*result.Result, error) {
		req, err := p.Request(ctx, c.Job.Scenario, c.Job.Kernel)
		if err != nil {
			return nil, err
		}
		if err := f.judge.apply(&req); err != nil {
			return nil, err
		}
		req.Again = !f.once
		return a.run(ctx, d, req, "", c.Job.Label, nil)
	}, func(c matrix.Done[matrix.Boot]) {
		d.Say(fmt.Sprintf("[%d/%d] %s", c.Index+1, len(boots), matrix.Line(c)))
	})
	d.Close()
	results, difference, failed, err := matrix.Results(done)
	show := func() error { return matrix.Text(a.stdout, done, difference, f.verbose, a.style()) }
	if f.json {
		show = func() error { return report.JSON(a.stdout, results) }
	}
	if err := show(); err != nil {
		return err
	}
	a.note(f.judge.uses(results...))
	a.note(a.since(ctx, results...))
	if err := a.write(f.report, summary.OfMatrix(done)); err != nil {
		return err
	}
	if err == nil && failed {
		err = errKernel
	}
	return err
}

// boots expands what the arguments and flags select.
func (a *app) boots(ctx context.Context, p *plan.Planner, kernels []string, f matrixFlags) ([]matrix.Boot, error) {
	all, err := a.catalogue()
	if err != nil {
		return nil, err
	}
	archs, err := parseArchs(f.arch)
	if err != nil {
		return nil, err
	}
	var releases []release.Release
	for _, r := range f.releases {
		releases = append(releases, release.Release(r))
	}
	return matrix.Boots(ctx, p, all, matrix.Selection{Kernels: kernels, Scenarios: f.scenarios, Arch: archs, Entropy: f.entropy, Initramfs: f.initramfs, ImageReleases: releases})
}

// addReleases adds the flag that chooses the images' releases for whole scenarios.
func addReleases(cmd *cobra.Command, releases *[]string) {
	cmd.Flags().StringSliceVar(releases, "image-release", nil, "distribution `RELEASES` of dracut's images and the root file system: "+release.List()+" (default: the scenarios')")
}

func parseArchs(names []string) ([]arch.Arch, error) {
	var out []arch.Arch
	for _, n := range names {
		a, err := parseArch(n)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}
