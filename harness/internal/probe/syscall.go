package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/probe/gdb"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// ErrUnsafe says that a probe was not tried because it might break the guest in
// other ways than meant.
var ErrUnsafe = errors.New("not safe")

// ENOMEM is the error that a blocked system call is made to return. Callers do not
// retry on it.
const ENOMEM = 12

// The kernel's functions that FailSyscall uses; they have had these names and
// arguments from before 5.10 on.
const (
	// wake is where the kernel itself is about to wake a task: whatever context
	// that is in, another task may be woken there, too (kernel/sched/core.c).
	wake = "wake_up_process"
	// signal tells a task that a signal is pending, and wakes it where it sleeps
	// interruptibly. Without a signal in fact, this is the kernel's own "fake
	// signal", of the freezer and of live patching (kernel/signal.c;
	// kernel/freezer.c, fake_signal_wake_up).
	signal = "signal_wake_up_state"
	// look is where a task looks for its signals, on its way back to user space,
	// the result of the system call already in its pt_regs (kernel/signal.c).
	look = "get_signal"
)

// SyscallFunctions are the symbols that FailSyscall needs.
var SyscallFunctions = []string{wake, signal, look}

// maxHits is how often a breakpoint may be hit by others than those it is for.
const maxHits = 2000

// FailSyscall makes the system call that a task sleeps in return -errno. The kernel
// itself ends the sleep, as it would for a signal, and releases what it holds; only
// the result is changed. The guest is stopped before and after, and no breakpoint
// is left. nudge, called from another goroutine, makes the guest do something.
//
// Only interruptible sleeps can be ended. An error before the first change is
// ErrUnsafe, and the guest is unchanged.
func FailSyscall(ctx context.Context, c *gdb.Conn, a arch.Arch, s *guestmem.Sleeper, errno int, t Times, nudge func()) error {
	i, err := isa.Find(a)
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrUnsafe)
	}
	f := &failer{c: c, cpu: i.GDB, frame: i.PtRegs, s: s, times: t, nudge: nudge}
	if err := f.check(ctx); err != nil {
		return err
	}
	if err := f.wake(ctx); err != nil {
		return fmt.Errorf("wake %s (PID %d): %w", s.Comm, s.PID, err)
	}
	if err := f.result(ctx, errno); err != nil {
		return fmt.Errorf("change the result of the system call of %s (PID %d): %w", s.Comm, s.PID, err)
	}
	return nil
}

type failer struct {
	c     *gdb.Conn
	cpu   isa.GDB
	frame isa.PtRegs
	s     *guestmem.Sleeper
	times Times
	nudge func()
}

// check refuses what cannot be done safely.
func (f *failer) check(ctx context.Context) error {
	if f.s.State != "S" {
		return fmt.Errorf("%s (PID %d) is in state %s: only an interruptible sleep (S) can be ended from outside: %w", f.s.Comm, f.s.PID, f.s.State, ErrUnsafe)
	}
	for _, name := range SyscallFunctions {
		if f.s.Symbols[name] == 0 {
			return fmt.Errorf("the kernel image has no symbol %s: %w", name, ErrUnsafe)
		}
	}
	if _, err := f.regs(ctx); err != nil {
		return fmt.Errorf("%w: %w", err, ErrUnsafe)
	}
	return nil
}

// userRegs is what of a task's pt_regs an experiment needs.
type userRegs struct{ result, pc uint64 }

// regs reads the task's pt_regs and checks that it is that of the system call.
func (f *failer) regs(ctx context.Context) (userRegs, error) {
	b := make([]byte, f.frame.PC+8)
	if err := f.c.Read(ctx, f.s.Regs, b); err != nil {
		return userRegs{}, fmt.Errorf("read its user-space registers: %w", err)
	}
	r := userRegs{binary.LittleEndian.Uint64(b[f.frame.Result:]), binary.LittleEndian.Uint64(b[f.frame.PC:])}
	if r.pc == f.s.PC || r.pc == f.s.PC-f.frame.Back {
		return r, nil
	}
	return r, fmt.Errorf("its user-space registers are not those of the system call: PC %#x, not %#x", r.pc, f.s.PC)
}

