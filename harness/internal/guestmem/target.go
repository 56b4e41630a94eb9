package guestmem

import (
	"context"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// ErrNotInSyscall says that a task is not in a system call that it could be
// made to leave.
var ErrNotInSyscall = errors.New("not asleep in a system call")

// Sleeper is a task that sleeps in a system call, with what an experiment on it
// needs. All addresses are virtual ones of the running kernel.
type Sleeper struct {
	PID   int
	Comm  string
	State string // the kernel's letter
	// Task is its task_struct, Stack and StackEnd its kernel stack.
	Task            uint64
	Stack, StackEnd uint64
	// Regs is its struct pt_regs, Number the system call, PC where user space
	// goes on after it.
	Regs   uint64
	Number int64
	PC     uint64
	// Symbols are the addresses of the functions that were asked for; one that
	// the kernel lacks is missing.
	Symbols map[string]uint64
}

// Sleeper finds the task with that PID. A task that is not asleep in a system
// call of user space is an error that is ErrNotInSyscall; other errors are Look's.
func (k *Kernel) Sleeper(ctx context.Context, m physmem.Reader, vcpus []model.VCPU, pid int, functions []string) (*Sleeper, error) {
	found, err := k.finder.Find(ctx, m)
	if err != nil {
		return nil, err
	}
	if k, err = k.in(ctx, found, m, len(vcpus)); err != nil {
		return nil, err
	}
	w := &walker{k: k, found: found, list: k.tasks.Read(ctx, found, max(1, len(vcpus))), view: &View{}}
	w.prepare(ctx)
	w.vcpus(vcpus)
	for i := range w.list.Tasks {
		t := &w.list.Tasks[i]
		if t.PID != pid || t.Idle {
			continue
		}
		refuse := func(why string) (*Sleeper, error) {
			return nil, fmt.Errorf("%s (PID %d) %s: %w", t.Comm, t.PID, why, ErrNotInSyscall)
		}
		if _, runs := w.running[t.Addr]; runs || t.OnCPU {
			return refuse("is running")
		}
		if t.Kthread() || !t.User {
			return refuse("has no user space")
		}
		trace, ok := w.trace(t)
		u := trace.User
		if !ok || u == nil || u.Addr == 0 || !u.Syscall || u.Number < 0 || u.Partial {
			return refuse("did not enter the kernel by a readable system call")
		}
		if u.Compat {
			return refuse("is in a 32-bit system call")
		}
		s := &Sleeper{
			PID: t.PID, Comm: t.Comm, State: t.State, Task: t.Addr, Stack: t.Stack, StackEnd: t.Stack + t.StackSize,
			Regs: u.Addr, Number: u.Number, PC: u.PC, Symbols: map[string]uint64{},
		}
		for _, name := range functions {
			if a, ok := found.Addr(name); ok {
				s.Symbols[name] = a
			}
		}
		return s, nil
	}
	return nil, fmt.Errorf("no task has PID %d: %w", pid, ErrNotInSyscall)
}
