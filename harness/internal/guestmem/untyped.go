package guestmem

import (
	"context"
	"errors"
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

// inferences is how often it is tried: the memory of a guest that runs changes under the
// reader.
const inferences = 3

// in returns the Kernel that reads the guest in which it was found: itself, or one with
// types inferred there.
func (k *Kernel) in(ctx context.Context, found *locate.Kernel, m physmem.Reader, cpus int) (*Kernel, error) {
	if k.noTypes == nil {
		return k, nil
	}
	if !k.infers {
		return nil, k.noTypes
	}
	var types *kimage.Types
	var err error
	for range inferences {
		if types, err = infer.Memory(ctx, found, m, cpus); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", k.noTypes, err)
	}
	typed := &Kernel{img: k.img.WithTypes(types), finder: k.finder}
	if err := typed.layouts(); err != nil {
		return nil, fmt.Errorf("%w (%w)", k.noTypes, err)
	}
	if typed.noUser != nil {
		typed.noUser = errNoProcesses
	}
	return typed, nil
}

// errNoProcesses says that user space cannot be read where types are inferred.
var errNoProcesses = errors.New("nothing runs in user space yet, or its layout cannot be inferred")

// lookUntyped is LookAt where types could not be inferred: it shows the task that boots
// the kernel alone, which a vCPU runs, or which sleeps as PID 1 while every vCPU idles.
func (k *Kernel) lookUntyped(ctx context.Context, found *locate.Kernel, m physmem.Reader, vcpus []model.VCPU, why error) (*View, error) {
	v := &View{Offset: found.Offset, PhysBase: found.Phys, Types: kimage.None}
	v.problem("only the stack of the task that boots can be read: %v", why)
	k.readJiffies(found, v)
	k.readLog(ctx, found, v)
	u, err := unwind.New(unwind.Config{
		Arch: k.img.ISA.Arch, Memory: found.Space, Symbols: unwind.Shift(k.img.Symbols, found.Offset), Image: imageMemory{k.img, found.Offset},
	})
	if err != nil {
		return nil, err
	}
	v.Unwinder = u.Method()
	busy := -1
	for _, c := range vcpus {
		trace := u.Running(c.Registers, unwind.Range{})
		cpu := model.CPU{Index: c.Index, PC: c.PC, User: c.User, Halted: c.Halted, PID: -1, Frames: frames(trace)}
		if t, ok := boots(trace); ok && !c.User {
			t.CPU, cpu.PID, cpu.Comm = c.Index, t.PID, t.Comm
			v.Tasks = append(v.Tasks, t)
		} else if c.User || !has(cpu.Frames, "cpu_startup_entry") {
			busy = c.Index
		}
		v.CPUs = append(v.CPUs, cpu)
	}
	switch {
	case len(v.Tasks) == 1:
		return v, nil
	case len(vcpus) == 0:
		err = fmt.Errorf("find the stack of PID 1: the vCPUs' registers are unknown: %w", why)
	case busy >= 0:
		err = fmt.Errorf("find the stack of PID 1: vCPU %d is not idle and may be running it: %w", busy, why)
	case k.start == nil:
		err = why
	default:
		var trace unwind.Trace
		if trace, err = k.start.Find(ctx, found, m, u); err == nil {
			v.Tasks = []model.Task{bootTask(1, "?", trace)}
			return v, nil
		}
		err = fmt.Errorf("%w (%w)", err, why)
	}
	if len(v.Log) == 0 {
		return nil, err
	}
	v.problem("%v", err) // the log may say enough
	return v, nil
}

// bootTask is the task that boots the kernel: init_task, then PID 1, which has its name
// until it starts a program (init/main.c, rest_init).
func bootTask(pid int, state string, trace unwind.Trace) model.Task {
	return model.Task{Comm: "swapper/0", PID: pid, TGID: pid, State: state, CPU: -1, KernelThread: true, Frames: frames(trace)}
}

// boots says that a vCPU runs the task that boots the kernel: its whole stack, which begins
// in start_kernel or kernel_init, says so.
func boots(trace unwind.Trace) (model.Task, bool) {
	if trace.End.Kind != unwind.KernelEntry || !trace.Reliable() || trace.User != nil {
		return model.Task{}, false
	}
	pid := 0
	switch f := frames(trace); {
	case has(f, "cpu_startup_entry"):
		return model.Task{}, false
	case has(f, "kernel_init"):
		pid = 1
	case !has(f, "start_kernel"):
		return model.Task{}, false
	}
	t := bootTask(pid, "R", trace)
	t.Running = true
	return t, true
}

// has says that a stack surely has a function.
func has(stack []model.Frame, function string) bool {
	return slices.ContainsFunc(stack, func(f model.Frame) bool { return f.Reliable && f.Base() == function })
}