// wake has the kernel tell the task that a signal is pending.
func (f *failer) wake(ctx context.Context) error {
	at := f.s.Symbols[wake]
	thread, err := f.until(ctx, at, "the guest wakes any task", nil)
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrUnsafe) // nothing was changed
	}
	saved, err := f.save(ctx)
	if err != nil {
		return err
	}
	// From here on, an error leaves the guest broken.
	sp := saved[f.cpu.SP]
	if f.cpu.LR >= 0 {
		err = f.set(ctx, f.cpu.LR, at)
	} else {
		// The call's return address is the place of the breakpoint.
		var ret [8]byte
		binary.LittleEndian.PutUint64(ret[:], at)
		err = errors.Join(f.c.Write(ctx, sp-16, ret[:]), f.set(ctx, f.cpu.SP, sp-16))
		sp -= 8
	}
	err = errors.Join(err,
		f.set(ctx, f.cpu.Args[0], f.s.Task), f.set(ctx, f.cpu.Args[1], 0), f.set(ctx, f.cpu.PC, f.s.Symbols[signal]))
	if err != nil {
		return err
	}
	_, err = f.until(ctx, at, signal+" returns", func(got string) (bool, error) {
		now, err := f.c.Register(ctx, f.cpu.SP)
		return got == thread && now == sp, err
	})
	if err != nil {
		return err
	}
	for n := range f.cpu.General {
		if err := f.set(ctx, n, saved[n]); err != nil {
			return fmt.Errorf("restore the registers: %w", err)
		}
	}
	return nil
}

// result waits for the task on its way out and changes what user space gets.
func (f *failer) result(ctx context.Context, errno int) error {
	_, err := f.until(ctx, f.s.Symbols[look], "the task leaves the kernel", func(string) (bool, error) {
		sp, err := f.c.Register(ctx, f.cpu.SP)
		return sp >= f.s.Stack && sp < f.s.StackEnd, err
	})
	if err != nil {
		return err
	}
	r, err := f.regs(ctx)
	if err != nil {
		return err
	}
	if n := int64(r.result); r.pc == f.s.PC && n >= 0 { // arm64 has put back the argument where it turned the PC back
		return fmt.Errorf("it had already returned %d", n)
	}
	var w [8]byte
	binary.LittleEndian.PutUint64(w[:], uint64(-int64(errno)))
	if err := f.c.Write(ctx, f.s.Regs+f.frame.Result, w[:]); err != nil {
		return err
	}
	binary.LittleEndian.PutUint64(w[:], f.s.PC)
	return f.c.Write(ctx, f.s.Regs+f.frame.PC, w[:])
}

func (f *failer) save(ctx context.Context) (map[int]uint64, error) {
	saved := map[int]uint64{}
	for n := range f.cpu.General {
		v, err := f.c.Register(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("save the registers: %w", err)
		}
		saved[n] = v
	}
	return saved, nil
}

func (f *failer) set(ctx context.Context, n int, v uint64) error {
	size := 8
	if n == f.cpu.Flags {
		size = 4
	}
	return f.c.SetRegister(ctx, n, size, v)
}

// until lets the guest run until a vCPU comes to addr and match, which may be
// nil, says that it is the right one; that vCPU is selected then. The breakpoint
// is gone when it returns.
func (f *failer) until(ctx context.Context, addr uint64, what string, match func(thread string) (bool, error)) (thread string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.times.Limit, fmt.Errorf("not seen: %s within %s", what, f.times.Limit))
	defer cancel()
	if err := f.c.Break(ctx, addr, f.cpu.Breakpoint); err != nil {
		return "", err
	}
	set := true
	defer func() {
		if set {
			err = errors.Join(err, f.c.Clear(context.WithoutCancel(ctx), addr, f.cpu.Breakpoint))
		}
	}()
	for range maxHits {
		stop, err := f.run(ctx)
		if err != nil {
			return "", err
		}
		if err := f.c.Select(ctx, stop.Thread); err != nil {
			return "", err
		}
		pc, err := f.c.Register(ctx, f.cpu.PC)
		if err != nil {
			return "", err
		}
		if !stop.Trap() || pc != addr {
			return "", fmt.Errorf("the guest stopped at %#x by signal %d, not at the breakpoint at %#x", pc, stop.Signal, addr)
		}
		right := true
		if match != nil {
			if right, err = match(stop.Thread); err != nil {
				return "", err
			}
		}
		if right {
			return stop.Thread, nil
		}
		if err := f.c.Clear(ctx, addr, f.cpu.Breakpoint); err != nil {
			return "", err
		}
		set = false
		if _, err := f.c.Step(ctx, stop.Thread); err != nil {
			return "", err
		}
		if err := f.c.Break(ctx, addr, f.cpu.Breakpoint); err != nil {
			return "", err
		}
		set = true
	}
	return "", fmt.Errorf("not seen: %s in %d hits by other tasks", what, maxHits)
}

// run continues the guest and nudges it meanwhile.
func (f *failer) run(ctx context.Context) (gdb.Stop, error) {
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		t := time.NewTicker(f.times.Nudge)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
				f.nudge()
			}
		}
	}()
	stop, err := f.c.Continue(ctx)
	close(done)
	<-over
	return stop, err
}
