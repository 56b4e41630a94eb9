package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/inspect"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/images/progress"
)

// inspectFlags are what `unwedge inspect` was asked.
type inspectFlags struct {
	kernel, dump, qmp, libvirt, symbols                 string
	live                                                bool
	tasks, stacks, dmesg, modules, timers, maps, asJSON bool
}

func (a *app) inspectCmd() *cobra.Command {
	var f inspectFlags
	cmd := &cobra.Command{
		Use:   "inspect {RUN | --qmp SOCKET | --libvirt DOMAIN | --dump FILE} [PID...]",
		Short: "Read a guest's tasks, stacks and log from its memory",
		Long: `Read the memory of a hung guest with nothing but the kernel image: no agent, no debug
package, no cooperation of the guest. RUN is the directory of a run whose guest was
kept (` + "`unwedge boot --keep`" + `); the guest stays paused and unchanged. --dump reads the
output of QEMU's dump-guest-memory instead, from any guest; with RUN as well, the
kernel is that run's.

--qmp and --libvirt read a guest that somebody else started, through its QEMU's monitor
and the memory of that process (root, or whoever may trace it; else QEMU dumps it). One that
runs is stopped while it is read, for a second or less, and runs on afterwards, whatever
happens meanwhile; one that is paused stays paused. Nothing else is done to it. The
kernel is found by its build ID: QEMU's -kernel, /boot, /lib/modules, /usr/lib/debug,
unwedge's cache; else name it.

The kernel needs kallsyms. One without BTF (CONFIG_DEBUG_INFO_BTF) is read with the
types of --symbols, of its build tree or of its headers; else they are inferred, and
less is read. By default a summary is printed, with the diagnosis and command lines for gdb,
crash and drgn. PIDs select tasks; alone, they imply --stacks.

Exit codes: 0 read, 1 nothing to read (the guest has ended, or its kernel is not in
memory yet), 2 usage or bad input, 3 the harness failed.`,
		Example: `  unwedge boot --keep -o run ./bzImage; unwedge inspect run
  unwedge inspect run --tasks
  unwedge inspect run 1                       # stacks of PID 1
  unwedge inspect run --maps 1
  unwedge inspect run --stacks > stacks.txt; unwedge explain stacks.txt
  unwedge inspect --qmp /run/vm/qmp.sock      # a guest that somebody else started
  unwedge inspect --qmp /run/vm/qmp.sock --live --tasks
  unwedge inspect --libvirt compose-x86 1
  unwedge inspect --libvirt qemu:///session/test --kernel ./vmlinux
  unwedge inspect --dump memory.elf --kernel ./vmlinux --dmesg
  unwedge inspect --dump memory.elf --kernel deb:linux-image-cloud-amd64@bookworm --json`,
		RunE: func(c *cobra.Command, args []string) error { return a.inspect(c.Context(), args, f) },
	}
	fs := cmd.Flags()
	fs.StringVarP(&f.kernel, "kernel", "k", "", "the guest's `KERNEL`, as boot takes it (default: the run's)")
	fs.StringVar(&f.dump, "dump", "", "read `FILE`, written by QEMU's dump-guest-memory, virsh dump or makedumpfile, instead of a kept guest")
	fs.StringVar(&f.qmp, "qmp", "", "read the guest whose QEMU has its QMP monitor at `SOCKET`, whoever started it")
	fs.StringVar(&f.libvirt, "libvirt", "", "read the guest of libvirt's domain `[URI/]DOMAIN`: its name, ID or UUID; URI is qemu:///system or qemu:///session")
	fs.BoolVar(&f.live, "live", false, "do not stop a guest that runs while it is read")
	fs.StringVar(&f.symbols, "symbols", "", "the kernel's System.map or unstripped vmlinux, in `FILE`, if its kallsyms is missing or has only functions")
	fs.BoolVar(&f.tasks, "tasks", false, "print one line per task")
	fs.BoolVar(&f.stacks, "stacks", false, "print all stacks; kernel stacks as sysrq-t prints them, for unwedge explain")
	fs.BoolVar(&f.dmesg, "dmesg", false, "print the kernel's log")
	fs.BoolVar(&f.modules, "modules", false, "print the loaded modules")
	fs.BoolVar(&f.timers, "timers", false, "print what the kernel has set its clock for: timers, delayed work items, tasks to wake")
	fs.BoolVar(&f.maps, "maps", false, "print the memory mappings of the processes with these PIDs")
	fs.BoolVar(&f.asJSON, "json", false, "print everything as JSON, in schema "+inspect.Schema)
	return cmd
}

