package unwind

import (
	"encoding/binary"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/model"
)

var le = binary.LittleEndian

const (
	// maxFrames bounds a trace. The kernel's deepest stacks have some 100
	// frames in 16 KiB.
	maxFrames = 256
	// maxSwitches bounds the changes of stack in one walk: task, soft
	// interrupt, interrupt, NMI, double fault and the way back leave room.
	maxSwitches = 12
	// stackSpan is how far apart two addresses of one stack can be: a stack has
	// 16 KiB, twice that under KASAN, and 64 KiB with arm64's 64K pages.
	stackSpan = 64 << 10
)

// walk is one unwinding.
type walk struct {
	u        *Unwinder
	stack    Range
	trace    Trace
	guessing bool // what is found from now on is a guess
	why      string
	switches int
}

func (u *Unwinder) newWalk(stack Range) *walk {
	if stack.End <= stack.Start || stack.End-stack.Start > 1<<20 {
		stack = Range{}
	}
	return &walk{u: u, stack: stack}
}

// add appends a frame; false says that the trace is full.
func (w *walk) add(f Frame) bool {
	if len(w.trace.Frames) >= maxFrames {
		w.stop("more than %d frames", maxFrames)
		return false
	}
	f.Reliable = f.Reliable && !w.guessing
	w.trace.Frames = append(w.trace.Frames, f)
	return true
}

func (w *walk) stop(format string, a ...any) {
	w.trace.End = End{Kind: Stopped, Why: fmt.Sprintf(format, a...)}
}

func (w *walk) end(k EndKind) { w.trace.End = End{Kind: k, Why: w.why} }

func (w *walk) last() Frame {
	if n := len(w.trace.Frames); n > 0 {
		return w.trace.Frames[n-1]
	}
	return Frame{}
}

// word reads one aligned word of a stack.
func (w *walk) word(a uint64) (uint64, bool) {
	var b [8]byte
	if a%8 != 0 || w.u.mem.Read(a, b[:]) != nil {
		return 0, false
	}
	return le.Uint64(b[:]), true
}

// words reads n words; nil where they cannot be read.
func (w *walk) words(a uint64, n int) []uint64 {
	b := make([]byte, 8*n)
	if a%8 != 0 || w.u.mem.Read(a, b) != nil {
		return nil
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = le.Uint64(b[8*i:])
	}
	return out
}

// savedRegs reads the struct pt_regs at an address.
func (w *walk) savedRegs(at uint64) (model.Registers, bool) {
	words := w.words(at, w.u.isa.PtRegs.Words)
	if words == nil {
		return model.Registers{}, false
	}
	return w.u.isa.PtRegs.Registers(words), true
}

// userEntry ends the walk where the struct pt_regs at an address is that of user
// space. What a guess led to must look the part in every way.
func (w *walk) userEntry(at uint64) bool {
	p := w.u.isa.PtRegs
	words := w.words(at, p.Words)
	if words == nil || !p.IsUser(words, w.guessing) {
		return false
	}
	u := p.User(words)
	u.Addr = at
	w.trace.User = &u
	w.end(UserEntry)
	return true
}

// strip removes a pointer authentication code from an address of code.
func (w *walk) strip(p uint64) uint64 { return w.u.isa.Strip(p, w.u.text.contains) }

// advance checks a step from one stack address to the next: on the task's stack
// the way is up. Down, or far up, is a change to another stack, of which there
// are only so many.
func (w *walk) advance(from, to uint64) bool {
	if w.stack.Contains(from) && w.stack.Contains(to) {
		return to > from
	}
	if to <= from || to-from >= stackSpan {
		w.switches++
	}
	return to != from && w.switches <= maxSwitches
}
