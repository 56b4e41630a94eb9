// Package kallsyms decodes the symbol table that a kernel carries in itself
// (CONFIG_KALLSYMS), from the unpacked kernel alone: no System.map, no debug
// information, no running guest.
//
// The tables are written by scripts/kallsyms.c and read by kernel/kallsyms.c.
// Their order and encoding changed over time; see find.go and decode.go.
package kallsyms

import (
	"cmp"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/unwedge/unwedge/images/kernel/elf64"
)

// ErrNotFound says that no kallsyms tables were found in the payload: the
// kernel was built without CONFIG_KALLSYMS, or with an unknown layout.
var ErrNotFound = errors.New("no kallsyms tables found (CONFIG_KALLSYMS off, or an unknown layout)")

// Symbol is one kernel symbol.
type Symbol struct {
	// Addr is the link-time address: where the kernel lies with nokaslr.
	Addr uint64
	Name string
	// Type is nm's letter: T and t are text, D, d, B, b, R, r data.
	Type byte
}

// IsText says whether nm would call the symbol a text symbol, weak included.
func (s Symbol) IsText() bool { return strings.IndexByte("TtWw", s.Type) >= 0 }

// Table is a kernel's symbol table. It may be used by many goroutines.
type Table struct {
	syms   []Symbol // in the kernel's own order: by address
	base   uint64   // address of the payload's first byte, for raw Images
	elf    *elf64.File
	size   uint64
	byName func() *index
}

func newTable(syms []Symbol, base uint64, f *elf64.File, size int) *Table {
	t := &Table{syms: syms, base: base, elf: f, size: uint64(size)}
	t.byName = sync.OnceValue(func() *index { return newIndex(syms) })
	return t
}

// Len is the number of symbols.
func (t *Table) Len() int { return len(t.syms) }

// All yields the symbols in order of their addresses.
func (t *Table) All() iter.Seq[Symbol] { return slices.Values(t.syms) }

// Lookup returns the address of the symbol of exactly that name; of the first
// one where static symbols share a name.
func (t *Table) Lookup(name string) (addr uint64, ok bool) {
	i, ok := t.byName().find(t.syms, name)
	if !ok {
		return 0, false
	}
	return t.syms[i].Addr, true
}

// LookupAll returns every symbol of exactly that name.
func (t *Table) LookupAll(name string) []Symbol {
	var out []Symbol
	for _, s := range t.syms {
		if s.Name == name {
			out = append(out, s)
		}
	}
	return out
}

// Variants returns the symbols a compiler made out of a function: its name
// with a suffix, such as foo.isra.0, foo.constprop.0, foo.cold, foo.part.0.
func (t *Table) Variants(name string) []Symbol {
	var out []Symbol
	for _, s := range t.syms {
		if strings.HasPrefix(s.Name, name) && strings.HasPrefix(s.Name[len(name):], ".") {
			out = append(out, s)
		}
	}
	return out
}

// Nearest returns the symbol that an address lies in: its name, the address's
// offset into it, and its size (the distance to the next symbol). ok is false
// for an address outside all symbols.
func (t *Table) Nearest(addr uint64) (name string, off, size uint64, ok bool) {
	i, found := slices.BinarySearchFunc(t.syms, addr, func(s Symbol, a uint64) int { return cmp.Compare(s.Addr, a) })
	if !found {
		if i == 0 {
			return "", 0, 0, false
		}
		i--
		// Like kernel/kallsyms.c get_symbol_pos: the first of aliases.
		for i > 0 && t.syms[i-1].Addr == t.syms[i].Addr {
			i--
		}
	}
	s := t.syms[i]
	size, ok = t.sizeAt(s.Addr)
	if !ok || addr-s.Addr >= size {
		return "", 0, 0, false
	}
	return s.Name, addr - s.Addr, size, true
}

// Size returns the distance from a symbol's address to the next higher symbol.
func (t *Table) Size(addr uint64) (uint64, bool) { return t.sizeAt(addr) }

func (t *Table) sizeAt(addr uint64) (uint64, bool) {
	j, _ := slices.BinarySearchFunc(t.syms, addr+1, func(s Symbol, a uint64) int { return cmp.Compare(s.Addr, a) })
	if j == len(t.syms) {
		return 0, false
	}
	return t.syms[j].Addr - addr, true
}

// FileOffset returns where in the payload the byte of an address is: through
// the program headers of an ELF file, or by the distance to _text in a raw
// arm64 Image.
func (t *Table) FileOffset(addr uint64) (uint64, bool) {
	if t.elf != nil {
		return t.elf.FileOffset(addr)
	}
	off := addr - t.base
	return off, addr >= t.base && off < t.size
}
