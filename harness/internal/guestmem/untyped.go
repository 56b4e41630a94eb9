package guestmem

import (
	"context"
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/guestmem/infer"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/startup"
	"github.com/unwedge/unwedge/harness/internal/guestmem/unwind"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// loadUntyped is LoadKernel for a kernel without types: they are inferred in each guest's
// memory, as far as the image allows; else the stack of PID 1 may be found.
func loadUntyped(payload []byte, a arch.Arch, table *kallsyms.Table, why error) (*Kernel, error) {
	img, err := kimage.LoadUntyped(payload, a, table)
	if err != nil {
		return nil, err
	}
	k := &Kernel{img: img, noTypes: why}
	k.start, err = startup.New(img)
	if types, noTask := infer.Image(img); noTask == nil {
		k.img = img.WithTypes(types)
		k.finder, noTask = locate.New(k.img)
		k.infers = noTask == nil
	}
	if k.infers {
		return k, nil
	}
	if err != nil {
		return nil, err
	}
	k.img = img
	if k.finder, err = locate.New(img); err != nil {
		return nil, err
	}
	return k, nil
}

// in returns the Kernel that reads the guest in which it was found: itself, or one with
// types inferred there.
func (k *Kernel) in(ctx context.Context, found *locate.Kernel, cpus int) (*Kernel, error) {
	if k.noTypes == nil {
		return k, nil
	}
	if !k.infers {
		return nil, k.noTypes
	}
	types, err := infer.Memory(ctx, found, cpus)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", k.noTypes, err)
	}
	typed := &Kernel{img: k.img.WithTypes(types), finder: k.finder}
	if err := typed.layouts(); err != nil {
		return nil, fmt.Errorf("%w (%w)", k.noTypes, err)
	}
	return typed, nil
}

// lookUntyped is LookAt where types could not be inferred: it shows PID 1 alone, while it
// starts the kernel up and sleeps. Its state is not known but that it does not run:
// every vCPU must be in the idle loop.
func (k *Kernel) lookUntyped(ctx context.Context, found *locate.Kernel, m physmem.Reader, vcpus []model.VCPU, why error) (*View, error) {
	if k.start == nil {
		return nil, why
	}
	v := &View{Offset: found.Offset, PhysBase: found.Phys, Types: kimage.None}
	v.problem("only the stack of PID 1 can be read: %v", why)
	k.readJiffies(found, v)
	u, err := unwind.New(unwind.Config{
		Arch: k.img.ISA.Arch, Memory: found.Space, Symbols: unwind.Shift(k.img.Symbols, found.Offset), Image: imageMemory{k.img, found.Offset},
	})
	if err != nil {
		return nil, err
	}
	v.Unwinder = u.Method()
	for _, c := range vcpus {
		trace := frames(u.Running(c.Registers, unwind.Range{}))
		if c.User || !slices.ContainsFunc(trace, func(f model.Frame) bool { return f.Reliable && f.Base() == "cpu_startup_entry" }) {
			return nil, fmt.Errorf("find the stack of PID 1: vCPU %d is not idle and may be running it: %w", c.Index, why)
		}
		v.CPUs = append(v.CPUs, model.CPU{Index: c.Index, PC: c.PC, Halted: c.Halted, Frames: trace})
	}
	if len(vcpus) == 0 {
		return nil, fmt.Errorf("find the stack of PID 1: the vCPUs' registers are unknown: %w", why)
	}
	trace, err := k.start.Find(ctx, found, m, u)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", err, why)
	}
	// The thread has the name of its parent, init_task, until it starts a program
	// (init/main.c, rest_init).
	v.Tasks = []model.Task{{Comm: "swapper/0", PID: 1, TGID: 1, State: "?", CPU: -1, KernelThread: true, Frames: frames(trace)}}
	return v, nil
}
