package unwind

import (
	"cmp"
	"errors"
	"slices"
	"sort"
	"strings"
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
	return u.isa.AfterCall(u.mem, a)
}
