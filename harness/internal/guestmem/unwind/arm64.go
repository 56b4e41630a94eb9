package unwind

import "strings"

// struct pt_regs of aarch64 (arch/arm64/include/asm/ptrace.h), in bytes. The
// frame record inside lies at 304 up to 6.12, and at 296 with a type behind it
// since 6.13 (c2c6b27b5aa1). pt_regs is aligned to 16, so the record's own
// address tells which of the two it is.
const (
	arm64SP, arm64PC, arm64PState = 31, 32, 33 // words
	arm64OrigX0, arm64Syscallno   = 34, 35
	arm64RegWords                 = 36

	arm64Record     = 304
	arm64RecordMeta = 296

	metaFinal = 1 // FRAME_META_TYPE_FINAL
	metaRegs  = 2 // FRAME_META_TYPE_PT_REGS

	arm64PCompat = 1 << 4 // PSTATE: AArch32
	arm64PMode   = 0xf    // 0: EL0
)

func (w *walk) arm64Sleeping(s Saved) {
	pc := w.arm64Strip(s.PC)
	if !w.u.text.contains(pc) {
		w.stop("%#x, at which the task was switched away, is not kernel code", s.PC)
		w.arm64Scan(s.SP)
		return
	}
	w.add(w.u.frame(pc, false))
	w.arm64Walk(s.FP, s.SP)
}

func (w *walk) arm64Running(r Registers) {
	if !w.u.text.contains(r.PC) {
		if w.arm64Trampoline(r) {
			return
		}
		w.stop("%#x is not an address of kernel code", r.PC)
		if lr := w.arm64Strip(r.LR); w.u.afterCall(lr) {
			// A jump to nowhere: the link register tells who made it.
			w.guessing = true
			w.add(w.u.frame(lr, false))
			w.why = w.trace.End.Why
			w.arm64Walk(r.FP, r.SP)
			return
		}
		w.arm64Scan(r.SP)
		return
	}
	w.add(w.u.frame(r.PC, true))
	if r.FP != 0 && r.FP>>55&1 == 0 && w.arm64Empty(r.SP) {
		// In the vectors: x29 is still, or already, user space's.
		w.end(UserEntry)
		return
	}
	w.arm64Link(r.PC, r.LR, r.FP)
	w.arm64Walk(r.FP, r.SP)
}

// arm64Empty says whether nothing, or only user space's registers, can be on
// the stack. Where its end is not known, it is a multiple of 16 KiB.
func (w *walk) arm64Empty(sp uint64) bool {
	const stacks, regs = 16 << 10, 336
	if w.stack.End != 0 {
		return sp <= w.stack.End && sp >= w.stack.End-regs
	}
	return -sp%stacks <= regs
}

// arm64Trampoline says whether the vCPU is on the way from or to user space, in
// the page that both have mapped (CONFIG_UNMAP_KERNEL_AT_EL0), which lies apart
// from the kernel's code.
func (w *walk) arm64Trampoline(r Registers) bool {
	if r.PC>>55&1 == 0 || !w.arm64Empty(r.SP) {
		return false
	}
	if r.SP != w.stack.End && w.stack.End != 0 && !w.arm64StackTop() {
		return false
	}
	w.end(UserEntry)
	return true
}

// arm64Walk follows the frame records from fp on; sp is where to search for
// return addresses when that fails.
func (w *walk) arm64Walk(fp, sp uint64) {
	if !w.arm64Chain(fp, &sp) {
		w.arm64Scan(sp)
	}
}

// arm64Chain follows the frame records to their end; false where it cannot, and
// *sp is the end of the last good one then.
func (w *walk) arm64Chain(fp uint64, sp *uint64) bool {
	for {
		if fp == 0 {
			// Up to 5.12 the chain of a kernel thread ends so.
			w.end(KernelEntry)
			return true
		}
		rec := w.words(fp, 3)
		if rec == nil {
			if rec = w.words(fp, 2); rec == nil {
				w.stop("the frame record %#x of %s cannot be read", fp, w.last())
				return false
			}
			rec = append(rec, 0)
		}
		if rec[0] == 0 && rec[1] == 0 {
			next, more, ok := w.arm64Boundary(fp, rec[2])
			if !ok || !more {
				return ok
			}
			if !w.advance(fp, next) {
				w.stop("the frame records go round in a circle at %s", w.last())
				return false
			}
			fp = next
			continue
		}
		if !w.arm64Record(fp, rec) {
			return false
		}
		*sp = fp + 16
		if rec[0] != 0 && !w.advance(fp, rec[0]) {
			w.stop("the frame records go round in a circle at %s", w.last())
			return false
		}
		fp = rec[0]
	}
}

// arm64Record takes the return address of an ordinary frame record, which up to
// 6.12 may also be that of saved registers: {x29, pc} of what was interrupted.
func (w *walk) arm64Record(fp uint64, rec []uint64) bool {
	pc := w.arm64Strip(rec[1])
	if !w.u.text.contains(pc) {
		w.stop("%#x, which %s would return to, is not kernel code", rec[1], w.last())
		return false
	}
	if strings.HasPrefix(w.last().Name, "el1") && fp%16 == 0 {
		regs := w.words(fp-arm64Record, arm64RegWords)
		if regs != nil && regs[arm64PC] == rec[1] && regs[29] == rec[0] {
			if !w.add(w.u.frame(pc, true)) {
				return false
			}
			w.arm64Link(pc, regs[30], rec[0])
			return true
		}
	}
	f := w.u.frame(pc, false)
	f.SP = fp
	return w.add(f)
}

