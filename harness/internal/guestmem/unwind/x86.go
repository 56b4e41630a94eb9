package unwind

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// x86IretWords are the last words of struct pt_regs, which the CPU pushes itself: ip,
// cs, flags, sp, ss.
const x86IretWords = 5

// x86State is where the walk is: in the frame of ip, with its sp and bp.
type x86State struct {
	ip, sp, bp uint64
	signal     bool // ip is an interrupted instruction, not a return address
	// full are the registers at the last interruption, nil where none are
	// known to hold still.
	full *model.Registers
}

// x86Sleeping starts from struct inactive_task_frame: r15, r14, r13, r12, bx,
// bp, ret_addr (arch/x86/include/asm/switch_to.h since 5.2).
func (w *walk) x86Sleeping(s Saved) {
	f := w.words(s.SP, 7)
	if f == nil {
		w.stop("the saved stack pointer %#x cannot be read", s.SP)
		return
	}
	st := x86State{ip: f[6], sp: s.SP + 56, bp: f[5]}
	// A new task has not run yet: its address is where it will begin.
	if name, off, _, ok := w.u.syms.Nearest(st.ip); ok && off == 0 && strings.HasPrefix(name, "ret_from_fork") {
		st.signal = true
	}
	w.x86Walk(st)
}

func (w *walk) x86Running(r model.Registers) {
	w.x86Walk(x86State{ip: r.PC, sp: r.SP, bp: r.FP, signal: true, full: &r})
}

// x86Walk unwinds from the state to the end of the stack.
func (w *walk) x86Walk(st x86State) {
	if w.x86Steps(&st) {
		return
	}
	// The rest of the stack, from where the walk was sure, is searched.
	why := w.trace.End.Why
	w.x86Resync(st)
	if w.trace.End.Why == "" {
		w.trace.End.Why = why
	}
}

// x86Steps goes on until the walk ends; false where it could not go on, with
// the state at the last frame that was found.
func (w *walk) x86Steps(st *x86State) bool {
	for {
		if !w.u.text.contains(st.ip) && (st.ip != 0 || !st.signal) {
			w.stop("%#x is not an address of kernel code", st.ip)
			return false
		}
		if !w.add(func() Frame { f := w.u.frame(st.ip, st.signal); f.SP = st.sp; return f }()) {
			return true
		}
		next, more, ok := w.x86Next(*st)
		if !ok {
			return false
		}
		if !more {
			return true
		}
		*st = next
	}
}

// x86Next finds the caller. ok is false where it cannot be found, more where
// the stack ends here.
func (w *walk) x86Next(st x86State) (next x86State, more, ok bool) {
	if w.u.orc == nil {
		return w.x86FrameNext(st)
	}
	at := st.ip
	if name, ok := w.u.text.tracers[at]; ok && !st.signal {
		w.stop("%s hides the return address", name)
		return st, false, false
	}
	if !st.signal {
		at--
	}
	e, found := w.u.orc.find(&w.u.text, at)
	switch {
	case !found:
		w.stop("no ORC table covers %#x", st.ip)
		return st, false, false
	case e.typ == typeEnd:
		w.end(KernelEntry)
		return st, false, true
	case e.typ == typeUndefined || e.typ == typeUnknown:
		w.stop("ORC knows no caller for %s", w.last())
		return st, false, false
	}
	sp, ok := w.x86Base(st, e)
	if !ok {
		w.stop("the frame of %s cannot be found", w.last())
		return st, false, false
	}
	next, more, ok = w.x86Caller(st, e, sp)
	if !ok || !more {
		return next, more, ok
	}
	if !w.x86CallerBP(st, e, sp, &next) {
		w.stop("the frame pointer saved by %s cannot be read", w.last())
		return st, false, false
	}
	if !w.advance(st.sp, next.sp) {
		w.stop("the stack is circular at %s", w.last())
		return st, false, false
	}
	return next, true, true
}

// x86Base is the stack pointer that the function's caller had, or the place of
// the saved registers.
func (w *walk) x86Base(st x86State, e orcEntry) (uint64, bool) {
	off := uint64(int64(e.spOff))
	switch e.sp {
	case regSP:
		return st.sp + off, true
	case regBP:
		return st.bp + off, true
	case regSPIndirect:
		// The offset was added before the load until 5.11 and after it since
		// (aafeb14e9da2); the older kernels used it only with offset 0.
		v, ok := w.word(st.sp)
		return v + off, ok
	case regBPIndirect:
		return w.word(st.bp + off)
	}
	if n, ok := orcGeneral[e.sp]; ok && st.full != nil && n < len(st.full.General) {
		return st.full.General[n] + off, true
	}
	return 0, false
}

