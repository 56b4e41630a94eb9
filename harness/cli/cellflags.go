package cli

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/release"
)

// cellFlags are those that choose a scenario's cell and change it.
func (f *bootFlags) cellFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVarP(&f.scenario, "scenario", "s", "tiny", "scenario: a `NAME` from unwedge scenarios")
	fs.StringVar(&f.arch, "arch", "", "architecture (default: the kernel's, or the host's)")
	fs.StringVar(&f.entropy, "entropy", "", "entropy source: virtio-rng, none, host (default: the scenario's first)")
	fs.StringVar(&f.initramfs, "initramfs", "", "initramfs: tiny, dracut, dracut-fips, none, or a file (default: the scenario's first)")
	fs.StringVar(&f.release, "image-release", "", "distribution release of dracut's images and the root file system: "+release.List()+" (default: the scenario's, else "+string(release.Default)+")")
	fs.StringArrayVarP(&f.cmdline, "append", "a", nil, "append to the kernel command line")
	fs.StringSliceVar(&f.modules, "modules", nil, "extra modules for the tiny initramfs to load")
	fs.IntVar(&f.memory, "memory", 0, "guest memory in MiB (default: the scenario's)")
	fs.IntVar(&f.cpus, "cpus", 0, "number of vCPUs (default: the scenario's)")
	fs.StringSliceVar(&f.without, "without", nil, "do not enable on the kernel command line: console, sysrq")
	f.own.add(fs)
	fs.DurationVar(&f.deadline, "deadline", 0, "hard limit for the boot (default: scaled to the speed of this host)")
}

// choose finds the kernel and the cell that the arguments and flags ask for.
func (a *app) choose(ctx context.Context, p *plan.Planner, args []string, f bootFlags) (*candidate.Candidate, scenarios.Scenario, error) {
	want, err := parseArch(f.arch)
	if err != nil {
		return nil, scenarios.Scenario{}, err
	}
	cat, err := a.catalogue()
	if err != nil {
		return nil, scenarios.Scenario{}, err
	}
	t, err := cat.Find(f.scenario)
	if err != nil {
		return nil, scenarios.Scenario{}, usage.Wrap(err)
	}
	f.own.alone = len(args) == 0
	if f.own.bootsDisk() && len(args) == 0 {
		if want, err = archOrHost(f.arch); err != nil {
			return nil, scenarios.Scenario{}, err
		}
		sc, err := f.cell(t, want)
		return nil, sc, err
	}
	arg := ""
	if len(args) > 0 {
		arg = args[0]
	} else if arg, err = kernelHere(f.arch); err != nil {
		return nil, scenarios.Scenario{}, err
	}
	c, err := p.Candidate(ctx, arg, want)
	if err != nil {
		return nil, scenarios.Scenario{}, err
	}
	if f.modulesDir != "" {
		if c.ModulesDir, err = modulesDir(f.modulesDir); err != nil {
			return nil, scenarios.Scenario{}, err
		}
	}
	if f.headers != "" {
		if c.HeadersDir, err = filepath.Abs(f.headers); err != nil {
			return nil, scenarios.Scenario{}, usage.Errorf("--headers: %w", err)
		}
	}
	sc, err := f.cell(t, c.Kernel.Arch)
	return c, sc, err
}

// kernelHere is the kernel where none is named: that of the built tree that is the
// current directory, else Debian's for the architecture.
func kernelHere(name string) (string, error) {
	switch built, source := candidate.Tree("."); {
	case built:
		return ".", nil
	case source:
		return "", usage.Errorf("this kernel tree is not built: run make, `unwedge build`, or name a kernel")
	}
	a, err := archOrHost(name)
	return plan.DefaultKernel(a), err
}

// modulesDir checks a user's --modules-dir.
func modulesDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", usage.Errorf("--modules-dir: %w", err)
	}
	if st, err := os.Stat(filepath.Join(dir, "kernel")); err != nil || !st.IsDir() {
		return "", usage.Errorf("--modules-dir %s: no directory named kernel in it, so it is not a lib/modules/RELEASE directory", dir)
	}
	return dir, nil
}

func parseArch(s string) (arch.Arch, error) {
	if s == "" {
		return "", nil
	}
	a, err := arch.Parse(s)
	if err != nil {
		return "", usage.Errorf("--arch: %w", err)
	}
	return a, nil
}

// archOrHost is the architecture that --arch names, else the host's.
func archOrHost(s string) (arch.Arch, error) {
	a, err := parseArch(s)
	if a == "" && err == nil {
		if a = arch.Host(); a == "" {
			err = usage.Errorf("unwedge does not support this host's architecture: use --arch")
		}
	}
	return a, err
}

// cell picks the template's cell, with what the flags change in it.
func (f bootFlags) cell(t scenarios.Template, a arch.Arch) (scenarios.Scenario, error) {
	t.Arch = []arch.Arch{a}
	if f.entropy != "" {
		t.Entropy = []scenarios.Entropy{scenarios.Entropy(f.entropy)}
	}
	if f.initramfs != "" {
		t.Initramfs = []scenarios.Initramfs{scenarios.Initramfs(f.initramfs)}
	}
	if f.release != "" {
		t.ImageRelease = []release.Release{release.Release(f.release)}
	}
	if err := f.own.template(&t); err != nil {
		return scenarios.Scenario{}, err
	}
	f.own.rootOnDisk(&t, f.initramfs, f.cmdline)
	if len(t.Root) == 0 && len(t.Disk) == 0 && scenarios.Initramfs(f.initramfs).NeedsRoot() {
		t.Root = scenarios.Axis[scenarios.Root]{scenarios.Ext4}
	}
	sc := t.Cells()[0]
	if err := f.own.cell(&sc); err != nil {
		return sc, err
	}
	if len(f.modules) > 0 {
		sc.Modules = f.modules
	}
	sc.Cmdline = append(sc.Cmdline[:len(sc.Cmdline):len(sc.Cmdline)], f.cmdline...)
	for _, w := range f.without {
		sc.Without = append(sc.Without, scenarios.Facility(w))
	}
	if f.memory != 0 {
		sc.MemoryMiB = f.memory
	}
	if f.cpus != 0 {
		sc.CPUs = f.cpus
	}
	if f.deadline != 0 {
		sc.Deadline = f.deadline
	}
	if err := sc.Validate(); err != nil {
		return sc, usage.Wrap(err)
	}
	return sc, nil
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
