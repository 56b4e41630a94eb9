package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/elfdump"
	"github.com/unwedge/unwedge/harness/internal/oracle"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// memory measures the look into a guest's memory, and beside it, on the same dump,
// drgn with the kernel's debug package, where $UNWEDGE_DRGN names one.
func (b *bench) memory(ctx context.Context) error {
	drgn, err := oracle.Find(ctx)
	if err != nil && os.Getenv(oracle.Env) != "" {
		return err
	}
	for _, a := range arch.All() {
		dir := filepath.Join(b.dir, "memory-"+string(a))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		g, err := oracle.Hang{Arch: a}.Boot(ctx, dir)
		if err != nil {
			return err
		}
		if err := b.looks(ctx, a, g, drgn); err != nil {
			return fmt.Errorf("%s: look into a guest's memory: %w", a, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// looks measures guestmem, and then drgn, which may be nil.
func (b *bench) looks(ctx context.Context, a arch.Arch, g *oracle.Guest, drgn *oracle.Drgn) error {
	dump, err := elfdump.Open(g.Dump)
	if err != nil {
		return err
	}
	defer dump.Close()
	packed := b.sample("s", "%s: guest memory, symbols and types of the kernel, no cache", a)
	packed.Note = fmt.Sprintf("goal: 1; a packed %s, %.1f MB", g.Kernel.Format, float64(g.Kernel.Size)/1e6)
	if g.Kernel.Plain() {
		packed.Note = fmt.Sprintf("goal: 1; an %s that is not packed", g.Kernel.Format)
	}
	load := b.sample("ms", "%s: guest memory, symbols and types of the kernel, from the image cache", a)
	load.Note = "goal: 50"
	list := b.sample("ms", "%s: guest memory, tasks with kernel stacks of a 512 MiB guest", a)
	var k *guestmem.Kernel
	var v *guestmem.View
	for range b.runs {
		start := time.Now()
		if _, err = g.LoadPacked(ctx); err != nil {
			return err
		}
		packed.add(time.Since(start).Seconds())
		start = time.Now()
		if k, err = g.Load(ctx); err != nil {
			return err
		}
		load.add(float64(time.Since(start)) / float64(time.Millisecond))
		start = time.Now()
		if v, err = k.LookAt(ctx, dump, dump.VCPUs); err != nil {
			return err
		}
		list.add(float64(time.Since(start)) / float64(time.Millisecond))
	}
	list.Note = fmt.Sprintf("goal: 100; %d tasks", len(v.Tasks))
	if drgn == nil {
		return nil
	}
	return b.drgn(ctx, a, g, drgn, v)
}

func (b *bench) drgn(ctx context.Context, a arch.Arch, g *oracle.Guest, drgn *oracle.Drgn, v *guestmem.View) error {
	debug, err := g.Debug(ctx)
	if err != nil {
		return err
	}
	files, err := debug.Files(v.Modules)
	if err != nil {
		return err
	}
	text, err := oracle.FindVMCoreInfo(g.Dump)
	if err != nil {
		return err
	}
	if err := oracle.Help(g.Dump, text); err != nil {
		return err
	}
	load := b.sample("s", "%s: drgn %s, the same dump opened with the debug package", a, drgn.Version)
	list := b.sample("ms", "%s: drgn %s, the same tasks", a, drgn.Version)
	for i := range b.runs + 1 {
		answer, err := drgn.Read(ctx, g.Dump, files...)
		if err != nil {
			return err
		}
		if len(answer.Tasks) == 0 {
			return errors.New("drgn found no tasks")
		}
		if i > 0 { // the first one read the debug package from the disk
			load.add(answer.LoadSeconds)
			list.add(1000 * answer.TasksSeconds)
		}
		list.Note = fmt.Sprintf("%d tasks", len(answer.Tasks))
	}
	return nil
}
