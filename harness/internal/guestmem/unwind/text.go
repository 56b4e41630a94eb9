package unwind

import (
	"cmp"
	"errors"
	"slices"
	"sort"
	"strings"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// codeMap knows which addresses are code.
type codeMap struct {
	kernel  []Range
	modules []Module
	pieces  []piece // the modules' text, by address
	tracers map[uint64]string
}

type piece struct {
	Range
	module int
}

// tracers are where functions return to that a tracer (the function graph,
// kretprobes) has put itself behind: it keeps the true return address in a list
// of its own. The stack has the trampoline's first instruction.
var tracers = []string{
	"return_to_handler", "kretprobe_trampoline", "__kretprobe_trampoline",
	"arch_rethook_trampoline",
}

// kernelText are the symbols around the kernel's code: the code proper, that of
// the start-up (freed later), and on x86_64 what lies behind the init text.
var kernelText = [][2]string{
	{"_stext", "_etext"},
	{"_sinittext", "_einittext"},
}

func newCodeMap(s Symbols, mods []Module) (codeMap, error) {
	var m codeMap
	for _, k := range kernelText {
		start, ok1 := s.Lookup(k[0])
		end, ok2 := s.Lookup(k[1])
		if ok1 && ok2 && start < end {
			m.kernel = append(m.kernel, Range{start, end})
		}
	}
	if len(m.kernel) == 0 {
		return m, errors.New("unwind: the symbols name no kernel text (_stext, _etext)")
	}
	m.modules = slices.Clone(mods)
	for i, mod := range mods {
		for _, r := range mod.Text {
			if r.Start < r.End {
				m.pieces = append(m.pieces, piece{r, i})
			}
		}
	}
	slices.SortStableFunc(m.pieces, func(a, b piece) int { return cmp.Compare(a.Start, b.Start) })
	m.tracers = map[uint64]string{}
	for _, name := range tracers {
		if a, ok := s.Lookup(name); ok {
			m.tracers[a] = name
		}
	}
	return m, nil
}

// inKernel says whether the address is code of the kernel's image.
func (m *codeMap) inKernel(a uint64) bool {
	return slices.ContainsFunc(m.kernel, func(r Range) bool { return r.Contains(a) })
}

// module returns the index of the module whose code the address is, or -1. The
// pieces do not overlap; where a damaged list says they do, the one that begins
// last counts.
func (m *codeMap) module(a uint64) int {
	i := sort.Search(len(m.pieces), func(i int) bool { return m.pieces[i].Start > a })
	if i == 0 || !m.pieces[i-1].Contains(a) {
		return -1
	}
	return m.pieces[i-1].module
}

func (m *codeMap) contains(a uint64) bool { return m.inKernel(a) || m.module(a) >= 0 }

// frame names an address: a return address by the byte before it.
func (u *Unwinder) frame(pc uint64, interrupted bool) Frame {
	f := Frame{PC: pc, Interrupted: interrupted, Reliable: true}
	at := pc
	if _, ok := u.text.tracers[pc]; ok && !interrupted {
		f.Reliable = false // who is returned to is not known
	} else if !interrupted {
		at--
	}
	if name, off, size, ok := u.syms.Nearest(at); ok && u.text.contains(at) {
		f.Name, f.Offset, f.Size = name, off+(pc-at), size
	}
	if i := u.text.module(at); i >= 0 {
		f.Module = u.text.modules[i].Name
		// Symbols may or may not carry the module themselves.
		f.Name = strings.TrimSuffix(f.Name, " ["+f.Module+"]")
	}
	return f
}

// afterCall says whether the instruction before the address is a call, so that
// the address may be a return address.
func (u *Unwinder) afterCall(a uint64) bool {
	if !u.text.contains(a - 1) {
		return false
	}
	if u.arch == arch.X86_64 {
		var b [7]byte
		return u.mem.Read(a-7, b[:]) == nil && x86Call(b)
	}
	if a%4 != 0 {
		return false
	}
	in, ok := u.insn(a - 4)
	return ok && arm64Call(in)
}

// x86Call says whether the bytes can end in a call: `e8 rel32`, or `ff /2` with
// any ModRM form, with and without a REX prefix. Where the kernel has patched
// retpolines in it is always the first.
func x86Call(b [7]byte) bool {
	if b[2] == 0xe8 {
		return true
	}
	for n := 2; n <= 7; n++ { // length of `ff /2`
		i := 7 - n
		if b[i] == 0xff && b[i+1]>>3&7 == 2 && x86ModRMLen(b[i+1:]) == n-1 {
			return true
		}
	}
	return false
}

// x86ModRMLen is the length of a ModRM byte with its SIB and displacement
// (Intel SDM volume 2, tables 2-2 and 2-3).
func x86ModRMLen(b []byte) int {
	mod, rm := b[0]>>6, b[0]&7
	if mod == 3 {
		return 1
	}
	n := 1
	if rm == 4 {
		n = 2
		if len(b) > 1 && mod == 0 && b[1]&7 == 5 {
			return 6
		}
	}
	switch {
	case mod == 1:
		n++
	case mod == 2, mod == 0 && rm == 5:
		n += 4
	}
	return n
}

// arm64 instructions (Arm ARM, C4.1).
const (
	arm64RET   = 0xd65f03c0
	arm64RETAA = 0xd65f0bff
	arm64RETAB = 0xd65f0fff
)

// arm64Call says whether the instruction is BL, BLR or one of BLR's forms with
// pointer authentication.
func arm64Call(in uint32) bool {
	return in&0xfc000000 == 0x94000000 || // BL
		in&0xfffffc1f == 0xd63f0000 || // BLR
		in&0xfefff800 == 0xd63f0800 // BLRAA, BLRAB, BLRAAZ, BLRABZ
}

// arm64SavesLR says whether the instruction is `stp x29, x30, [sp, ...]`,
// arm64LoadsLR whether it is the `ldp` of the same.
func arm64SavesLR(in uint32) bool { return pairLR(in) && in&(1<<22) == 0 }
func arm64LoadsLR(in uint32) bool { return pairLR(in) && in&(1<<22) != 0 }

func pairLR(in uint32) bool {
	// opc=10, 101, V=0; the index mode is bits 23 and 24; L is bit 22.
	return in&0xfe000000 == 0xa8000000 && in>>23&3 != 0 && // not the no-allocate form
		in&0x1f == 29 && in>>10&0x1f == 30 && in>>5&0x1f == 31
}

func arm64Return(in uint32) bool {
	return in == arm64RET || in == arm64RETAA || in == arm64RETAB
}

func (u *Unwinder) insn(a uint64) (uint32, bool) {
	var b [4]byte
	if a%4 != 0 || u.mem.Read(a, b[:]) != nil {
		return 0, false
	}
	return le.Uint32(b[:]), true
}
