package unwind

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// The frame record inside struct pt_regs lies at 304 up to 6.12, and at 296 with a
// type behind it since 6.13 (c2c6b27b5aa1). pt_regs is aligned to 16, so the
// record's own address tells which of the two it is.
const (
	arm64Record     = 304
	arm64RecordMeta = 296

	metaFinal = 1 // FRAME_META_TYPE_FINAL
	metaRegs  = 2 // FRAME_META_TYPE_PT_REGS
)

func (w *walk) arm64Sleeping(s Saved) {
	pc := w.strip(s.PC)
	if !w.u.text.contains(pc) {
		w.stop("the saved return address %#x is not kernel code", s.PC)
		w.arm64Scan(s.SP)
		return
	}
	w.add(w.u.frame(pc, false))
	w.arm64Walk(s.FP, s.SP)
}

func (w *walk) arm64Running(r model.Registers) {
	if !w.u.text.contains(r.PC) {
		if w.arm64Trampoline(r) {
			return
		}
		w.stop("%#x is not an address of kernel code", r.PC)
		if lr := w.strip(r.LR); w.u.afterCall(lr) {
			// A jump to nowhere: the link register says who made it.
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
func (w *walk) arm64Trampoline(r model.Registers) bool {
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
				w.stop("the frame records are circular at %s", w.last())
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
			w.stop("the frame records are circular at %s", w.last())
			return false
		}
		fp = rec[0]
	}
}

// arm64Record takes the return address of an ordinary frame record, which up to
// 6.12 may also be that of saved registers: {x29, pc} of what was interrupted.
func (w *walk) arm64Record(fp uint64, rec []uint64) bool {
	pc := w.strip(rec[1])
	if !w.u.text.contains(pc) {
		w.stop("the return address %#x of %s is not kernel code", rec[1], w.last())
		return false
	}
	if strings.HasPrefix(w.last().Name, "el1") && fp%16 == 0 {
		regs, ok := w.savedRegs(fp - arm64Record)
		if ok && regs.PC == rec[1] && regs.FP == rec[0] {
			if !w.add(w.u.frame(pc, true)) {
				return false
			}
			w.arm64Link(pc, regs.LR, rec[0])
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
	if fp%16 == 8 && meta == metaRegs {
		regs, ok := w.savedRegs(at)
		if !ok || !w.u.text.contains(regs.PC) {
			w.stop("the registers saved at %#x are not those of kernel code", at)
			return 0, false, false
		}
		if !w.add(w.u.frame(regs.PC, true)) {
			return 0, false, true
		}
		w.arm64Link(regs.PC, regs.LR, regs.FP)
		return regs.FP, true, true
	}
	w.arm64Final(at)
	return 0, false, true
}

// arm64Final distinguishes the entry from user space from that of a kernel thread, whose
// registers say EL1, and from the idle tasks', which hold nothing.
func (w *walk) arm64Final(at uint64) {
	name := w.last().Name
	entry := strings.HasPrefix(name, "el0") || strings.HasPrefix(name, "ret_")
	if name != "" && !entry || !w.userEntry(at) {
		w.end(KernelEntry)
	}
}

// arm64Link adds the function in the link register of interrupted code, where
// it is a caller that the frame records do not know: of a leaf function, or of
// one interrupted before it made or after it took down its frame.
func (w *walk) arm64Link(pc, link, fp uint64) {
	lr := w.strip(link)
	if !w.u.afterCall(lr) {
		return
	}
	if rec := w.words(fp, 2); rec != nil && w.strip(rec[1]) == lr {
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

// linkLive says whether a function surely has its return address in the link
// register at pc.
func (w *walk) linkLive(pc, off, size uint64) bool {
	const most = 8 << 10
	if off > most || size > most {
		return false
	}
	code := make([]byte, size&^3)
	if len(code) == 0 || w.u.mem.Read(pc-off, code) != nil {
		return false
	}
	return w.u.isa.LinkLive(code, int(off))
}

// arm64StackTop looks for the registers of user space at the top of the task's
// stack: pt_regs has 336 bytes, or 320 where the last two fields are gone.
func (w *walk) arm64StackTop() bool {
	for _, size := range []uint64{336, 320} {
		at := w.stack.End - size
		// Only with the frame record of zeros that ends each stack.
		rec := w.words(at+arm64RecordMeta, 3)
		if rec == nil {
			continue
		}
		old := size == 336 && rec[1] == 0 && rec[2] == 0
		if (old || rec[0] == 0 && rec[1] == 0 && rec[2] == metaFinal) && w.userEntry(at) {
			return true
		}
	}
	return false
}
