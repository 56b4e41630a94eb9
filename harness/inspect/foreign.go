package inspect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/unwedge/unwedge/harness/internal/foreign"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/elfdump"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// stillTime bounds how long a guest that runs is stopped.
const stillTime = 10 * time.Second

// openForeign opens a guest that somebody else started.
func (g *Guest) openForeign(ctx context.Context, o Options) (arch.Arch, error) {
	var f *foreign.Guest
	var err error
	if o.Libvirt != "" {
		f, err = foreign.OpenLibvirt(ctx, o.Libvirt, foreign.Options{})
	} else {
		f, err = foreign.Open(ctx, o.QMP, foreign.Options{})
	}
	if errors.Is(err, foreign.ErrGone) {
		return "", NothingError{Err: err}
	}
	if err != nil {
		return "", err
	}
	g.closers = append(g.closers, func() error { f.Close(); return nil })
	g.foreign, g.live, g.first = f, o.Live, f.Kernels()
	src := &g.facts.Source
	src.PID, src.QMP, src.Domain = f.PID, f.Socket, f.Domain
	g.facts.Hand.QMP, g.facts.Hand.Domain, g.facts.Hand.URI = f.Socket, f.Domain, f.URI
	if src.Status, err = f.Status(ctx); err != nil {
		return "", err
	}
	g.ram, err = f.Memory(ctx)
	if err == nil {
		return f.Arch, nil
	}
	return f.Arch, g.dumpForeign(ctx, err)
}

// dumpForeign has QEMU write the memory, which cannot be read in its process.
func (g *Guest) dumpForeign(ctx context.Context, why error) error {
	if g.live && g.facts.Source.Status == foreign.Running {
		return fmt.Errorf("%w: a dump would stop the guest: try without --live", why)
	}
	dumped, err := g.foreign.Dump(ctx)
	if err != nil {
		return fmt.Errorf("%w, and QEMU could not dump it: %w", why, err)
	}
	g.closers = append(g.closers, dumped.File.Close)
	d, err := elfdump.New(dumped.File, dumped.Size)
	if err != nil {
		return err
	}
	g.facts.Problems = append(g.facts.Problems, why.Error()+": QEMU has dumped it instead")
	g.ram, g.vcpus, g.foreign = d, d.VCPUs, nil
	if g.facts.Source.Status == foreign.Running {
		g.facts.Source.Stopped = dumped.Took.Seconds()
	}
	return nil
}

// still runs read with the registers of the moment, while a guest that runs stands
// still for it.
func (g *Guest) still(ctx context.Context, read func(context.Context) error) error {
	if g.foreign == nil {
		return read(ctx)
	}
	look := func(ctx context.Context) error {
		_, text, err := vcpu.Registers(ctx, g.foreign.QMP, nil)
		if err != nil {
			return err
		}
		g.vcpus = guestmem.ParseRegisters(text)
		return read(ctx)
	}
	if g.live {
		if g.facts.Source.Status == foreign.Running {
			g.facts.Problems = append(g.facts.Problems, "the guest runs: what is read changes under the reader")
		}
		return look(ctx)
	}
	stood, err := g.foreign.Still(ctx, stillTime, look)
	g.facts.Source.Status, g.facts.Source.Stopped = stood.Before, stood.For.Seconds()
	if stood.Unsure {
		g.facts.Problems = append(g.facts.Problems, "virsh is not installed: the guest would have stayed stopped, had unwedge been killed meanwhile")
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return usage.Errorf("read the guest's memory: %w: read it with --live", err)
	}
	return err
}
