package dump

import (
	"bytes"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/model"
)

// frame reads a line of a trace into the caller's block.
func (p *parser) frame(b []byte, r Record) bool {
	bl := p.block(r.Caller)
	f, ok := parseFrame(b)
	if !ok {
		if bl == nil || bl.report >= 0 && !bl.started && !isTraceLine(b) {
			return false
		}
		var odd [16]rawFrame
		got := parseOddFrames(b, odd[:0])
		if len(got) == 0 {
			return p.contextMarker(b, bl, r)
		}
		for i, g := range got {
			// arm32 repeats the caller as the next line's callee.
			if i == 0 && len(got) == 2 && len(bl.frames) > 0 && bl.frames[len(bl.frames)-1].Func == string(g.fn) {
				continue
			}
			p.push(bl, g)
		}
		bl.touch(r)
		return true
	}
	if bl == nil {
		return false
	}
	if bl.gather {
		p.noteFunc(bl, f.fn)
	}
	if bl.closed && bl.task != nil || bl.done || bl.foreign { // another trace, not part of this one
		bl.foreign = false
		return true
	}
	p.push(bl, f)
	bl.touch(r)
	return true
}

// isTraceLine says whether an odd line may begin a trace.
func isTraceLine(b []byte) bool {
	return bytes.Contains(b, []byte(" from ")) || bytes.IndexByte(b, '{') >= 0
}

func (bl *block) touch(r Record) {
	bl.idle = 0
	bl.started = true
	bl.end = r.End
	if bl.task != nil {
		bl.task.End = r.End
	}
}

// push appends a frame to a block.
func (p *parser) push(bl *block, f rawFrame) {
	if len(bl.frames) >= MaxFrames {
		return
	}
	if len(f.fn) > 6 && hasPrefix(f.fn, "__pfx_") {
		f.guess = true // a function's padding is never a return address
	}
	if bl.frames == nil {
		if n := len(p.free); n > 0 {
			bl.frames, p.free = p.free[n-1], p.free[:n-1]
		} else {
			bl.frames = make([]model.Frame, 0, 32)
		}
	}
	bl.frames = append(bl.frames, model.Frame{Func: p.intern(f.fn), Off: f.off, Size: f.size, Module: p.intern(f.mod), Reliable: !f.guess, Inline: f.inline})
}

// settle moves the frames of a closing block into the slab and keeps its scratch.
func (p *parser) settle(bl *block) []model.Frame {
	n := len(bl.frames)
	if n == 0 {
		return nil
	}
	if cap(p.slab)-len(p.slab) < n {
		p.slab = make([]model.Frame, 0, 64*MaxFrames)
	}
	s := len(p.slab)
	p.slab = append(p.slab, bl.frames...)
	p.free = append(p.free, bl.frames[:0])
	bl.frames = nil
	return p.slab[s : s+n : s+n]
}

// intern gives one string per distinct name.
func (p *parser) intern(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if s, ok := p.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(p.names) < maxNames {
		p.names[s] = s
	}
	return s
}

// contextMarker reads <TASK>, </TASK>, <IRQ> and the like.
func (p *parser) contextMarker(b []byte, bl *block, r Record) bool {
	t := trim(b)
	if len(t) < 4 || t[0] != '<' || t[len(t)-1] != '>' || len(t) > 12 {
		return false
	}
	switch string(t) {
	case "</TASK>":
		bl.closed = true
		bl.touch(r)
	case "<TASK>", "<IRQ>", "</IRQ>", "<NMI>", "</NMI>", "<EOI>", "<EOE>", "<<EOE>>", "<#DF>", "</#DF>", "<SOFTIRQ>", "</SOFTIRQ>":
		if string(t) == "<TASK>" && bl.task != nil && bl.closed {
			return true
		}
		bl.touch(r)
	default:
		return false
	}
	return true
}

// registers reads a register line into the caller's block.
func (p *parser) registers(b []byte, r Record) bool {
	bl := p.block(r.Caller)
	if bl == nil {
		return false
	}
	if hasPrefix(b, "RIP: 0010:") && (bl.kernel == nil || bl.entered()) {
		if bl.kernel == nil {
			bl.kernel = ipSymbol(b[10:])
		}
		if f, ok := parseFrame(b[10:]); ok && bl.task != nil && !bl.closed {
			p.push(bl, f) // only here does x86 print what was interrupted
		}
		bl.touch(r)
		return true
	}
	if bl.regs.line(b) {
		if bl.task != nil && !bl.closed {
			bl.task.End = r.End
		}
		bl.idle = 0
		return true
	}
	return false
}

// entered says whether the last frame is the entry of an interrupt or exception
// (arch/x86/include/asm/idtentry.h): what it interrupted follows.
func (bl *block) entered() bool {
	n := len(bl.frames)
	return n > 0 && strings.HasPrefix(bl.frames[n-1].Func, "asm_")
}

// ipSymbol finds `fn+0x..` in what follows the name of an instruction pointer.
func ipSymbol(b []byte) []byte {
	i := bytes.Index(b, []byte("+0x"))
	if i < 0 {
		return nil
	}
	s := i
	for s > 0 && isSymbol(b[s-1]) {
		s--
	}
	if s == i {
		return nil
	}
	return append([]byte(nil), b[s:i]...)
}
