package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/inspect"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/foreign"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios"
)

// watchFlags are what `unwedge watch` was asked.
type watchFlags struct {
	qmp, libvirt, console, kernel, symbols, expect, out, against string
	deadline                                                     time.Duration
	ask, stream, json                                            bool
	judge                                                        judgeFlags
}

func (a *app) watchCmd() *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "watch {--qmp SOCKET | --libvirt DOMAIN}",
		Short: "Watch a guest that somebody else started, until it has booted or hangs",
		Long: `Attach to a guest that somebody else started, while it boots or when it hangs, and
report as ` + "`unwedge boot`" + ` does: by the same rule, with the same capture, diagnosis and run
directory. The guest is left as it was: it is never reset, ended, let go on or configured.
One that runs is stopped for a second or less when it hangs, to be read, and runs on,
whatever happens meanwhile. One that is paused is waited for.

The console is found by QEMU's monitor, QEMU's command line and libvirt's description of
the domain, where it goes to a file or a pty, or has a logfile; else name it. Of a file
that holds several boots the last is judged. Without a console the kernel's log and tasks
are read from the guest's memory. The kernel is found by its build ID, as ` + "`unwedge inspect`" + `
does; else name it.

Booted is, without --expect, a login prompt on the console, or a task that waits for
somebody to log in, as the guest's memory shows. No key is sent, unless --ask allows it:
sysrq makes the kernel print, raises its log level, and by keyboard it feeds the entropy pool.

A monitor serves one client at a time: while this runs, nobody else is heard at SOCKET.`,
		Example: `  unwedge watch --qmp /run/vm/qmp.sock
  unwedge watch --qmp /run/vm/qmp.sock --console /run/vm/console.log --kernel ./bzImage
  unwedge watch --libvirt compose-x86 --expect systemd
  unwedge watch --libvirt qemu:///session/test --deadline 10m --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.watch(c.Context(), f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.qmp, "qmp", "", "watch the guest whose QEMU has its QMP monitor at `SOCKET`")
	fs.StringVar(&f.libvirt, "libvirt", "", "watch the guest of libvirt's domain `[URI/]DOMAIN`: its name, ID or UUID; URI is qemu:///system or qemu:///session")
	fs.StringVar(&f.console, "console", "", "read the guest's console in `FILE`: a file that grows, a pty or a socket (default: where QEMU writes it to)")
	fs.StringVarP(&f.kernel, "kernel", "k", "", "the guest's `KERNEL`, as boot takes it (default: found by its build ID)")
	fs.StringVar(&f.symbols, "symbols", "", "a vmlinux of the same build, with BTF or debug information, in `FILE`")
	fs.StringVar(&f.expect, "expect", "", "what counts as booted: init, console=PATTERN, login, systemd[=UNIT], task=NAME (default: login)")
	fs.BoolVar(&f.ask, "ask", false, "let a guest that hangs be asked by sysrq, which changes it")
	f.judge.add(cmd)
	fs.StringVar(&f.against, "against", "", "result.json of a good boot, or its directory: say which findings are new")
	fs.DurationVar(&f.deadline, "deadline", 0, "hard limit for the boot (default: scaled to the speed of this host)")
	fs.StringVarP(&f.out, "out", "o", "", "directory for the artifacts (default: a new one below $XDG_STATE_HOME/unwedge)")
	fs.BoolVar(&f.stream, "stream", false, "stream the guest's console to standard output")
	fs.BoolVar(&f.json, "json", false, "print the Result as JSON")
	return cmd
}

// expected is what counts as booted.
func (f watchFlags) expected() (e scenarios.Expect, err error) {
	if f.expect == "" {
		return e.With(scenarios.Sign{Kind: scenarios.ByLogin}), nil
	}
	sign, err := scenarios.ParseSign(f.expect)
	if err != nil {
		return e, usage.Errorf("--expect: %w", err)
	}
	switch sign.Kind {
	case scenarios.ByStage:
		return e, usage.Errorf("--expect %s: the agent reports stages, and a guest that somebody else started has none", sign)
	case scenarios.ByTCP:
		return e, usage.Errorf("--expect %s: a port would have to be forwarded, and nothing of a guest that somebody else started is configured", sign)
	}
	return e.With(sign), nil
}

// check refuses what does not go together.
func (f watchFlags) check() error {
	switch {
	case f.qmp != "" && f.libvirt != "":
		return usage.Errorf("--libvirt and --qmp: one guest at a time")
	case f.qmp == "" && f.libvirt == "":
		return usage.Errorf("name a QEMU's monitor with --qmp SOCKET, or a domain with --libvirt: see `unwedge watch --help`")
	case f.json && f.stream:
		return usage.Errorf("--json and --stream both write to standard output: use one")
	}
	return rundir.CheckOut(f.out)
}

func (a *app) watch(ctx context.Context, f watchFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	expect, err := f.expected()
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
	said := &transcript{}
	defer said.Close()
	guest, err := f.open(ctx, said)
	if err != nil {
		return err
	}
	defer guest.Close()
	req, err := a.watchRequest(ctx, p, guest, f, expect)
	if err != nil {
		return err
	}
	if req.Dir, err = rundir.New(f.out, req.Machine.Scenario.Name, cmp.Or(guest.Domain, fmt.Sprint(guest.PID))); err != nil {
		return errors.Join(err, req.CloseConsole())
	}
	if err := said.keep(req.Dir); err != nil {
		return errors.Join(err, req.CloseConsole())
	}
	row := d.Boot(req.Machine.Scenario.Name)
	defer row.End()
	if f.stream {
		row.Console = a.stdout
	}
	req.Observer = row
	res, err := harness.Watch(ctx, req)
	if err == nil {
		a.record(ctx, d, res)
	}
	d.Close()
	if err != nil {
		return fmt.Errorf("%w (artifacts in %s)", err, req.Dir)
	}
	if err := a.show(res, f.json); err != nil {
		return err
	}
	a.note(f.judge.uses(res))
	if res.Fails() {
		return errKernel
	}
	return nil
}

// open connects to the guest.
func (f watchFlags) open(ctx context.Context, said *transcript) (g *foreign.Guest, err error) {
	if f.libvirt != "" {
		g, err = foreign.OpenLibvirt(ctx, f.libvirt, foreign.Options{Transcript: said})
	} else {
		g, err = foreign.Open(ctx, f.qmp, foreign.Options{Transcript: said})
	}
	if errors.Is(err, foreign.ErrGone) {
		err = inspect.NothingError{Err: err}
	}
	return g, err
}

// watchRequest plans the watching.
func (a *app) watchRequest(ctx context.Context, p *plan.Planner, g *foreign.Guest, f watchFlags, expect scenarios.Expect) (req harness.WatchRequest, err error) {
	where := harness.WatchRequest{Foreign: g}
	if err := where.OpenConsole(ctx, f.console); err != nil {
		return req, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, where.CloseConsole())
		}
	}()
	req, err = p.Watch(ctx, g, plan.Watched{
		Kernel: f.kernel, Symbols: f.symbols, Expect: expect, Deadline: f.deadline, Silent: where.Source == nil,
	})
	if err != nil {
		return req, err
	}
	req.Foreign, req.Console, req.Source, req.Ask = g, where.Console, where.Source, f.ask
	if err := f.judge.apply(&req.Request); err != nil {
		return req, err
	}
	req.Against, err = goodBoot(f.against)
	return req, err
}
