package object

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"io"
	"slices"
	"strings"

	"github.com/mikelolasagasti/xz"

	"github.com/unwedge/unwedge/images/kernel/elf64"
)

// Symbols are the functions of an object at their link-time addresses, in order.
type Symbols []Symbol

// Symbol is one function. Size is 0 where that is not known.
type Symbol struct {
	Addr, Size uint64
	Name       string
	global     bool
}

// Find returns the function that a link-time address is in.
func (s Symbols) Find(addr uint64) (Symbol, bool) {
	i, _ := slices.BinarySearchFunc(s, addr, func(y Symbol, a uint64) int {
		if y.Addr <= a {
			return -1
		}
		return 1
	})
	if i == 0 {
		return Symbol{}, false
	}
	y := s[i-1]
	if y.Size != 0 && addr-y.Addr >= y.Size || y.Size == 0 && i == len(s) {
		return Symbol{}, false
	}
	return y, true
}

// Symbols returns the object's functions: those of .symtab where the file has
// it, else of .gnu_debugdata, and those of .dynsym. There may be none.
func (o *Object) Symbols() Symbols {
	if !o.read {
		all := o.symtab()
		if all == nil {
			all = o.debugdata()
		}
		all = append(all, o.dynsym()...)
		if o.Go {
			all = append(all, o.goFunctions()...)
		}
		o.SetSymbols(tidy(all))
	}
	return o.symbols
}

// SetSymbols gives the functions, as read from the same file before.
func (o *Object) SetSymbols(s Symbols) { o.symbols, o.read = s, true }

// tidy sorts symbols and leaves one name for each address.
func tidy(all Symbols) Symbols {
	slices.SortFunc(all, func(a, b Symbol) int {
		if a.Addr != b.Addr {
			return cmp.Compare(a.Addr, b.Addr)
		}
		if c := cmp.Compare(underscores(a.Name), underscores(b.Name)); c != 0 {
			return c
		}
		if a.global != b.global {
			if a.global {
				return -1
			}
			return 1
		}
		return cmp.Or(-cmp.Compare(a.Size, b.Size), cmp.Compare(a.Name, b.Name))
	})
	return slices.CompactFunc(all, func(a, b Symbol) bool { return a.Addr == b.Addr })
}

func underscores(name string) int { return len(name) - len(strings.TrimLeft(name, "_")) }

var le = binary.LittleEndian

// functions reads a symbol table.
func functions(table, names []byte) Symbols {
	var out Symbols
	left := maxSymbols
	for ; len(table) >= elf.Sym64Size; table = table[elf.Sym64Size:] {
		// struct Elf64_Sym: name, info, other, shndx, value, size.
		name, info, shndx := le.Uint32(table), table[4], le.Uint16(table[6:])
		value, size := le.Uint64(table[8:]), le.Uint64(table[16:])
		if t := elf.ST_TYPE(info); shndx == 0 || value == 0 || t != elf.STT_FUNC && t != elf.STT_GNU_IFUNC {
			continue
		}
		if name, ok := cString(names, uint64(name)); ok {
			if left -= len(name); left < 0 { // they overlap
				break
			}
			out = append(out, Symbol{value, size, name, elf.ST_BIND(info) != elf.STB_LOCAL})
		}
	}
	return out
}

func (o *Object) dynsym() Symbols {
	tab, ok1 := o.addr(elf.DT_SYMTAB)
	str, ok2 := o.addr(elf.DT_STRTAB)
	size, ok3 := o.dyn[elf.DT_STRSZ]
	n := o.dynCount()
	if !ok1 || !ok2 || !ok3 || size > maxSymbols || n*elf.Sym64Size > maxSymbols {
		return nil
	}
	return functions(sparse(o.mem, tab, n*elf.Sym64Size), sparse(o.mem, str, size))
}

// dynCount is how many symbols .dynsym has: the chain of the last bucket of
// the hash table ends with the last of them.
func (o *Object) dynCount() uint64 {
	const most = maxSymbols / elf.Sym64Size
	word := func(at uint64) uint64 {
		var b [4]byte
		if o.mem.Read(at, b[:]) != nil {
			return 0
		}
		return uint64(le.Uint32(b[:]))
	}
	if at, ok := o.addr(elf.DT_HASH); ok {
		return min(word(at+4), most)
	}
	at, ok := o.addr(elf.DT_GNU_HASH)
	if !ok {
		return 0
	}
	buckets, first, bloom := word(at), word(at+4), word(at+8)
	if buckets > most || bloom > most {
		return 0
	}
	table := at + 16 + 8*bloom
	last := uint64(0)
	for b := sparse(o.mem, table, 4*buckets); len(b) > 0; b = b[4:] {
		last = max(last, uint64(le.Uint32(b)))
	}
	if last < first {
		return first
	}
	for chain := table + 4*buckets; last < most; last++ {
		if v := word(chain + 4*(last-first)); v&1 != 0 || v == 0 {
			break
		}
	}
	return min(last+1, most)
}

