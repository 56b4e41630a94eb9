package modules

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/unwind"
)

// Symbols are the kernel's symbols and those of its modules, at run-time
// addresses. A module's are read when the first of them is asked for. Not safe
// for concurrent use.
type Symbols struct {
	kernel unwind.Symbols
	l      *Layout
	k      *locate.Kernel
	mods   []Module
	tables map[int][]symbol // by index in mods, in order of addresses
	data   map[int][]symbol // those of data
}

type symbol struct {
	addr uint64
	name string
}

// NewSymbols adds the modules' symbols to the kernel's own, which are at
// run-time addresses.
func NewSymbols(kernel unwind.Symbols, l *Layout, k *locate.Kernel, mods []Module) *Symbols {
	return &Symbols{kernel: kernel, l: l, k: k, mods: mods, tables: map[int][]symbol{}, data: map[int][]symbol{}}
}

// Lookup returns the address of a symbol of the kernel's own.
func (s *Symbols) Lookup(name string) (uint64, bool) { return s.kernel.Lookup(name) }

// Nearest returns the symbol that an address lies in.
func (s *Symbols) Nearest(addr uint64) (name string, off, size uint64, ok bool) {
	for i := range s.mods {
		for _, r := range s.mods[i].Text {
			if r.Contains(addr) {
				return s.inModule(i, r, addr)
			}
		}
	}
	return s.kernel.Nearest(addr)
}

// inModule is find_kallsyms_symbol (kernel/module/kallsyms.c): a symbol reaches
// to the next one, the last to the end of the code.
func (s *Symbols) inModule(i int, text unwind.Range, addr uint64) (name string, off, size uint64, ok bool) {
	tab, read := s.tables[i]
	if !read {
		tab = s.l.readSymbols(s.k, &s.mods[i], s.mods[i].Text)
		s.tables[i] = tab
	}
	at, found := slices.BinarySearchFunc(tab, addr, func(y symbol, a uint64) int { return cmp.Compare(y.addr, a) })
	if !found {
		at--
	}
	if at < 0 || tab[at].addr < text.Start {
		return "", 0, 0, false
	}
	end := text.End
	if at+1 < len(tab) {
		end = min(end, tab[at+1].addr)
	}
	return tab[at].name, addr - tab[at].addr, end - tab[at].addr, true
}

// The bounds of a module's symbol table, and its entry (Elf64_Sym).
const (
	maxSymbols = 1 << 17
	maxNames   = 4 << 20
	maxName    = 512
	symSize    = 24
)

// Data names an address in a module's data by the symbol before it, of which the
// kernel keeps no size: `name [module]`, and how far behind the address is.
func (s *Symbols) Data(addr uint64) (name string, off uint64, ok bool) {
	for i := range s.mods {
		m := &s.mods[i]
		if !holds(m.data, addr) {
			continue
		}
		tab, read := s.data[i]
		if !read {
			tab = s.l.readSymbols(s.k, m, m.data)
			s.data[i] = tab
		}
		at, found := slices.BinarySearchFunc(tab, addr, func(y symbol, a uint64) int { return cmp.Compare(y.addr, a) })
		if !found {
			at--
		}
		if at < 0 {
			return "", 0, false
		}
		return tab[at].name + " [" + m.Name + "]", addr - tab[at].addr, true
	}
	return "", 0, false
}

// readSymbols reads a module's symbols that lie in the ranges; none where they
// cannot be read.
func (l *Layout) readSymbols(k *locate.Kernel, m *Module, in []unwind.Range) []symbol {
	if m.kallsyms == 0 {
		return nil
	}
	tabAddr, err1 := k.Space.Uint64(m.kallsyms + l.symtab.Off)
	n, err2 := k.Space.Uint(m.kallsyms+l.numSymtab.Off, int(min(l.numSymtab.Size, 8)))
	strAddr, err3 := k.Space.Uint64(m.kallsyms + l.strtab.Off)
	if err1 != nil || err2 != nil || err3 != nil || n > maxSymbols {
		return nil
	}
	tab := make([]byte, n*symSize)
	if k.Space.Read(tabAddr, tab) != nil {
		return nil
	}
	le := binary.LittleEndian
	var out []symbol
	names := &names{k: k, addr: strAddr}
	for i := range int(n) {
		e := tab[i*symSize:]
		addr := le.Uint64(e[8:])
		if le.Uint16(e[6:]) == 0 || !holds(in, addr) { // undefined, or elsewhere
			continue
		}
		// Names as $x and .L1 are the compiler's marks (is_mapping_symbol).
		name := names.at(le.Uint32(e))
		if name == "" || name[0] == '$' || strings.HasPrefix(name, ".L") {
			continue
		}
		out = append(out, symbol{addr, name})
	}
	slices.SortStableFunc(out, func(a, b symbol) int { return cmp.Compare(a.addr, b.addr) })
	return slices.CompactFunc(out, func(a, b symbol) bool { return a.addr == b.addr })
}

func holds(in []unwind.Range, addr uint64) bool {
	return slices.ContainsFunc(in, func(r unwind.Range) bool { return r.Contains(addr) })
}

// names reads a string table page by page, since it has no size of its own.
type names struct {
	k    *locate.Kernel
	addr uint64
	b    []byte
	end  bool
}

func (n *names) at(off uint32) string {
	const chunk = 4096
	for uint64(len(n.b)) < uint64(off)+maxName && len(n.b) < maxNames && !n.end {
		at := n.addr + uint64(len(n.b))
		b := make([]byte, chunk-at%chunk)
		if n.k.Space.Read(at, b) != nil {
			n.end = true
			break
		}
		n.b = append(n.b, b...)
	}
	if uint64(off) >= uint64(len(n.b)) {
		return ""
	}
	s, _, ok := strings.Cut(string(n.b[off:min(int(off)+maxName, len(n.b))]), "\x00")
	if !ok {
		return ""
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return fmt.Sprintf("symbol_%d", off)
		}
	}
	return s
}
