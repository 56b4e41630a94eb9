package guestmem

import (
	"context"
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/modules"
	"github.com/unwedge/unwedge/harness/internal/guestmem/objects"
	"github.com/unwedge/unwedge/harness/internal/guestmem/tasks"
	"github.com/unwedge/unwedge/harness/internal/guestmem/unwind"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// walker turns a list of tasks into a View's.
type walker struct {
	k        *Kernel
	found    *locate.Kernel
	list     *tasks.List
	view     *View
	unwinder *unwind.Unwinder // nil: no stacks
	symbols  unwind.Symbols   // at run-time addresses, modules included
	objects  *objects.Guest   // nil: what tasks wait for is not read
	// running are the vCPUs by the task_struct of what they run.
	running map[uint64]running
}

// prepare reads the modules and makes the unwinder.
func (w *walker) prepare(ctx context.Context) {
	w.symbols = unwind.Shift(w.k.img.Symbols, w.found.Offset)
	var texts []unwind.Module
	err := w.k.noMods
	if w.k.mods != nil {
		var mods []modules.Module
		if mods, err = w.k.mods.Read(ctx, w.found); len(mods) > 0 {
			w.symbols = modules.NewSymbols(w.symbols, w.k.mods, w.found, mods)
		}
		for _, m := range mods {
			texts = append(texts, m.Module)
			w.view.Modules = append(w.view.Modules, m.Name)
		}
	}
	if err != nil {
		w.view.problem("%v", err)
	}
	w.unwinder, err = unwind.New(unwind.Config{
		Arch: w.k.img.ISA.Arch, Memory: w.found.Space, Symbols: w.symbols,
		Image: imageMemory{w.k.img, w.found.Offset}, Modules: texts,
	})
	if err != nil {
		w.view.problem("stacks: %v", err)
		w.unwinder = nil
		return
	}
	w.view.Unwinder = w.unwinder.Method()
}

type running struct {
	cpu   int
	trace unwind.Trace
}

// vcpus finds what each vCPU runs and unwinds that from its registers.
func (w *walker) vcpus(all []model.VCPU) {
	w.running = map[uint64]running{}
	for _, v := range all {
		c := model.CPU{Index: v.Index, PC: v.PC, User: v.User, Halted: v.Halted, PID: -1}
		if t := w.current(v); t != nil && w.unwinder != nil {
			c.PID, c.Comm = t.PID, t.Comm
			trace := w.unwinder.Running(v.Registers, stack(t))
			c.Frames = frames(trace)
			w.running[t.Addr] = running{cpu: v.Index, trace: trace}
		}
		w.view.CPUs = append(w.view.CPUs, c)
	}
}

// inKernel says whether any vCPU runs a task. A loader, firmware and the first
// steps of the kernel, which run at physical addresses, do not.
func (w *walker) inKernel() bool {
	return slices.ContainsFunc(w.view.CPUs, func(c model.CPU) bool { return c.PID >= 0 })
}

// current returns the task a vCPU runs: the one on whose stack it is, which is
// true even in the middle of a switch, else the one the kernel says, as on an
// interrupt's stack or in user mode. nil for a CPU that is not in the kernel yet.
func (w *walker) current(v model.VCPU) *tasks.Task {
	if !v.User {
		if v.PC>>63 == 0 {
			return nil
		}
		if t := w.list.Holding(v.SP); t != nil {
			return t
		}
	}
	addr, ok := w.k.tasks.Current(w.found, w.number(v))
	if !ok {
		return nil
	}
	return w.list.Find(addr)
}

// maxCPUs bounds the numbers that are tried.
const maxCPUs = 512

// number returns the kernel's number of a vCPU: that whose per-CPU memory it uses,
// else QEMU's, which is the same wherever all CPUs came up.
func (w *walker) number(v model.VCPU) int {
	if v.PerCPU != 0 && !v.User {
		for cpu := range maxCPUs {
			base, err := w.found.PerCPUBase(cpu)
			if err != nil {
				break
			}
			if base == v.PerCPU {
				return cpu
			}
		}
	}
	return v.Index
}

func stack(t *tasks.Task) unwind.Range {
	return unwind.Range{Start: t.Stack, End: t.Stack + t.StackSize}
}

// tasks fills View.Tasks.
func (w *walker) tasks(ctx context.Context) {
	for i := range w.list.Tasks {
		t := &w.list.Tasks[i]
		d := model.Task{
			Comm: t.Comm, PID: t.PID, TGID: t.TGID, PPID: t.PPID, State: t.State, CPU: t.CPU,
			Running: t.OnCPU, Flags: t.InfoFlags, TaskFlags: t.Flags, KernelThread: t.Kthread(),
			Switches: t.Switches,
		}
		d.Workqueue = w.k.tasks.Work(w.found, t, w.symbol)
		if ctx.Err() != nil {
			w.view.Complete = false
			w.view.problem("the stacks of %d tasks were not read: %v", len(w.list.Tasks)-i, ctx.Err())
			break
		}
		if trace, ok := w.trace(t); ok {
			d.Frames = frames(trace)
			w.user(t, trace, &d)
		}
		if r, ok := w.running[t.Addr]; ok {
			d.Running, d.CPU = true, r.cpu
		} else if w.k.timers != nil && d.State != "R" { // one that was woken has none that is true
			w.view.Timers = append(w.view.Timers, w.k.timers.Of(w.found, t)...)
		}
		w.wait(t, &d)
		w.view.Tasks = append(w.view.Tasks, d)
	}
}

// trace unwinds a task's stack. A task that a CPU runs, by the kernel's word,
// without a vCPU that is known to run it, has no valid saved registers.
func (w *walker) trace(t *tasks.Task) (unwind.Trace, bool) {
	if r, ok := w.running[t.Addr]; ok {
		return r.trace, true
	}
	if w.unwinder == nil || t.Stack == 0 || t.SP == 0 || t.OnCPU {
		return unwind.Trace{}, false
	}
	return w.unwinder.Sleeping(unwind.Saved{SP: t.SP, FP: t.FP, PC: t.PC, Stack: stack(t)}), true
}

// user finds the system call of a task with an address space of its own.
func (w *walker) user(t *tasks.Task, trace unwind.Trace, d *model.Task) {
	if u := trace.User; u != nil && t.User {
		d.UserIP = u.PC
		if u.Syscall && u.Number >= 0 && trace.End.Kind != unwind.InUser {
			d.Syscall = &model.Syscall{Nr: int(u.Number), Compat: u.Compat, Args: u.Args[:]}
			if !u.Compat {
				d.Syscall.Name = w.k.img.ISA.Syscall(int(u.Number))
			}
			return
		}
	}
	if name, compat := dump.SyscallFromFrames(d.Frames); name != "" && !t.Kthread() {
		d.Syscall = &model.Syscall{Nr: -1, Name: name, Compat: compat}
	}
}

// frames gives an unwound stack the form of a printed one. An address without
// a symbol is its own name, as the kernel prints it.
func frames(trace unwind.Trace) []model.Frame {
	n := min(len(trace.Frames), dump.MaxFrames)
	out := make([]model.Frame, n)
	for i, f := range trace.Frames[:n] {
		out[i] = model.Frame{Func: f.Name, Off: f.Offset, Size: f.Size, Module: f.Module, Reliable: f.Reliable}
		if f.Name == "" {
			out[i].Func = fmt.Sprintf("%#x", f.PC)
		}
	}
	return out
}

// symbol names a run-time address, as %ps does.
func (w *walker) symbol(addr uint64) string {
	if name, _, _, ok := w.symbols.Nearest(addr); ok {
		return name
	}
	return fmt.Sprintf("%#x", addr)
}

// events lists the kernel's timers on so many CPUs.
func (w *walker) events(cpus int) {
	err := w.k.noClock
	if err == nil {
		w.view.Events, err = w.k.clock.Read(w.found, cpus, w.list, w.symbol)
		w.view.Randomness = w.k.clock.Randomness(w.found, cpus)
	}
	if err != nil {
		w.view.NoEvents = err.Error()
	}
}