// debugdata reads .gnu_debugdata: an ELF file with a symbol table and little
// else, compressed with xz (GDB's manual, "MiniDebugInfo").
func (o *Object) debugdata() Symbols {
	s, ok := o.section(".gnu_debugdata")
	if !ok || s.Size > maxSymbols {
		return nil
	}
	packed, err := o.contents(s)
	if err != nil {
		return nil
	}
	r, err := xz.NewReader(bytes.NewReader(packed), maxSymbols)
	if err != nil {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(r, maxSymbols))
	if err != nil || len(b) < 64 || !elf64.Is(b) {
		return nil
	}
	inner := &Object{file: bytes.NewReader(b)}
	decode(b[:64], &inner.header)
	return inner.symtab()
}

func (o *Object) symtab() Symbols {
	for _, s := range o.sections() {
		if elf.SectionType(s.Type) != elf.SHT_SYMTAB {
			continue
		}
		names, ok := o.sectionAt(uint64(s.Link))
		if !ok || s.Size > maxSymbols || names.Size > maxSymbols {
			return nil
		}
		table, err1 := o.contents(s)
		text, err2 := o.contents(names)
		if err1 != nil || err2 != nil {
			return nil
		}
		return functions(table, text)
	}
	return nil
}

// pclntab's magic numbers (internal/abi/symtab.go): of Go 1.18 and 1.20, with
// the same layout as far as it is read here. debug/gosym reads it, too, but
// makes strings as long and as many as the table asks for.
const (
	pclntab118 = 0xfffffff0
	pclntab120 = 0xfffffff1
)

// goFunctions reads .gopclntab, which every Go program has, stripped or not.
func (o *Object) goFunctions() Symbols {
	table, ok1 := o.section(".gopclntab")
	text, ok2 := o.section(".text")
	if !ok1 || !ok2 || table.Size > maxSymbols {
		return nil
	}
	b, err := o.contents(table)
	if err != nil || len(b) < 8+8*8 || b[7] != 8 || le.Uint32(b) != pclntab118 && le.Uint32(b) != pclntab120 {
		return nil
	}
	header := func(i int) uint64 { return le.Uint64(b[8+8*i:]) }
	count, names, funcs := header(0), header(3), header(7)
	size := uint64(len(b))
	if names > size || funcs > size || count > (size-funcs)/8 {
		return nil
	}
	var out Symbols
	left := maxSymbols
	for i := range count {
		e := funcs + 8*i // two 32-bit words: of the code, and of struct _func
		if e+12 > size {
			break
		}
		start, fn, end := uint64(le.Uint32(b[e:])), funcs+uint64(le.Uint32(b[e+4:])), uint64(le.Uint32(b[e+8:]))
		if fn+8 > size || end <= start {
			continue
		}
		name, ok := cString(b[names:], uint64(le.Uint32(b[fn+4:])))
		if left -= len(name); left < 0 {
			break
		}
		if ok {
			out = append(out, Symbol{text.Addr + start, end - start, name, true})
		}
	}
	return out
}

// sections reads the section headers, which are in the file alone.
func (o *Object) sections() []elf.Section64 {
	n := int(o.header.Shnum)
	if o.file == nil || o.header.Shentsize != 64 || n == 0 || n > maxSections || o.header.Shoff > 1<<40 {
		return nil
	}
	b := make([]byte, 64*n)
	if n, _ := o.file.ReadAt(b, int64(o.header.Shoff)); n < len(b) {
		return nil
	}
	out := make([]elf.Section64, n)
	decode(b, out)
	return out
}

func (o *Object) sectionAt(i uint64) (elf.Section64, bool) {
	all := o.sections()
	if i >= uint64(len(all)) {
		return elf.Section64{}, false
	}
	return all[i], true
}

func (o *Object) section(name string) (elf.Section64, bool) {
	names, ok := o.sectionAt(uint64(o.header.Shstrndx))
	if !ok || names.Size > maxSymbols {
		return elf.Section64{}, false
	}
	text, err := o.contents(names)
	if err != nil {
		return elf.Section64{}, false
	}
	for _, s := range o.sections() {
		if got, _ := cString(text, uint64(s.Name)); got == name {
			return s, true
		}
	}
	return elf.Section64{}, false
}

func (o *Object) contents(s elf.Section64) ([]byte, error) {
	b := make([]byte, s.Size)
	if n, err := o.file.ReadAt(b, int64(min(s.Off, 1<<40))); n < len(b) {
		return nil, err
	}
	return b, nil
}
