package cli

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/progress"
)

// bootFlags are what `unwedge boot` was asked.
type bootFlags struct {
	scenario, arch, entropy, initramfs string
	release                            string
	cmdline, modules, without          []string
	memory, cpus                       int
	deadline                           time.Duration
	out, modulesDir, headers           string
	keep, once                         bool
	console, printQEMU, json           bool
	own                                ownFlags
	probe                              []string
	judge                              judgeFlags
	against                            string
	report                             reportTo
}

func (a *app) bootCmd() *cobra.Command {
	var f bootFlags
	cmd := &cobra.Command{
		Use:   "boot [KERNEL]",
		Short: "Boot one kernel in one scenario",
		Long: `Boot one kernel in one scenario and report how it ended. If it did not end as the
scenario expects, report where it is blocked and why.

A boot that comes through is "booted, unclean" if the kernel reported a fault on the
way. An error (an oops, KASAN, a lockup, lockdep) fails it, a warning does not: --strict
and the scenario's expect.findings change that. --known names a YAML file of findings
and failures that do not count: a list of pattern (of the title) or signature (of a
failure), arch, releases (6.12..7.3), reason, link, expires.

KERNEL is a bzImage, Image, Image.gz, vmlinux, a kernel build tree, a .deb or
.rpm, or deb:PACKAGE[=VERSION][@SUITE] from the Debian archive. Without KERNEL
the kernel of the current directory is booted, if that is a build tree with a kernel in
it, and else one of Debian's.

--initrd, --disk and --root boot your own user space, --firmware uefi starts the kernel
or the disk by UEFI, and --expect says what counts as booted; none of them needs unwedge's
agent in the guest. A disk is never written. With --disk and no KERNEL the disk's own boot
loader and kernel are booted.

--probe experiments on a guest that hangs, after it has been captured and diagnosed,
to confirm the cause:
  fail-syscall  make the system call that the boot waits in return ENOMEM: the
                caller may report it, and the boot may continue
  input         feed the entropy pool by keyboard or console input
  virtio-rng    hot-plug a virtio-rng device, whose driver the tiny initramfs loads
Each probe starts from the guest as it hung and leaves the diagnosis as it was: see
"probes" in the Result, and probe.log.

Where a kernel hangs before user space and nothing names what it does there, it is booted
once more with initcall_debug ignore_loglevel, and what that tells is joined into the
Result: see "second" in it. --once boots only once.`,
		Example: `  unwedge boot arch/x86/boot/bzImage
  unwedge boot --arch aarch64
  unwedge boot deb:linux-image-cloud-amd64@trixie-backports --scenario random --entropy none
  unwedge boot --scenario distro --initramfs dracut-fips --console ~/src/linux
  unwedge boot --initrd my.cpio.zst --expect 'console=^all tests passed' ./bzImage
  unwedge boot --disk image.qcow2 --firmware uefi --expect login
  unwedge boot --root / ./bzImage        # the host's own root, read-only below an overlay
  unwedge boot --once ./bzImage          # no second boot, whatever the first left open
  unwedge boot --keep ./bzImage          # leave a hung guest paused, for inspection
  unwedge boot --probe ./bzImage         # experiment on a hung guest: give it entropy, fail the system call it waits in
  unwedge boot --strict ./bzImage        # a WARNING fails the boot, too
  unwedge boot --known known.yaml --against good-run/ ./bzImage
  unwedge boot --print-qemu ./bzImage    # boot the same guest by hand`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.boot(c.Context(), args, f) },
	}
	fs := cmd.Flags()
	f.cellFlags(cmd)
	fs.StringVar(&f.modulesDir, "modules-dir", "", "the kernel's lib/modules/RELEASE directory, if KERNEL is a bare file")
	fs.StringVar(&f.headers, "headers", "", "build tree or headers of the kernel: for its types if it has no BTF, and for the scenario module (default: found with KERNEL)")
	fs.StringVarP(&f.out, "out", "o", "", "directory for the artifacts (default: a new one below $XDG_STATE_HOME/unwedge)")
	fs.BoolVar(&f.keep, "keep", false, "leave a hung guest paused and print how to continue by hand")
	addOnceFlag(cmd, &f.once)
	addProbeFlag(cmd, &f.probe)
	f.judge.add(cmd)
	fs.StringVar(&f.against, "against", "", "result.json of a good boot, or its directory: say which findings are new")
	fs.BoolVar(&f.console, "console", false, "stream the guest's console to standard output")
	fs.BoolVar(&f.printQEMU, "print-qemu", false, "print a QEMU command that boots the same guest, and boot nothing")
	fs.BoolVar(&f.json, "json", false, "print the Result as JSON")
	f.report.add(cmd)
	return cmd
}

