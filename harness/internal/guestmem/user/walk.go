package user

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/unwind"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user/ehframe"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user/object"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user/procmem"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// maxFrames bounds a stack.
const maxFrames = 96

// x86Order are the DWARF numbers of unwind.UserRegs.Regs: r15, r14, r13, r12,
// bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di.
var x86Order = [...]int{15, 14, 13, 12, 6, 3, 11, 10, 9, 8, 0, 2, 1, 4, 5}

// framePointer and linkRegister by DWARF number.
const (
	x86FP   = 6
	arm64FP = 29
	arm64LR = 30
)

func (w *walk) registers(u *unwind.UserRegs) ehframe.Registers {
	r := ehframe.Registers{PC: u.PC}
	if w.r.layout.arch == arch.X86_64 {
		for i, n := range x86Order {
			if i < len(u.Regs) {
				r.Set(n, u.Regs[i])
			}
		}
		r.Set(x86FP, u.FP)
		r.Set(7, u.SP)
		return r
	}
	for i, v := range u.Regs {
		if i <= arm64LR {
			r.Set(i, v)
		}
	}
	r.Set(arm64FP, u.FP)
	r.Set(arm64LR, u.LR)
	r.Set(31, u.SP)
	return r
}

// run walks from the registers to the first function of the thread.
func (w *walk) run(u *unwind.UserRegs) {
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
			w.out.End = fmt.Sprintf("%#x is no code", r.PC)
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
	w.out.End = fmt.Sprintf("%d frames were read, there may be more", maxFrames)
}

// advances says whether a caller's frame can be one: stacks grow down, and only
// the innermost function may have no frame of its own.
func (w *walk) advances(now, next ehframe.Registers) bool {
	a := w.r.layout.arch
	last := w.out.Frames[len(w.out.Frames)-1]
	if last.Signal {
		return true // to the stack that was interrupted
	}
	return next.SP(a) > now.SP(a) || next.SP(a) == now.SP(a) && len(w.out.Frames) == 1 && next.PC != now.PC
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
	fp, known := r.Get(w.fp())
	if known && fp == 0 { // by both ABIs, the mark of the outermost frame
		s.end = ehframe.ErrOutermost
		return s
	}
	if why != nil {
		w.problem(fmt.Sprintf("%#x: %v", r.PC, why))
	}
	var b [16]byte
	// Go on aarch64 keeps its frame record right below the stack pointer.
	if fp&7 != 0 || fp+8 < r.SP(w.r.layout.arch) || w.p.Read(fp, b[:]) != nil {
		if s.end = why; why == nil {
			s.end = fmt.Errorf("the frame pointer %#x leads nowhere", fp)
		}
		return s
	}
	s.next = r
	s.next.Set(w.fp(), binary.LittleEndian.Uint64(b[:]))
	s.next.PC = w.code(binary.LittleEndian.Uint64(b[8:]))
	w.setSP(&s.next, fp+16)
	if s.next.PC == 0 {
		s.end = ehframe.ErrOutermost
	}
	return s
}

func (w *walk) fp() int {
	if w.r.layout.arch == arch.X86_64 {
		return x86FP
	}
	return arm64FP
}

func (w *walk) setSP(r *ehframe.Registers, sp uint64) {
	if w.r.layout.arch == arch.X86_64 {
		r.Set(7, sp)
		return
	}
	r.Set(31, sp)
}

// nearBy is how long a function in assembly that makes a system call may be.
const nearBy = 512

// leafCaller finds the caller of a function without a frame, such as those of
// Go that make system calls: a return address that a direct call of a function
// which begins right before PC stands before.
func (w *walk) leafCaller(r ehframe.Registers, o *object.Object) (ehframe.Registers, bool) {
	next := r
	var b [8]byte
	var target uint64
	if w.r.layout.arch == arch.X86_64 {
		sp := r.SP(arch.X86_64)
		if w.p.Read(sp, b[:]) != nil {
			return next, false
		}
		next.PC = binary.LittleEndian.Uint64(b[:])
		if w.p.Read(next.PC-5, b[:5]) != nil || b[0] != 0xe8 {
			return next, false
		}
		target = next.PC + uint64(int64(int32(binary.LittleEndian.Uint32(b[1:]))))
		w.setSP(&next, sp+8)
	} else {
		lr, _ := r.Get(arm64LR)
		next.PC = w.code(lr)
		if w.p.Read(next.PC-4, b[:4]) != nil {
			return next, false
		}
		insn := binary.LittleEndian.Uint32(b[:])
		if insn>>26 != 0x25 { // BL
			return next, false
		}
		target = next.PC - 4 + uint64(int64(int32(insn<<6))>>4)
	}
	return next, target >= o.Start && target <= r.PC && r.PC-target < nearBy
}
