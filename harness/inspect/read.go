package inspect

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/identity"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
)

// table is the kernel's own symbols, and those of --symbols.
func (g *Guest) table() (*kallsyms.Table, error) {
	table, err := kallsyms.Parse(g.payload, g.kernel.Arch)
	if g.symbols == "" {
		if err != nil {
			return nil, NothingError{Err: fmt.Errorf("%s: %w: name its System.map or vmlinux with --symbols", g.kernel.Path, err)}
		}
		return table, nil
	}
	syms, readErr := kallsyms.ReadFile(g.symbols)
	if readErr != nil {
		return nil, usage.Wrap(readErr)
	}
	if err != nil {
		table, err = kallsyms.FromFile(syms, g.payload, g.kernel.Arch)
	} else {
		table, err = table.With(syms)
	}
	if err != nil {
		return nil, usage.Errorf("--symbols %s: %w", g.symbols, err)
	}
	return table, nil
}

// Read reads the memory. The error is a NothingError where there is nothing to read.
func (g *Guest) Read(ctx context.Context) (*Report, error) {
	table, err := g.table()
	if err != nil {
		return nil, err
	}
	k, err := guestmem.LoadKernel(g.payload, g.kernel.Arch, table, g.types.Find)
	if errors.Is(err, kimage.ErrNoBTF) {
		return nil, NothingError{Err: fmt.Errorf("%s: %w", g.kernel.Path, err)}
	}
	if err != nil {
		return nil, err
	}
	g.facts.Hand.Link = k.Start()
	var v *guestmem.View
	err = g.still(ctx, func(ctx context.Context) (err error) {
		if v, err = k.LookAt(ctx, g.ram, g.vcpus); err == nil {
			g.users(ctx, k)
		}
		return err
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, locate.ErrNotLoaded) {
		if other := identity.Other(ctx, g.ram, g.kernel.Banner); other != "" {
			return nil, usage.Errorf("the guest runs another kernel: %s, not %s (%s): name the guest's with --kernel", other, g.kernel.Path, identity.Short(g.kernel.Banner))
		}
		return nil, NothingError{err}
	}
	if errors.Is(err, locate.ErrEarly) || errors.Is(err, kimage.ErrNoBTF) {
		return nil, NothingError{err}
	}
	if err != nil {
		return nil, err
	}
	if err := identity.SameBuild(g.kernel, g.payload, k.Start(), g.ram, v.PhysBase); err != nil {
		return nil, usage.Wrap(err)
	}
	g.facts.View = v
	return New(g.facts), nil
}

// usersTime bounds the reading of user-space stacks.
const usersTime = 10 * time.Second

// users reads the user-space stacks. What cannot be read is reported.
func (g *Guest) users(ctx context.Context, k *guestmem.Kernel) {
	ctx, cancel := context.WithTimeout(ctx, usersTime)
	defer cancel()
	stacks, problems, err := k.UserStacks(ctx, g.ram, g.vcpus, g.files, nil)
	if err != nil {
		problems = append(problems, "user-space stacks: "+err.Error())
	}
	g.facts.Users = stacks
	g.facts.Problems = append(g.facts.Problems, problems...)
}
