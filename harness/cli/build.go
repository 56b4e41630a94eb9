package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kbuild"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/arch"
)

type buildFlags struct {
	build               plan.Build
	arch, scenario, out string
	twice, json         bool
}

func (a *app) buildCmd() *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:   "build TREE",
		Short: "Configure and build a kernel tree for a scenario",
		Long: `Build the kernel source TREE out of tree, configured to boot in a scenario and to be
reproducible bit by bit. The source is not touched; ` + "`unwedge boot`" + ` takes the output
directory. The toolchain is checked first: what is missing, too old or broken is
reported with the package to install.

Fragments that come with unwedge: ` + strings.Join(kbuild.FragmentNames(), ", ") + `.
An option that Kconfig refuses is an error that names it and the reason.

Exit codes: 0 built, 1 the tree does not build (or two builds differ), 2 usage or bad input, 3 the host or
its toolchain cannot build it, 130 interrupted.`,
		Example: `  unwedge build ~/src/linux -o build && unwedge boot build
  unwedge build ~/src/linux --arch aarch64 --llvm --config tinyconfig -o build-arm64
  unwedge build ~/src/linux --config deb:linux-image-cloud-amd64@bookworm --scenario distro -o build
  unwedge build ~/src/linux --twice -o build      # check that it is reproducible`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.build(c.Context(), args[0], f) },
	}
	addBuildFlags(cmd, &f.build)
	fs := cmd.Flags()
	fs.StringVar(&f.arch, "arch", "", "architecture to build for (default: the host's)")
	fs.StringVarP(&f.scenario, "scenario", "s", "tiny", "scenario to boot in; none to merge no fragments")
	fs.StringVarP(&f.out, "out", "o", "", "output directory; an earlier build in it is continued (default: TREE.ARCH beside TREE)")
	fs.BoolVar(&f.twice, "twice", false, "build twice, in two directories, and report what differs")
	fs.BoolVar(&f.json, "json", false, "print the result as JSON")
	return cmd
}

func (a *app) build(ctx context.Context, tree string, f buildFlags) error {
	d := display.New(a.stderr, a.quiet)
	defer d.Close()
	ctx = progress.With(ctx, d)
	spec, err := a.buildSpec(ctx, tree, f)
	if err != nil {
		return err
	}
	if err := kbuild.Check(ctx, spec); err != nil {
		return a.buildFailed(err)
	}
	if f.twice {
		t, err := kbuild.BuildTwice(ctx, spec)
		d.Close()
		if err != nil {
			return a.buildFailed(err)
		}
		return a.showTwice(spec, t, f.json)
	}
	b, err := kbuild.Build(ctx, spec)
	d.Close()
	if err != nil {
		return a.buildFailed(err)
	}
	return a.showBuild(spec, b, f.json)
}

// buildSpec makes the Spec that the flags ask for.
func (a *app) buildSpec(ctx context.Context, tree string, f buildFlags) (kbuild.Spec, error) {
	want, err := archOrHost(f.arch)
	if err != nil {
		return kbuild.Spec{}, err
	}
	if err := kbuild.IsTree(tree); err != nil {
		return kbuild.Spec{}, usage.Wrap(err)
	}
	needed, err := a.buildFragments(want, f)
	if err != nil {
		return kbuild.Spec{}, err
	}
	spec, err := f.build.Spec(ctx, candidate.Options{Arch: want, Mirror: a.mirror}, needed)
	if err != nil {
		return spec, err
	}
	spec.Source, spec.Output = tree, f.out
	if spec.Output == "" {
		abs, err := filepath.Abs(tree)
		if err != nil {
			return spec, err
		}
		spec.Output = abs + "." + string(want)
	}
	return spec, nil
}

// buildFragments names the scenario's fragments.
func (a *app) buildFragments(want arch.Arch, f buildFlags) ([]string, error) {
	if f.scenario == "none" {
		return nil, nil
	}
	cat, err := a.catalogue()
	if err != nil {
		return nil, err
	}
	t, err := cat.Find(f.scenario)
	if err != nil {
		return nil, usage.Wrap(err)
	}
	t.Arch = []arch.Arch{want}
	var names []string
	for _, c := range t.Cells() {
		for _, n := range c.Fragments() {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names, nil
}

// buildFailed gives an error of a build its exit code.
func (a *app) buildFailed(err error) error {
	var tree *kbuild.TreeError
	var unknown *kbuild.UnknownConfigError
	var config *kbuild.ConfigError
	switch {
	case errors.As(err, &tree):
		fmt.Fprintln(a.stderr, "unwedge:", console.OneLine(err))
		return errKernel
	case errors.As(err, new(*kbuild.SpecError)), errors.As(err, &unknown), errors.As(err, &config), errors.Is(err, kbuild.ErrNotClean):
		return usage.Wrap(err)
	default:
		return err
	}
}
