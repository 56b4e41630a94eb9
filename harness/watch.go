package harness

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/adopted"
	"github.com/unwedge/unwedge/harness/internal/boot"
	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/events"
	"github.com/unwedge/unwedge/harness/internal/foreign"
	"github.com/unwedge/unwedge/harness/internal/stall"
	"github.com/unwedge/unwedge/harness/internal/sysrq"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

// WatchRequest is the watching of a guest that somebody else started. Of Request, what
// changes a guest is not used.
type WatchRequest struct {
	Request
	// Foreign is the guest, which stays as it is.
	Foreign *foreign.Guest
	// Console is where its console goes to, and Source reads it; nil: it cannot be read.
	// Watch closes it.
	Console foreign.Console
	Source  *adopted.Source
	// Args are those of its QEMU, Cmdline is the kernel command line among them.
	Args    []string
	Cmdline string
	// Ask allows to send it sysrq keys, which change it.
	Ask bool
	// Kernel says which kernel was found, at the end.
	Kernel func() result.Kernel
}

// Watch watches a guest that somebody else started until it has booted or hangs, by the
// same rule as Boot, and leaves it as it was. An error says that nothing is known: it
// wraps ErrQEMU or a usage.Error, or is the context's cause.
func Watch(ctx context.Context, req WatchRequest) (*result.Result, error) {
	res, err := watchForeign(ctx, req)
	switch {
	case err == nil:
		return res, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, new(usage.Error)):
		return nil, err
	default:
		return nil, fmt.Errorf("%w: %w", ErrQEMU, err)
	}
}

func watchForeign(ctx context.Context, req WatchRequest) (res *result.Result, err error) {
	if req.Observer == nil {
		req.Observer = silent{}
	}
	res = newResult(req.Request)
	res.Host.Args, res.Host.Cmdline = req.Args, req.Cmdline
	before, err := req.Foreign.Status(ctx)
	if err != nil {
		return nil, err
	}
	g, err := adopted.New(req.Foreign, adopted.Options{Dir: req.Dir, Source: req.Source, ConsoleCap: req.ConsoleCap})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	if err := g.Readable(ctx); err != nil {
		if req.Source == nil {
			return nil, usage.Errorf("the guest cannot be followed: its console: %s; its memory: %w", req.Console.Why, err)
		}
		res.Notes = append(res.Notes, fmt.Sprintf("memory is not read: %v", err))
	}
	loop := events.Start(ctx, g)
	defer loop.Close()
	var o outcome
	o.boot, err = boot.Watch(ctx, loop, g, boot.Options{
		Machine: req.Machine, Facts: req.facts(), Keys: req.keys(), Image: req.Image, Dir: req.Dir, Limits: res.Host.Limits,
		Unit: req.Reference.Unit, Observer: req.Observer, Foreign: &boot.Foreign{Log: g.Log(), Silent: req.Source == nil},
	})
	if err != nil {
		return nil, err
	}
	o.identify(ctx, g)
	res.Kernel = req.Kernel()
	req.Request.Kernel = res.Kernel
	o.verify(req.Request)
	if o.outcome != scenarios.Booted {
		o.diagnose()
	}
	o.fill(res, req.Request, g)
	res.Watched = req.watched(context.WithoutCancel(ctx), g, before)
	if err := writeFiles(res); err != nil {
		return nil, err
	}
	req.Observer.Phase(Finished, res.Why)
	return res, nil
}

// watched says how the guest was found and left.
func (r WatchRequest) watched(ctx context.Context, g *adopted.Guest, before string) *result.Watched {
	w := &result.Watched{
		PID: r.Foreign.PID, QMP: r.Foreign.Socket, Domain: r.Foreign.Domain, URI: r.Foreign.URI,
		Console: r.Console.Path, Before: before, After: "gone",
	}
	if w.QMP != "" {
		if abs, err := filepath.Abs(w.QMP); err == nil {
			w.QMP = abs
		}
	}
	if r.Source == nil {
		w.NoConsole = r.Console.Why
	}
	var unsure bool
	w.Stopped, unsure = g.Stood()
	w.Unsure = unsure
	if after, err := r.Foreign.Status(ctx); err == nil {
		w.After = after
	}
	return w
}

// facts are what QEMU's command line says of what is booted.
func (r WatchRequest) facts() *diagnose.Scenario {
	if r.Args == nil {
		return nil
	}
	sc := r.Machine.Scenario
	return &diagnose.Scenario{HasVirtioRNG: sc.Entropy.Device(), Cmdline: r.Cmdline, Console: sc.Arch.Facts().Console}
}

// keys are the ways by which the guest may be asked: none, unless that is allowed, and
// never one that may reset it.
func (r WatchRequest) keys() stall.Keys {
	if !r.Ask {
		return stall.Keys{}
	}
	sc := r.Machine.Scenario
	normal, _ := sysrq.Routes(sc.Arch.Facts(), sc.MachineType())
	if r.Console.Chardev == "" || !r.Source.TakesKeys() { // the key behind a BREAK must get to the UART
		normal = slices.DeleteFunc(normal, func(n result.Route) bool { return n == result.Break })
	}
	return stall.Keys{Chardev: r.Console.Chardev, Routes: normal}
}

// OpenConsole opens the console where it can be read: the one that is named, else where
// the guest's goes to. The error is that of one that is named.
func (r *WatchRequest) OpenConsole(ctx context.Context, named string) (err error) {
	if r.Console, err = r.Foreign.Console(ctx); err != nil {
		return err
	}
	if named != "" {
		r.Console.Path = named
	}
	if r.Console.Path == "" {
		return nil
	}
	r.Source, err = adopted.OpenSource(r.Console.Path)
	if err != nil && named == "" {
		r.Console.Path, r.Console.Why, err = "", err.Error(), nil
	}
	return err
}

// CloseConsole lets go of a console that Watch has not taken over.
func (r *WatchRequest) CloseConsole() error {
	if r.Source == nil {
		return nil
	}
	return r.Source.Close()
}