// views are the views that were asked for.
func (f inspectFlags) views() []string {
	var out []string
	for _, v := range []struct {
		name string
		set  bool
	}{{"--tasks", f.tasks}, {"--stacks", f.stacks}, {"--dmesg", f.dmesg}, {"--modules", f.modules}, {"--timers", f.timers}, {"--maps", f.maps}, {"--json", f.asJSON}} {
		if v.set {
			out = append(out, v.name)
		}
	}
	return out
}

func (a *app) inspect(ctx context.Context, args []string, f inspectFlags) error {
	run, pids, err := inspectArgs(args, &f)
	if err != nil {
		return usage.Wrap(err)
	}
	if views := f.views(); len(views) > 1 {
		return usage.Errorf("%s: one view at a time", strings.Join(views, " and "))
	}
	if len(pids) > 0 && (f.dmesg || f.modules || f.timers) {
		return usage.Errorf("PIDs go with --tasks, --stacks, --maps and --json only")
	}
	if f.maps && len(pids) == 0 {
		return usage.Errorf("--maps: PIDs are needed")
	}
	p, err := a.planner()
	if err != nil {
		return err
	}
	d := display.New(a.stderr, a.quiet)
	defer d.Close()
	src, err := inspect.Open(progress.With(ctx, d), inspect.Options{Run: run, Dump: f.dump, QMP: f.qmp, Libvirt: f.libvirt, Live: f.live, Kernel: f.kernel, Symbols: f.symbols, Planner: p})
	if err != nil {
		return err
	}
	defer src.Close()
	r, err := src.Read(ctx)
	if err != nil {
		return err
	}
	d.Close()
	if err := r.Only(pids); err != nil {
		return usage.Wrap(err)
	}
	return a.printInspected(r, f, len(pids) > 0)
}

// inspectArgs tells the run from the PIDs. A file in the run's place is a dump.
func inspectArgs(args []string, f *inspectFlags) (run string, pids []int, err error) {
	if len(args) > 0 {
		if _, err := strconv.Atoi(args[0]); err != nil {
			run, args = args[0], args[1:]
		}
	}
	if st, err := os.Stat(run); run != "" && f.dump == "" && err == nil && st.Mode().IsRegular() {
		run, f.dump = "", run
	}
	for _, s := range args {
		p, err := strconv.Atoi(s)
		if err != nil || p < 0 {
			return "", nil, fmt.Errorf("PID %q: not a number", s)
		}
		pids = append(pids, p)
	}
	var sources []string
	for name, value := range map[string]string{"--qmp": f.qmp, "--libvirt": f.libvirt} {
		if value != "" {
			sources = append(sources, name)
		}
	}
	slices.Sort(sources)
	foreign := len(sources) > 0
	switch {
	case len(sources) > 1:
		return "", nil, fmt.Errorf("%s: one guest at a time", strings.Join(sources, " and "))
	case foreign && (run != "" || f.dump != ""):
		return "", nil, fmt.Errorf("%s reads a guest that runs: no run and no --dump goes with it", sources[0])
	case f.live && !foreign:
		return "", nil, errors.New("--live goes with --qmp and --libvirt")
	case run == "" && f.dump == "" && !foreign:
		return "", nil, errors.New("name the directory of a run whose guest was kept, a QEMU's monitor with --qmp SOCKET, a domain with --libvirt, or a dump with --dump FILE: see `unwedge inspect --help`")
	}
	slices.Sort(pids)
	return run, slices.Compact(pids), nil
}

func (a *app) printInspected(r *inspect.Report, f inspectFlags, some bool) error {
	w := a.stdout
	switch {
	case f.asJSON:
		return report.JSON(w, r)
	case f.tasks:
		return r.Table(w)
	case f.dmesg:
		return orNothing(inspect.Lines(w, r.Log), len(r.Log), "the kernel's log", r)
	case f.modules:
		return inspect.Lines(w, r.Modules)
	case f.timers:
		return orNothing(r.TimersText(w), len(r.Events), "the kernel's timers", r)
	case f.maps:
		n, err := r.Maps(w)
		return orNothing(err, n, "the mappings", r)
	case f.stacks, some:
		return r.Stacks(w)
	default:
		return r.Summary(w, a.style())
	}
}

// orNothing is err, or that what was asked for could not be read.
func orNothing(err error, n int, what string, r *inspect.Report) error {
	if err == nil && n == 0 {
		why := "there is nothing"
		if len(r.Problems) > 0 {
			why = strings.Join(r.Problems, "; ")
		}
		return inspect.NothingError{Err: fmt.Errorf("%s could not be read: %s", what, why)}
	}
	return err
}
