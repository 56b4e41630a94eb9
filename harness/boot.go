package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/unwedge/unwedge/harness/internal/boot"
	"github.com/unwedge/unwedge/harness/internal/events"
	"github.com/unwedge/unwedge/harness/internal/experiment"
	"github.com/unwedge/unwedge/harness/internal/hostclass"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/run"
	"github.com/unwedge/unwedge/harness/internal/stall"
	"github.com/unwedge/unwedge/harness/internal/sysrq"
	"github.com/unwedge/unwedge/harness/internal/watch"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
)

// Boot boots one kernel and returns what it showed; the Result is also written
// to the run's directory, with the other artifacts. An error means that nothing
// is known about the kernel: it wraps ErrQEMU, or is the context's cause when
// the context ended. Nothing is left running, but for a hung guest with
// Request.Keep. A second boot, see Request.Again, never makes an error: if the context
// ends in it, the Result of the first is returned.
func Boot(ctx context.Context, req Request) (*result.Result, error) {
	res, err := bootOnce(ctx, req)
	switch {
	case err == nil:
		bootAgain(ctx, req, res)
		return res, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	default:
		return nil, fmt.Errorf("%w: %w", ErrQEMU, err)
	}
}

func bootOnce(ctx context.Context, req Request) (res *result.Result, err error) {
	req.Observer = req.observer()
	if err := req.Machine.Scenario.Validate(); err != nil {
		return nil, err
	}
	if req.Keep && len(req.Probes) > 0 {
		return nil, errors.New("a probed guest cannot be kept as it hung: use --keep or --probe, not both")
	}
	res = newResult(req)
	if err := writeCommand(req); err != nil {
		return nil, err
	}
	req.Observer.Phase(Starting, "")
	g, err := run.Start(ctx, run.Options{
		Machine: req.Machine, Dir: req.Dir, Keep: req.Keep, ConsoleCap: req.ConsoleCap, QMPTimeout: req.QMPTimeout,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Stop(context.WithoutCancel(ctx)))
		}
	}()
	o, err := watchBoot(ctx, g, req, res.Host.Limits)
	if err != nil {
		return nil, err
	}
	res.Host.Args = g.Args
	kept, failed := letGo(ctx, g, req.Keep && o.boot.Outcome == scenarios.Hung)
	if failed != nil {
		o.notes = append(o.notes, oneNote(failed))
	}
	if res.Kept = kept; o.outcome == scenarios.Booted {
		o.boot.Ended(g.Console())
	}
	o.fill(res, req, g)
	if failed := writeFiles(res); failed != nil {
		res.Notes = append(res.Notes, oneNote(failed))
		endKept(ctx, g, res)
	}
	req.Observer.Phase(Finished, res.Why)
	return res, nil
}

// endKept ends a guest that was kept: without the Result's file nobody could find it.
func endKept(ctx context.Context, g *run.Guest, res *result.Result) {
	if res.Kept == nil {
		return
	}
	res.Kept = nil
	if err := g.Stop(context.WithoutCancel(ctx)); err != nil {
		res.Notes = append(res.Notes, oneNote(err))
	}
}

// watchBoot watches the guest to the verdict, diagnoses it, and makes the probes.
func watchBoot(ctx context.Context, g *run.Guest, req Request, limits result.Limits) (o outcome, err error) {
	loop := events.Start(ctx, g)
	defer loop.Close()
	opts := boot.Options{
		Machine: req.Machine, Facts: stall.Booted(req.Machine), Keys: keys(req.Machine.Scenario), Image: req.Image, Dir: req.Dir, Limits: limits, Unit: req.Reference.Unit, Observer: req.Observer,
		Stub: g.GDB,
	}
	if o.boot, err = boot.Watch(ctx, loop, g, opts); err != nil {
		return o, err
	}
	o.identify(ctx, g)
	o.verify(req)
	if o.outcome != scenarios.Booted {
		o.diagnose()
	}
	if o.outcome == scenarios.Hung && len(req.Probes) > 0 {
		o.probed, err = experiment.Run(ctx, experiment.Hang{
			Options: opts, Guest: g, Loop: loop, Boot: o.boot, Diagnosis: *o.diagnosis,
		}, req.Probes)
	}
	return o, err
}

// keys are the ways by which sysrq reaches a guest of the harness's own.
func keys(sc scenarios.Scenario) stall.Keys {
	normal, lastResort := sysrq.Routes(sc.Arch.Facts(), sc.MachineType())
	return stall.Keys{Chardev: machine.ConsoleID, Routes: normal, LastResort: lastResort}
}

// letGo ends QEMU, or leaves it paused and says how to get at it.
func letGo(ctx context.Context, g *run.Guest, keep bool) (*result.Kept, error) {
	if keep {
		return g.LetGo(ctx)
	}
	return nil, g.Stop(context.WithoutCancel(ctx))
}

func newResult(req Request) *result.Result {
	limits := watch.Scale(req.Reference)
	if req.Limits != nil {
		limits = *req.Limits
	}
	if d := req.Machine.Scenario.Deadline; d > 0 {
		limits.Deadline = d
	}
	return &result.Result{
		Schema: result.Schema, Version: req.Version,
		Scenario: req.Machine.Scenario, Kernel: req.Kernel,
		Host: result.Host{
			QEMU: req.Machine.QEMU, QEMUVersion: req.QEMUVersion,
			Accel: req.Machine.Accel, AccelWhy: req.AccelWhy,
			Args: req.Machine.Args(), Cmdline: req.Machine.Cmdline(),
			Limits: limits, Reference: req.Reference, Calibrated: req.Calibrated, Class: hostclass.Here(),
		},
		Dir: req.Dir, Notes: req.Notes,
	}
}

// writeCommand leaves a script that boots the same guest by hand.
func writeCommand(req Request) error {
	script := "#!/bin/sh\n# Boots the same guest; its console is on this terminal, Ctrl-A x ends it.\nexec " + req.Machine.CommandLine() + "\n"
	if err := os.WriteFile(filepath.Join(req.Dir, rundir.Command), []byte(script), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", rundir.Command, err)
	}
	return nil
}
