package unwind

import "strings"

// struct pt_regs of x86_64 (arch/x86/include/asm/ptrace.h), in words. The same
// in every version; a FRED kernel (6.9) gives the upper halves of cs and ss
// further meanings.
const (
	x86R13, x86BP, x86R10   = 2, 4, 7
	x86BX, x86R9, x86R8     = 5, 8, 9
	x86AX, x86CX, x86DX     = 10, 11, 12
	x86SI, x86DI, x86OrigAX = 13, 14, 15
	x86IP, x86CS, x86SP     = 16, 17, 19
	x86SS                   = 20
	x86RegWords             = 21
	x86IretOffset           = 8 * x86IP // the part the CPU pushes itself
)

// Selectors of user code (arch/x86/include/asm/segment.h).
const (
	x86UserCS   = 0x33
	x86UserCS32 = 0x23
	x86UserDS   = 0x2b
)

// x86State is where the walk is: in the frame of ip, with its sp and bp.
type x86State struct {
	ip, sp, bp uint64
	signal     bool // ip is an interrupted instruction, not a return address
	// full are the registers at the last interruption, nil where none are
	// known to hold still.
	full []uint64
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

func (w *walk) x86Running(r Registers) {
	st := x86State{ip: r.PC, sp: r.SP, bp: r.FP, signal: true, full: make([]uint64, x86RegWords)}
	st.full[x86AX], st.full[x86DX], st.full[x86DI] = r.AX, r.DX, r.DI
	st.full[x86R10], st.full[x86R13], st.full[x86BP] = r.R10, r.R13, r.FP
	w.x86Walk(st)
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
		w.stop("%s hides who is returned to", name)
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
		w.stop("the stack goes round in a circle at %s", w.last())
		return st, false, false
	}
	return next, true, true
}

// x86Base is the stack pointer that the function's caller had, or the place of
// the saved registers.
func (w *walk) x86Base(st x86State, e orcEntry) (uint64, bool) {
	off := uint64(int64(e.spOff))
	reg := func(i int) (uint64, bool) {
		if st.full == nil {
			return 0, false
		}
		return st.full[i] + off, true
	}
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
	case regAX:
		return reg(x86AX)
	case regDX:
		return reg(x86DX)
	case regDI:
		return reg(x86DI)
	case regR10:
		return reg(x86R10)
	case regR13:
		return reg(x86R13)
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
		regs := w.words(sp, x86RegWords)
		if regs == nil {
			w.stop("the registers saved by %s cannot be read", w.last())
			return st, false, false
		}
		if w.x86User(regs) {
			w.x86UserEntry(sp, regs)
			return st, false, true
		}
		next.ip, next.sp, next.full = regs[x86IP], regs[x86SP], regs
		return next, true, true
	default: // typeRegsPartial: only what the CPU pushed
		iret := w.words(sp, x86RegWords-x86IP)
		if iret == nil {
			w.stop("the registers saved by %s cannot be read", w.last())
			return st, false, false
		}
		regs := append(make([]uint64, x86IP), iret...)
		if w.x86User(regs) {
			w.trace.User = &UserRegs{Addr: sp - x86IretOffset, Number: -1, Partial: true,
				PC: regs[x86IP], SP: regs[x86SP], Compat: regs[x86CS]&0xffff == x86UserCS32}
			w.end(UserEntry)
			return st, false, true
		}
		// The registers of an interruption right before still hold.
		next.ip, next.sp, next.full = regs[x86IP], regs[x86SP], st.full
		return next, true, true
	}
}

// x86CallerBP finds the caller's bp.
func (w *walk) x86CallerBP(st x86State, e orcEntry, sp uint64, next *x86State) (ok bool) {
	off := uint64(int64(e.bpOff))
	switch e.bp {
	case regUndefined:
		if e.typ == typeRegs {
			next.bp = next.full[x86BP]
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
		regs := w.words(at, x86RegWords)
		if regs == nil {
			w.stop("the registers saved at %#x cannot be read", at)
			return st, false, false
		}
		if w.x86User(regs) {
			w.x86UserEntry(at, regs)
			return st, false, true
		}
		if st.ip != 0 && strings.HasPrefix(w.last().Name, "ret_from_fork") {
			w.end(KernelEntry)
			return st, false, true
		}
		next = x86State{ip: regs[x86IP], sp: regs[x86SP], bp: regs[x86BP], signal: true, full: regs}
		if !w.advance(st.sp, at+8) {
			w.stop("the stack goes round in a circle at %s", w.last())
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
		w.stop("%#x, which %s would return to, does not follow a call", rec[1], w.last())
		return st, false, false
	}
	return x86State{ip: rec[1], sp: st.bp + 16, bp: rec[0]}, true, true
}

// x86FrameEnd is the end of a chain of frame pointers: entry code sets bp to 0,
// and its own frame is followed by the registers of user space.
func (w *walk) x86FrameEnd(st x86State) (x86State, bool, bool) {
	if regs := w.words(st.sp, x86RegWords); regs != nil && w.x86User(regs) {
		w.x86UserEntry(st.sp, regs)
	} else {
		w.end(KernelEntry)
	}
	return st, false, true
}

// x86User says whether the registers are those of user space. What a guess led
// to must look the part in every selector.
func (w *walk) x86User(regs []uint64) bool {
	if !w.guessing {
		return regs[x86CS]&3 == 3
	}
	cs, ss := regs[x86CS]&0xffff, regs[x86SS]&0xffff
	return (cs == x86UserCS || cs == x86UserCS32) && ss == x86UserDS && regs[x86IP]>>63 == 0
}

func (w *walk) x86UserEntry(at uint64, regs []uint64) {
	nr := int64(regs[x86OrigAX])
	u := &UserRegs{
		Addr: at, Syscall: nr >= 0, Number: max(nr, -1), Compat: regs[x86CS]&0xffff == x86UserCS32,
		PC: regs[x86IP], SP: regs[x86SP], FP: regs[x86BP], Regs: regs[:x86OrigAX+1],
	}
	order := [6]int{x86DI, x86SI, x86DX, x86R10, x86R8, x86R9}
	if u.Compat {
		order = [6]int{x86BX, x86CX, x86DX, x86SI, x86DI, x86BP}
	}
	for i, r := range order {
		if u.Syscall {
			u.Args[i] = regs[r]
		}
	}
	w.trace.User = u
	w.end(UserEntry)
}

// x86StackTop looks for the registers of user space where the kernel keeps
// them: at the top of the task's stack (two words lower with FRED).
func (w *walk) x86StackTop() bool {
	w.guessing = true
	for _, pad := range []uint64{0, 16} {
		at := w.stack.End - 8*x86RegWords - pad
		regs := w.words(at, x86RegWords)
		if regs == nil {
			continue
		}
		if w.x86User(regs) {
			w.x86UserEntry(at, regs)
			return true
		}
	}
	return false
}