// arm64Boundary handles a record of two zeros: the end of the stack or, since
// 6.13, registers saved in the kernel.
func (w *walk) arm64Boundary(fp, meta uint64) (next uint64, more, ok bool) {
	at := fp - arm64Record
	if fp%16 == 8 {
		at = fp - arm64RecordMeta
		if meta != metaFinal && meta != metaRegs {
			w.stop("the frame record %#x has the unknown type %d", fp, meta)
			return 0, false, false
		}
	}
	regs := w.words(at, arm64RegWords)
	if fp%16 == 8 && meta == metaRegs {
		if regs == nil || !w.u.text.contains(regs[arm64PC]) {
			w.stop("the registers saved at %#x are not those of kernel code", at)
			return 0, false, false
		}
		if !w.add(w.u.frame(regs[arm64PC], true)) {
			return 0, false, true
		}
		w.arm64Link(regs[arm64PC], regs[30], regs[29])
		return regs[29], true, true
	}
	w.arm64Final(at, regs)
	return 0, false, true
}

// arm64Final tells the entry of user space from that of a kernel thread, whose
// registers say EL1, and from the idle tasks', which hold nothing.
func (w *walk) arm64Final(at uint64, regs []uint64) {
	name := w.last().Name
	entry := strings.HasPrefix(name, "el0") || strings.HasPrefix(name, "ret_")
	if regs == nil || !arm64User(regs) || name != "" && !entry {
		w.end(KernelEntry)
		return
	}
	w.arm64UserEntry(at, regs)
}

func arm64User(regs []uint64) bool {
	return regs[arm64PState]&arm64PMode == 0 && regs[arm64PC] != 0 && regs[arm64PC]>>55 == 0
}

func (w *walk) arm64UserEntry(at uint64, regs []uint64) {
	nr := int64(int32(regs[arm64Syscallno]))
	u := &UserRegs{
		Addr: at, Syscall: nr >= 0, Number: max(nr, -1), Compat: regs[arm64PState]&arm64PCompat != 0,
		PC: regs[arm64PC], SP: regs[arm64SP], FP: regs[29], LR: regs[30], Regs: regs[:31],
	}
	if u.Compat {
		u.FP, u.SP, u.LR = regs[11], regs[13], regs[14]
	}
	if u.Syscall {
		copy(u.Args[:], regs)
		u.Args[0] = regs[arm64OrigX0] // x0 becomes the result
	}
	w.trace.User = u
	w.end(UserEntry)
}

// arm64Link adds the function in the link register of interrupted code, where
// it is a caller that the frame records do not know: of a leaf function, or of
// one interrupted before it made or after it took down its frame.
func (w *walk) arm64Link(pc, link, fp uint64) {
	lr := w.arm64Strip(link)
	if !w.u.afterCall(lr) {
		return
	}
	if rec := w.words(fp, 2); rec != nil && w.arm64Strip(rec[1]) == lr {
		return // the function has its frame, and this is it
	}
	_, off, size, ok := w.u.syms.Nearest(pc)
	if !ok {
		return
	}
	_, lrOff, _, ok := w.u.syms.Nearest(lr - 1)
	if ok && lr-1-lrOff == pc-off {
		return // left over from a call the function itself made
	}
	f := w.u.frame(lr, false)
	f.Reliable = w.linkLive(pc, off, size)
	w.add(f)
}

// linkLive says whether a function surely has its return address in x30 at pc:
// nothing before pc stores it, or what is around pc has just loaded it back.
func (w *walk) linkLive(pc, off, size uint64) bool {
	const most = 8 << 10
	if off > most || size > most {
		return false
	}
	code := make([]byte, size&^3)
	if len(code) == 0 || w.u.mem.Read(pc-off, code) != nil {
		return false
	}
	saved, any := false, false
	for i := 0; i < len(code); i += 4 {
		if arm64SavesLR(le.Uint32(code[i:])) {
			any = true
			saved = saved || uint64(i) < off
		}
	}
	if !any || !saved && off <= 32 {
		return true
	}
	return saved && takenDown(code, int(off))
}

// takenDown says whether the instruction at off is between the load of x30 and
// the return.
func takenDown(code []byte, off int) bool {
	const window = 6 * 4
	for i := off; i < len(code) && i < off+window; i += 4 {
		in := le.Uint32(code[i:])
		if arm64LoadsLR(in) || arm64Call(in) {
			return false
		}
		if arm64Return(in) {
			for j := off - 4; j >= 0 && j >= off-window; j -= 4 {
				if arm64LoadsLR(le.Uint32(code[j:])) {
					return true
				}
			}
			return false
		}
	}
	return false
}

// arm64Strip removes a pointer authentication code from a kernel address. It
// lies in the bits between the size of the virtual addresses and bit 55, and
// above it; with all of them set again a kernel address is itself. The size
// depends on the kernel's configuration: the one that gives code is taken.
func (w *walk) arm64Strip(p uint64) uint64 {
	if p>>55&1 == 0 || w.u.text.contains(p) {
		return p
	}
	for _, bits := range []int{48, 47, 42, 39, 36} {
		if q := p | ^uint64(0)<<(bits-1); w.u.text.contains(q) {
			return q
		}
	}
	return p
}

// arm64StackTop looks for the registers of user space at the top of the task's
// stack: pt_regs has 336 bytes, or 320 where the last two fields are gone.
func (w *walk) arm64StackTop() bool {
	for _, size := range []uint64{336, 320} {
		at := w.stack.End - size
		regs := w.words(at, arm64RegWords)
		// Only with the frame record of zeros that ends each stack.
		rec := w.words(at+arm64RecordMeta, 3)
		if regs == nil || rec == nil || !arm64User(regs) {
			continue
		}
		old := size == 336 && rec[1] == 0 && rec[2] == 0
		if old || rec[0] == 0 && rec[1] == 0 && rec[2] == metaFinal {
			w.arm64UserEntry(at, regs)
			return true
		}
	}
	return false
}