// x86Caller reads the return address or the saved registers at sp.
func (w *walk) x86Caller(st x86State, e orcEntry, sp uint64) (next x86State, more, ok bool) {
	next = x86State{sp: sp, bp: st.bp, signal: e.signal}
	switch e.typ {
	case typeCall:
		if next.ip, ok = w.word(sp - 8); !ok {
			w.stop("the return address of %s cannot be read", w.last())
		}
		return next, ok, ok
	case typeRegs:
		if w.userEntry(sp) {
			return st, false, true
		}
		regs, ok := w.savedRegs(sp)
		if !ok {
			w.stop("the registers saved by %s cannot be read", w.last())
			return st, false, false
		}
		next.ip, next.sp, next.full = regs.PC, regs.SP, &regs
		return next, true, true
	default: // typeRegsPartial: only what the CPU pushed
		words := w.words(sp, x86IretWords)
		if words == nil {
			w.stop("the registers saved by %s cannot be read", w.last())
			return st, false, false
		}
		p := w.u.isa.PtRegs
		words = append(make([]uint64, p.Words-x86IretWords), words...)
		if p.IsUser(words, w.guessing) {
			u := p.User(words)
			w.trace.User = &model.UserRegs{Addr: sp - 8*uint64(p.Words-x86IretWords), Number: -1, Partial: true, PC: u.PC, SP: u.SP, Compat: u.Compat}
			w.end(UserEntry)
			return st, false, true
		}
		// The registers of an interruption right before still hold.
		regs := p.Registers(words)
		next.ip, next.sp, next.full = regs.PC, regs.SP, st.full
		return next, true, true
	}
}

// x86CallerBP finds the caller's bp.
func (w *walk) x86CallerBP(st x86State, e orcEntry, sp uint64, next *x86State) (ok bool) {
	off := uint64(int64(e.bpOff))
	switch e.bp {
	case regUndefined:
		if e.typ == typeRegs {
			next.bp = next.full.FP
		}
		return true
	case regPrevSP:
		next.bp, ok = w.word(sp + off)
		return ok
	case regBP:
		next.bp, ok = w.word(st.bp + off)
		return ok
	}
	return false
}

// x86FrameNext is x86Next for a kernel with frame pointers
// (CONFIG_UNWINDER_FRAME_POINTER): a chain of {bp, return address}, in which a
// bp with its lowest bit set is the address of saved registers.
func (w *walk) x86FrameNext(st x86State) (next x86State, more, ok bool) {
	switch {
	case st.bp == 0:
		return w.x86FrameEnd(st)
	case st.bp&1 != 0:
		at := st.bp &^ 1
		if w.userEntry(at) {
			return st, false, true
		}
		regs, ok := w.savedRegs(at)
		if !ok {
			w.stop("the registers saved at %#x cannot be read", at)
			return st, false, false
		}
		if st.ip != 0 && strings.HasPrefix(w.last().Name, "ret_from_fork") {
			w.end(KernelEntry)
			return st, false, true
		}
		next = x86State{ip: regs.PC, sp: regs.SP, bp: regs.FP, signal: true, full: &regs}
		if !w.advance(st.sp, at+8) {
			w.stop("the stack is circular at %s", w.last())
			return st, false, false
		}
		return next, true, true
	}
	rec := w.words(st.bp, 2)
	if rec == nil || !w.advance(st.sp, st.bp+16) {
		w.stop("%#x is not the frame pointer of %s", st.bp, w.last())
		return st, false, false
	}
	if !w.u.afterCall(rec[1]) {
		w.stop("the return address %#x of %s does not follow a call", rec[1], w.last())
		return st, false, false
	}
	return x86State{ip: rec[1], sp: st.bp + 16, bp: rec[0]}, true, true
}

// x86FrameEnd is the end of a chain of frame pointers: entry code sets bp to 0,
// and its own frame is followed by the registers of user space.
func (w *walk) x86FrameEnd(st x86State) (x86State, bool, bool) {
	if !w.userEntry(st.sp) {
		w.end(KernelEntry)
	}
	return st, false, true
}

// x86StackTop looks for the registers of user space where the kernel keeps
// them: at the top of the task's stack (two words lower with FRED).
func (w *walk) x86StackTop() bool {
	w.guessing = true
	for _, pad := range []uint64{0, 16} {
		if w.userEntry(w.stack.End - 8*uint64(w.u.isa.PtRegs.Words) - pad) {
			return true
		}
	}
	return false
}
