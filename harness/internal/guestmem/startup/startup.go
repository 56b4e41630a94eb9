// Package startup finds where PID 1 sleeps before it has a program, in the memory of
// an aarch64 kernel whose image has symbols and no types: the list of tasks cannot
// be read then, but a stack that begins in kernel_init can be told apart from all others.
//
// Every result is verified. Where a task that sleeps goes on is one address, or one of
// few: that behind the call in __switch_to; the code says where that, the stack
// pointer and the frame pointer are saved (struct cpu_context). From there the frame
// records lead to the first function of the thread, or the place is none; and of those
// that begin in kernel_init there must be one alone.
package startup

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/unwind"
)

// ErrNotFound says that no such stack is there, or more than one.
var ErrNotFound = errors.New("the stack of the kernel's start-up was not found")

// Finder is what the image says. It may be used by many goroutines.
type Finder struct {
	backs []uint64 // where a task goes on, link-time
}

// maxBacks bounds the calls of one function that are taken for a switch.
const maxBacks = 4

// New reads the image. One whose code is another than is known gives an error that
// is kimage.ErrNoBTF, because then nothing but types would help.
func New(img *kimage.Image) (*Finder, error) {
	sw := img.ISA.Switch
	if sw == nil {
		return nil, fmt.Errorf("find the stack of the start-up: %w", kimage.ErrNoBTF)
	}
	to, code, ok := img.Code(sw.To)
	if !ok || !bytes.Contains(code, sw.Saves) {
		return nil, fmt.Errorf("find the stack of the start-up: %s saves the registers in an unknown way: %w", sw.To, kimage.ErrNoBTF)
	}
	from, code, _ := img.Code(sw.From)
	f := &Finder{backs: sw.Returns(from, code, to)}
	if n := len(f.backs); n == 0 || n > maxBacks {
		return nil, fmt.Errorf("find the stack of the start-up: %s switches at %d places: %w", sw.From, n, kimage.ErrNoBTF)
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
	h := &hunt{m: m, u: u, seen: map[uint64]bool{}}
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
			for _, back := range f.backs {
				h.piece(p, r.Phys+off, k.Run(back))
			}
		}
	}
	switch {
	case h.tries > maxTries:
		return unwind.Trace{}, fmt.Errorf("%w: too many candidates", ErrNotFound)
	case len(h.seen) != 1:
		return unwind.Trace{}, fmt.Errorf("%w: %d candidates", ErrNotFound, len(h.seen))
	}
	return h.found, nil
}

// hunt is one search.
type hunt struct {
	m     physmem.Reader
	u     *unwind.Unwinder
	tries int
	seen  map[uint64]bool // by the stack pointer
	found unwind.Trace
}

// piece looks at the places of a piece of memory where a task may have left off at
// that address.
func (h *hunt) piece(p []byte, phys, pc uint64) {
	want := binary.LittleEndian.AppendUint64(nil, pc)
	for at := 0; h.tries <= maxTries; at += 8 {
		i := bytes.Index(p[at:], want)
		if i < 0 {
			return
		}
		if at = (at + i) &^ 7; !bytes.HasPrefix(p[at:], want) {
			continue
		}
		h.tries++
		if sp, t, ok := h.at(phys+uint64(at), pc); ok {
			h.seen[sp], h.found = true, t
		}
	}
}

// at unwinds from the saved registers whose last is at a physical address; false
// where there are none, or of another thread.
func (h *hunt) at(at, pc uint64) (sp uint64, t unwind.Trace, ok bool) {
	var b [16]byte
	if at < 16 || h.m.ReadPhys(at-16, b[:]) != nil {
		return 0, t, false
	}
	fp, sp := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
	if sp>>55&1 == 0 || sp&15 != 0 || fp&7 != 0 || fp < sp || fp-sp > maxStack {
		return 0, t, false
	}
	t = h.u.Sleeping(unwind.Saved{SP: sp, FP: fp, PC: pc})
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
