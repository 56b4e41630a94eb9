package user

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/user/ehframe"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user/object"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user/procmem"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// maxFrames bounds a stack.
const maxFrames = 96

func (w *walk) registers(u *model.UserRegs) ehframe.Registers {
	r := ehframe.Registers{PC: u.PC}
	for i, v := range u.Regs {
		r.Set(i, v)
	}
	d := w.r.layout.isa.DWARF
	r.Set(d.FP, u.FP)
	r.Set(d.LR, u.LR)
	r.Set(d.SP, u.SP)
	return r
}

// run walks from the registers to the first function of the thread.
func (w *walk) run(u *model.UserRegs) {
	r := w.registers(u)
	call := false // whether PC is a return address
	reliable := true
	for len(w.out.Frames) < maxFrames {
		if w.ctx.Err() != nil {
			w.out.End = w.ctx.Err().Error()
			return
		}
		pc := r.PC
		if call {
			pc--
		}
		m := w.p.Find(pc)
		if m == nil || m.Flags&procmem.Exec == 0 {
			w.out.End = fmt.Sprintf("%#x is not code", r.PC)
			return
		}
		s := w.step(m, r, pc)
		s.frame.Reliable = reliable
		w.out.Frames = append(w.out.Frames, s.frame)
		if s.end != nil {
			if !errors.Is(s.end, ehframe.ErrOutermost) {
				w.out.End = s.end.Error()
			}
			return
		}
		if !w.advances(r, s.next) {
			w.out.End = fmt.Sprintf("the caller of %s has the same frame", s.frame)
			return
		}
		call, reliable = !s.frame.Signal, reliable && !s.guess
		r = s.next
	}
	w.out.End = fmt.Sprintf("stopped after %d frames", maxFrames)
}

// advances says whether a caller's frame can be one: stacks grow down, and only
// the innermost function may have no frame of its own.
func (w *walk) advances(now, next ehframe.Registers) bool {
	last := w.out.Frames[len(w.out.Frames)-1]
	if last.Signal {
		return true // to the stack that was interrupted
	}
	from, to := w.sp(now), w.sp(next)
	return to > from || to == from && len(w.out.Frames) == 1 && next.PC != now.PC
}

// step is one frame and where it leads.
type step struct {
	frame Frame
	next  ehframe.Registers
	guess bool  // next is
	end   error // there is no next
}

func (w *walk) step(m *procmem.Mapping, r ehframe.Registers, pc uint64) step {
	s := step{frame: Frame{PC: r.PC, Object: m.Name, Offset: r.PC - m.Start}}
	o, err := w.object(m)
	if err != nil {
		return w.byPointer(s, r, nil, err)
	}
	s.frame.Object, s.frame.Path, s.frame.BuildID, s.frame.Offset = o.Name, o.Path, o.BuildID, r.PC-o.Bias
	if y, ok := w.symbol(m, o, pc-o.Bias); ok {
		s.frame.Symbol, s.frame.Offset = y.Name, r.PC-o.Bias-y.Addr
	}
	if o.Go {
		return w.byPointer(s, r, o, nil)
	}
	t, err := o.Frames()
	if err != nil {
		return w.byPointer(s, r, o, err)
	}
	f, err := t.Find(pc)
	if err != nil {
		return w.byPointer(s, r, o, err)
	}
	s.frame.Constructor, s.frame.Signal = o.Constructor(f.Start), f.Signal
	next, err := f.Step(w.p, &r, pc)
	switch {
	case errors.Is(err, ehframe.ErrOutermost):
		s.end = err
	case err != nil:
		return w.byPointer(s, r, o, err)
	default:
		next.PC = w.code(next.PC)
		s.next = next
	}
	return s
}

// code takes the authentication code off a return address (aarch64's pointer
// authentication keeps it in the bits above those of an address).
func (w *walk) code(pc uint64) uint64 { return pc & (1<<w.bits - 1) }

// byPointer goes on by the frame pointer: a guess, but in Go's code, which
// always keeps one. An innermost function without a frame hides its caller,
// unless leafCaller finds it. why is what is wrong with the better way.
func (w *walk) byPointer(s step, r ehframe.Registers, o *object.Object, why error) step {
	isGo := o != nil && o.Go
	s.guess = !isGo
	if isGo && len(w.out.Frames) == 0 {
		if next, ok := w.leafCaller(r, o); ok {
			s.next = next
			return s
		}
	}
	fp, known := r.Get(w.r.layout.isa.DWARF.FP)
	if known && fp == 0 { // by both ABIs, the mark of the outermost frame
		s.end = ehframe.ErrOutermost
		return s
	}
	if why != nil {
		w.problem(fmt.Sprintf("%#x: %v", r.PC, why))
	}
	var b [16]byte
	// Go on aarch64 keeps its frame record right below the stack pointer.
	if fp&7 != 0 || fp+8 < w.sp(r) || w.p.Read(fp, b[:]) != nil {
		if s.end = why; why == nil {
			s.end = fmt.Errorf("the frame pointer %#x leads nowhere", fp)
		}
		return s
	}
	s.next = r
	s.next.Set(w.r.layout.isa.DWARF.FP, binary.LittleEndian.Uint64(b[:]))
	s.next.PC = w.code(binary.LittleEndian.Uint64(b[8:]))
	s.next.Set(w.r.layout.isa.DWARF.SP, fp+16)
	if s.next.PC == 0 {
		s.end = ehframe.ErrOutermost
	}
	return s
}

func (w *walk) sp(r ehframe.Registers) uint64 {
	sp, _ := r.Get(w.r.layout.isa.DWARF.SP)
	return sp
}

// nearBy is how long a function in assembly that makes a system call may be.
const nearBy = 512

// leafCaller finds the caller of a function without a frame, such as those of
// Go that make system calls: a return address that a direct call of a function
// which begins right before PC stands before.
func (w *walk) leafCaller(r ehframe.Registers, o *object.Object) (ehframe.Registers, bool) {
	i := w.r.layout.isa
	lr, _ := r.Get(i.DWARF.LR)
	pc, sp, target, ok := i.Leaf(w.p, w.sp(r), w.code(lr))
	next := r
	next.PC = pc
	next.Set(i.DWARF.SP, sp)
	return next, ok && target >= o.Start && target <= r.PC && r.PC-target < nearBy
}