func (a *app) boot(ctx context.Context, args []string, f bootFlags) error {
	if f.json && f.console {
		return usage.Errorf("--json and --console both write to standard output: use one")
	}
	if _, err := f.report.targets(); err != nil {
		return err
	}
	if err := rundir.CheckOut(f.out); err != nil { // before images are built for nothing
		return err
	}
	probes, err := parseProbes(f.probe)
	if err != nil {
		return err
	}
	if len(probes) > 0 && f.keep {
		return usage.Errorf("--probe changes the guest that --keep preserves: use one")
	}
	p, err := a.planner()
	if err != nil {
		return err
	}
	p.Probes = probes
	d := display.New(a.stderr, a.quiet)
	defer d.Close()
	ctx = progress.With(ctx, d)
	c, sc, err := a.choose(ctx, p, args, f)
	if err != nil {
		return err
	}
	req, err := p.Request(ctx, sc, c)
	if err != nil {
		return err
	}
	if f.printQEMU {
		_, err := fmt.Fprintln(a.stdout, req.Machine.CommandLine())
		return err
	}
	req.Keep, req.Again = f.keep, !f.once
	if err := f.judge.apply(&req); err != nil {
		return err
	}
	if req.Against, err = goodBoot(f.against); err != nil {
		return err
	}
	res, err := a.run(ctx, d, req, f.out, req.Machine.Scenario.Name, func(r *display.Row) {
		if f.console {
			r.Console = a.stdout
		}
	})
	d.Close()
	if err != nil {
		return err
	}
	if err := a.show(res, f.json); err != nil {
		return err
	}
	a.note(f.judge.uses(res))
	if err := a.write(f.report, summary.Of([]summary.Cell{summary.OfResult(res, res.Dir)})); err != nil {
		return err
	}
	if ctx.Err() != nil { // in the second boot
		return context.Cause(ctx)
	}
	if res.Fails() {
		return errKernel
	}
	return nil
}

func addOnceFlag(cmd *cobra.Command, once *bool) {
	cmd.Flags().BoolVar(once, "once", false, "boot only once, also where a second boot with initcall_debug would tell more")
}

// run boots a planned request in a new run directory, and records it in the history.
func (a *app) run(ctx context.Context, d display.Display, req harness.Request, out, name string, setup func(*display.Row)) (*result.Result, error) {
	dir, err := rundir.New(out, req.Machine.Scenario.Name, req.Kernel.Release)
	if err != nil {
		return nil, err
	}
	req.Dir = dir
	r := d.Boot(name)
	defer r.End()
	if setup != nil {
		setup(r)
	}
	req.Observer = r
	res, err := harness.Boot(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("%w (artifacts in %s)", err, dir)
	}
	a.record(ctx, d, res)
	return res, nil
}

// show prints the Result for people or machines.
func (a *app) show(res *result.Result, asJSON bool) error {
	if asJSON {
		return report.JSON(a.stdout, res)
	}
	return report.Text(a.stdout, res, a.style())
}

// note prints lines for people beside the output.
func (a *app) note(said []string) {
	for _, l := range said {
		fmt.Fprintln(a.stderr, l)
	}
}

// style colours on a terminal, unless NO_COLOR is set (no-color.org).
func (a *app) style() report.Style {
	f, ok := a.stdout.(*os.File)
	return report.Style{Colour: ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""}
}
