package proof

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/probe/gdb"
)

// Loop is a vCPU that was single-stepped until its registers were what they had been. It
// does the same again for ever, unless an interrupt takes it away or changes memory that
// it reads.
type Loop struct {
	CPU int
	// Insns is how many instructions the loop has, PC the lowest address of them.
	Insns int
	PC    uint64
	// Deaf says that it takes no interrupts, Reads that it reads memory that is not its
	// stack's.
	Deaf, Reads bool
}

// maxSteps bounds how far a vCPU is stepped. Loops over a lock or a flag have three to
// thirty instructions.
const maxSteps = 256

// kernelHalf is where kernels begin, on each architecture.
const kernelHalf = 1 << 63

// A NoLoopError says why a vCPU is in no loop that never ends.
type NoLoopError struct{ Why string }

func (e *NoLoopError) Error() string { return e.Why }

func noLoop(format string, a ...any) error { return &NoLoopError{fmt.Sprintf(format, a...)} }

// Stepped steps one vCPU of a guest whose stub c is, until it comes back to where it was.
// isRAM says whether a virtual address is memory and no device. What is not understood is a
// *NoLoopError. The guest stands still meanwhile, and QEMU lets no timer and no interrupt
// into a step (docs/system/gdb.rst).
func Stepped(ctx context.Context, c *gdb.Conn, cpu int, i *isa.ISA, isRAM func(ctx context.Context, addr uint64) bool) (Loop, error) {
	thread := fmt.Sprintf("%02x", cpu+1)
	if err := c.Select(ctx, thread); err != nil {
		return Loop{}, fmt.Errorf("step vCPU %d: %w", cpu, err)
	}
	s := stepper{c: c, isa: i, isRAM: isRAM}
	for range maxSteps {
		now, err := s.state(ctx)
		if err != nil {
			return Loop{}, fmt.Errorf("step vCPU %d: %w", cpu, err)
		}
		if at := slices.IndexFunc(s.seen, func(was step) bool { return slices.Equal(was.registers, now.registers) }); at >= 0 {
			return s.loop(cpu, s.seen[at:]), nil
		}
		s.seen = append(s.seen, now)
		if _, err := c.Step(ctx, thread); err != nil {
			return Loop{}, fmt.Errorf("step vCPU %d: %w", cpu, err)
		}
	}
	return Loop{}, noLoop("vCPU %d does not come back to where it was within %d instructions", cpu, maxSteps)
}

type stepper struct {
	c     *gdb.Conn
	isa   *isa.ISA
	isRAM func(ctx context.Context, addr uint64) bool
	seen  []step
}

// step is what was there before one instruction.
type step struct {
	registers []uint64
	pc        uint64
	deaf      bool
	reads     bool
}

// maxInsn is how long an instruction may be, on any architecture.
const maxInsn = 15

func (s *stepper) state(ctx context.Context) (step, error) {
	g := s.isa.GDB
	var st step
	for n := range g.General {
		v, err := s.c.Register(ctx, n)
		if err != nil {
			return st, err
		}
		st.registers = append(st.registers, v)
	}
	st.pc, st.deaf = st.registers[g.PC], !g.TakesIRQs(st.registers[g.Flags])
	if st.pc < kernelHalf {
		return st, noLoop("it is not in the kernel")
	}
	code := make([]byte, maxInsn)
	if err := s.c.Read(ctx, st.pc, code); err != nil {
		return st, err
	}
	in, size := s.isa.Insn(code)
	if !in.Plain || size == 0 {
		return st, noLoop("what the instruction at %#x does is not in registers and memory alone", st.pc)
	}
	if st.reads = in.Reads; st.reads {
		at, ok := in.At.Of(st.registers, g.PC, st.pc+uint64(size))
		if !ok || !s.isRAM(ctx, at) {
			return st, noLoop("the instruction at %#x may read a device", st.pc)
		}
	}
	return st, nil
}

func (s *stepper) loop(cpu int, steps []step) Loop {
	l := Loop{CPU: cpu, Insns: len(steps), PC: steps[0].pc, Deaf: true}
	for _, st := range steps {
		l.PC = min(l.PC, st.pc)
		l.Deaf = l.Deaf && st.deaf
		l.Reads = l.Reads || st.reads
	}
	return l
}

// Deaf judges loops of which there is one on each vCPU: where none of them takes
// interrupts, nothing else can ever run, whatever else there is.
func Deaf(loops []Loop) (Answer, bool) {
	if len(loops) == 0 || slices.ContainsFunc(loops, func(l Loop) bool { return !l.Deaf }) {
		return Answer{}, false
	}
	return Answer{Closed: true, Facts: loopFacts(loops)}, true
}

// Spinning judges loops of which there is one on each vCPU and two looks at the guest
// between which it took interrupts: a loop that reads no memory never ends, and where no
// task has run although the clock has ticked, none is ever given its vCPU.
func Spinning(loops []Loop, a, b Look) Answer {
	for _, l := range loops {
		if !l.Deaf && l.Reads {
			return Answer{Why: fmt.Sprintf("vCPU %d waits in a loop for what an interrupt may bring", l.CPU)}
		}
	}
	for _, l := range []Look{a, b} {
		switch v := l.View; {
		case l.Err != nil:
			return Answer{Why: l.Err.Error()}
		case v == nil || !v.Complete || v.Jiffies == 0:
			return Answer{Why: "not all tasks could be read"}
		}
	}
	switch {
	case len(loops) == 0 || len(b.View.CPUs) != len(loops):
		return Answer{Why: "not every vCPU is in a loop"}
	case a.View.Jiffies == b.View.Jiffies:
		return Answer{Why: "the clock has not ticked"}
	case len(a.View.Tasks) != len(b.View.Tasks):
		return Answer{Why: "tasks came or went"}
	}
	ran := map[int]uint64{}
	for _, t := range a.View.Tasks {
		ran[t.PID] = t.Switches
	}
	for _, t := range b.View.Tasks {
		if before, ok := ran[t.PID]; t.PID > 0 && (!ok || before != t.Switches) {
			return Answer{Why: fmt.Sprintf("%s (PID %d) ran", t.Comm, t.PID)}
		}
	}
	return Answer{Closed: true, Facts: append(loopFacts(loops), "no task has run meanwhile, although the clock has ticked")}
}

func loopFacts(loops []Loop) []string {
	var out []string
	for _, l := range loops {
		var how []string
		if l.Deaf {
			how = append(how, "with interrupts disabled")
		}
		if !l.Reads {
			how = append(how, "which read no memory")
		}
		out = append(out, fmt.Sprintf("vCPU %d, single-stepped, is back at the same registers after %d instructions at %#x, %s",
			l.CPU, l.Insns, l.PC, strings.Join(how, ", ")))
	}
	return out
}

// IsNoLoop says that a vCPU was seen to be in no loop, other than that it could not be
// looked at.
func IsNoLoop(err error) bool {
	var no *NoLoopError
	return errors.As(err, &no)
}

// SpinApart is how long to wait for the second look at a guest that spins: its scheduler
// gives each task its turn in less.
const SpinApart = apart + 200*time.Millisecond
