// Package startup finds where PID 1 sleeps before it has a program, in the memory of
// an aarch64 kernel whose image has symbols and no types: the list of tasks cannot
// be read then, but a stack that begins in kernel_init can be told from all others.
//
// What is told is verified. Where a task that sleeps goes on is one address, the one
// behind the call in __switch_to; the code says where that, the stack pointer and the
// frame pointer are saved (struct cpu_context). From there the frame records lead to
// the first function of the thread, or the place is none; and of those that begin in
// kernel_init there must be one alone.
package startup

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/guestmem/locate"
	"github.com/unwedge/unwedge/harness/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/guestmem/unwind"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// ErrNotFound says that no such stack is there, or more than one.
var ErrNotFound = errors.New("the stack of the kernel's start-up was not found")

// Finder is what an image tells. It may be used by many goroutines.
type Finder struct{ back uint64 } // where a task goes on, link-time

// The instructions at which cpu_switch_to saves x29, the stack pointer (in x9) and
// the return address, one behind the other (arch/arm64/kernel/entry.S).
const (
	saveFPSP = 0xa881251d // stp x29, x9, [x8], #16
	saveLR   = 0xf900011e // str x30, [x8]
)

// New reads the image. One whose code is another than is known gives an error that
// is kimage.ErrNoBTF, because then nothing but types would help.
func New(img *kimage.Image) (*Finder, error) {
	if img.Arch != arch.AArch64 {
		return nil, fmt.Errorf("find the stack of the start-up: %w", kimage.ErrNoBTF)
	}
	to, code, ok := img.Code("cpu_switch_to")
	order := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, saveFPSP), saveLR)
	if !ok || !bytes.Contains(code, order) {
		return nil, fmt.Errorf("find the stack of the start-up: cpu_switch_to saves its registers in another way: %w", kimage.ErrNoBTF)
	}
	from, code, _ := img.Code("__switch_to")
	f := &Finder{}
	for i := 0; i+4 <= len(code); i += 4 {
		in := binary.LittleEndian.Uint32(code[i:])
		at := from + uint64(i)
		if in>>26 != 0x25 || at+uint64(int64(in)<<38>>36) != to { // BL
			continue
		}
		if f.back != 0 {
			return nil, fmt.Errorf("find the stack of the start-up: __switch_to calls twice: %w", kimage.ErrNoBTF)
		}
		f.back = at + 4
	}
	if f.back == 0 {
		return nil, fmt.Errorf("find the stack of the start-up: __switch_to does not call: %w", kimage.ErrNoBTF)
	}
	return f, nil
}

// The bounds of the search: of a piece that is read at a time, in bytes, of the
// places that are unwound, and of a stack.
const (
	piece    = 1 << 20
	maxTries = 1 << 14
	maxStack = 128 << 10
)

// Find unwinds the stack of the start-up. The guest's vCPUs must be known to run
// something else: what is saved of a task that runs is old.
func (f *Finder) Find(ctx context.Context, k *locate.Kernel, m physmem.Reader, u *unwind.Unwinder) (unwind.Trace, error) {
	want := binary.LittleEndian.AppendUint64(nil, k.Run(f.back))
	seen, tries := map[uint64]bool{}, 0 // by the stack pointer
	var found unwind.Trace
	b := make([]byte, piece)
	for _, r := range m.Ranges() {
		for off := uint64(0); off < r.Size; off += piece {
			if ctx.Err() != nil {
				return unwind.Trace{}, ctx.Err()
			}
			p := b[:min(piece, r.Size-off)]
			if m.ReadPhys(r.Phys+off, p) != nil {
				continue
			}
			for at := 0; ; at += 8 {
				i := bytes.Index(p[at:], want)
				if i < 0 {
					break
				}
				at = (at + i) &^ 7
				if !bytes.HasPrefix(p[at:], want) {
					continue
				}
				if tries++; tries > maxTries {
					return unwind.Trace{}, fmt.Errorf("%w: too many places look like one", ErrNotFound)
				}
				if sp, t, ok := f.at(m, u, k.Run(f.back), r.Phys+off+uint64(at)); ok {
					seen[sp], found = true, t
				}
			}
		}
	}
	if len(seen) != 1 {
		return unwind.Trace{}, fmt.Errorf("%w: there are %d", ErrNotFound, len(seen))
	}
	return found, nil
}

// at unwinds from the saved registers whose last is at a physical address; false
// where there are none, or of another thread.
func (f *Finder) at(m physmem.Reader, u *unwind.Unwinder, pc, at uint64) (sp uint64, t unwind.Trace, ok bool) {
	var b [16]byte
	if at < 16 || m.ReadPhys(at-16, b[:]) != nil {
		return 0, t, false
	}
	fp, sp := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
	if sp>>55&1 == 0 || sp&15 != 0 || fp&7 != 0 || fp < sp || fp-sp > maxStack {
		return 0, t, false
	}
	t = u.Sleeping(unwind.Saved{SP: sp, FP: fp, PC: pc})
	return sp, t, isStartUp(t, sp)
}

// isStartUp says that a stack is whole, goes one way, and is that of the thread that
// becomes PID 1 (init/main.c, rest_init).
func isStartUp(t unwind.Trace, sp uint64) bool {
	n := len(t.Frames)
	if n < 4 || t.End.Kind != unwind.KernelEntry || !t.Reliable() || t.User != nil {
		return false
	}
	last := sp
	for _, fr := range t.Frames[1:] {
		if fr.Name == "" || fr.Module != "" || fr.Interrupted || fr.SP != 0 && (fr.SP < last || fr.SP-sp > maxStack) {
			return false
		}
		last = max(last, fr.SP)
	}
	return t.Frames[0].Name == "__switch_to" && strings.HasPrefix(t.Frames[1].Name, "__sched") &&
		t.Frames[n-2].Name == "kernel_init" && t.Frames[n-1].Name == "ret_from_fork"
}
