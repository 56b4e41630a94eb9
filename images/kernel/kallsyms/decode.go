package kallsyms

import (
	"bytes"
	"slices"

	"github.com/unwedge/unwedge/images/kernel/elf64"
)

// maxName is KSYM_NAME_LEN (512 since 6.1) and the type letter.
const maxName = 513

// maxNames bounds all names together, in bytes. Linux 7.3 has 6 MB.
const maxNames = 256 << 20

// decode expands the names, then finds the offsets and what they are relative
// to. ok is false unless the result holds together: addresses in order, and
// the symbols every kernel has.
func (l *layout) decode(b []byte, f *elf64.File) (*Table, bool) {
	syms, ok := l.expand(b)
	if !ok {
		return nil, false
	}
	for _, at := range l.offsetTables() {
		if at.off < 0 || at.off+4*l.count > len(b) {
			continue
		}
		for _, m := range []addressing{relative, absolutePercpu, pcRelative} {
			if t, ok := l.address(b, f, syms, at, m); ok {
				return t, true
			}
		}
	}
	return nil, false
}

// measure returns how many bytes all names have, each with its type before it. ok is
// false where one cannot be a symbol's.
func (l *layout) measure(b []byte) (size int, ok bool) {
	pos := l.names
	for range l.count {
		tokens, next, ok := nameAt(b, pos)
		if !ok {
			return 0, false
		}
		pos = next
		n := 0
		for _, t := range tokens {
			n += len(l.tokens[t])
		}
		if size += n; n < 2 || n > maxName || size > maxNames {
			return 0, false
		}
	}
	return size, true
}

func (l *layout) expand(b []byte) ([]Symbol, bool) {
	size, ok := l.measure(b)
	if !ok {
		return nil, false
	}
	// All names are one string: a hundred thousand of them would each cost an
	// allocation. Most tokens are short, and are copied as one word.
	const word = 8
	var short [256]uint64
	for t, text := range l.tokens {
		short[t] = le.Uint64(append(slices.Clone(text), make([]byte, word)...))
	}
	buf := make([]byte, size+word)
	ends := make([]int, l.count)
	at, pos := 0, l.names
	for i := range ends {
		tokens, next, _ := nameAt(b, pos)
		pos = next
		for _, t := range tokens {
			if n := len(l.tokens[t]); n <= word {
				le.PutUint64(buf[at:], short[t])
				at += n
				continue
			}
			at += copy(buf[at:], l.tokens[t])
		}
		ends[i] = at
	}
	all := string(buf[:size])
	syms := make([]Symbol, l.count)
	start := 0
	for i, end := range ends {
		if c := all[start]; !letter(c) && c != unknownType {
			return nil, false
		}
		syms[i] = Symbol{Type: all[start], Name: all[start+1 : end]}
		start = end
	}
	return syms, true
}

// unknownType is the type of a symbol whose section nm knows nothing of (nm(1));
// a kernel that is built with little has some.
const unknownType = '?'

func letter(c byte) bool { c |= 0x20; return c >= 'a' && c <= 'z' }

// offsetTable is one place where kallsyms_offsets may be; base is the place of
// kallsyms_relative_base that goes with it.
type offsetTable struct{ off, base int }

func (l *layout) offsetTables() []offsetTable {
	size := 4 * l.count
	behind := roundUp(l.tokenIndex+512, l.align)
	base := l.numSyms - 8
	return []offsetTable{
		{behind, roundUp(behind+size, 8)},
		{base - roundUp(size, 8), base},
	}
}

// addressing is how an entry of kallsyms_offsets becomes an address.
type addressing int

const (
	// relative: base + offset, both unsigned (arm64 until 6.19; all since
	// 6.15, kernel commit 01157ddc58dc).
	relative addressing = iota
	// absolutePercpu: entries of 0 and above are addresses, those below are
	// base - 1 - offset (CONFIG_KALLSYMS_ABSOLUTE_PERCPU: x86 SMP until 6.14).
	absolutePercpu
	// pcRelative: the entry's own address + offset (`--pc-relative` in
	// scripts/link-vmlinux.sh, since 7.0).
	pcRelative
)

// distances decodes all entries as distances from the base (from the start of
// the offsets table for pcRelative). The first fixed ones are absolute
// addresses. ok is false where they are not in order.
func distances(entries []byte, m addressing) (dist []int64, fixed int, ok bool) {
	dist = make([]int64, len(entries)/4)
	for i := range dist {
		v := int32(le.Uint32(entries[4*i:]))
		switch {
		case m == pcRelative:
			dist[i] = int64(4*i) + int64(v)
		case m == relative:
			dist[i] = int64(uint32(v))
		case v < 0:
			dist[i] = -1 - int64(v)
		case fixed == i:
			dist[i], fixed = int64(v), i+1
		default: // an absolute address behind a relative one
			return nil, 0, false
		}
	}
	ordered := slices.IsSorted(dist[:fixed]) && slices.IsSorted(dist[fixed:])
	return dist, fixed, ordered && (m != absolutePercpu || fixed < len(dist))
}

// address turns the entries into the addresses of syms and checks them.
func (l *layout) address(b []byte, f *elf64.File, syms []Symbol, at offsetTable, m addressing) (*Table, bool) {
	dist, fixed, ok := distances(b[at.off:at.off+4*l.count], m)
	if !ok {
		return nil, false
	}
	base, image, ok := bases(b, f, syms, dist, at, m)
	if !ok {
		return nil, false
	}
	for i := range syms {
		syms[i].Addr = uint64(dist[i])
		if i >= fixed {
			syms[i].Addr += base
		}
	}
	t := newTable(syms, image, f, len(b))
	return t, t.plausible(l)
}

// bases returns the address that the distances count from, and, for a raw
// Image, the address of its first byte.
func bases(b []byte, f *elf64.File, names []Symbol, dist []int64, at offsetTable, m addressing) (base, image uint64, ok bool) {
	if f != nil {
		if m == pcRelative {
			base, ok = f.Addr(uint64(at.off))
			return base, 0, ok
		}
		if at.base < 0 || at.base+8 > len(b) {
			return 0, 0, false
		}
		return le.Uint64(b[at.base:]), 0, true
	}
	if m == pcRelative {
		image, ok = imageBase(b, names, dist, int64(at.off))
		return image + uint64(at.off), image, ok
	}
	// The base is the lowest symbol, in the Image's first 2 MiB. A relocatable
	// kernel may keep the value in .rela.dyn and hold 0 in its place.
	if at.base < 0 || at.base+8 > len(b) {
		return 0, 0, false
	}
	base = le.Uint64(b[at.base:])
	if base == 0 {
		base, ok = relocated(b, func(place, target uint64) bool {
			return place-uint64(at.base) == target&^imageMask
		})
		return base, base &^ imageMask, ok
	}
	return base, base &^ imageMask, imageStart(base &^ imageMask)
}

// imageMask: an arm64 Image lies at an address aligned to 2 MiB
// (Documentation/arch/arm64/booting.rst; TEXT_OFFSET is 0 since 5.8).
const imageMask = 1<<21 - 1

func imageStart(a uint64) bool { return a>>48 == 0xffff && a&imageMask == 0 }

// relocated searches .rela.dyn of a raw arm64 Image for an
// R_AARCH64_RELATIVE entry (type 0x403) whose place and target, both
// addresses, match, and returns the target.
func relocated(b []byte, match func(place, target uint64) bool) (uint64, bool) {
	relative := []byte{0x03, 0x04, 0, 0, 0, 0, 0, 0}
	for at := 0; ; {
		i := bytes.Index(b[at:], relative)
		if i < 0 {
			return 0, false
		}
		pos := at + i
		at = pos + 1
		if pos%8 != 0 || pos < 8 || pos+16 > len(b) {
			continue
		}
		place, target := le.Uint64(b[pos-8:]), le.Uint64(b[pos+8:])
		if target>>48 == 0xffff && match(place, target) {
			return target, true
		}
	}
}

// imageBase finds the address of the first byte of an Image whose kallsyms
// knows only distances, by a word whose place and target are both symbols:
// entry 0 of arm64's sys_call_table is __arm64_sys_io_setup
// (include/uapi/asm-generic/unistd.h). The word is in place (RELR) or in
// .rela.dyn.
func imageBase(b []byte, names []Symbol, dist []int64, tableOff int64) (uint64, bool) {
	var place, target int64
	for i, s := range names {
		switch s.Name {
		case "sys_call_table":
			place = tableOff + dist[i]
		case "__arm64_sys_io_setup":
			target = tableOff + dist[i]
		}
	}
	if place <= 0 || target <= 0 || place+8 > int64(len(b)) {
		return 0, false
	}
	if v := le.Uint64(b[place:]) - uint64(target); imageStart(v) {
		return v, true
	}
	v, ok := relocated(b, func(p, t uint64) bool {
		return p-uint64(place) == t-uint64(target) && imageStart(t-uint64(target))
	})
	return v - uint64(target), ok
}

// plausible says whether the table can be a kernel's: it has start_kernel
// inside the payload, at or behind _text or _stext, and the tables it was read
// from are named where they were found, for a kernel that lists data symbols.
func (t *Table) plausible(l *layout) bool {
	start, ok := t.Lookup("start_kernel")
	if !ok {
		return false
	}
	if _, ok := t.FileOffset(start); !ok {
		return false
	}
	text, ok := t.Lookup("_text")
	if !ok {
		if text, ok = t.Lookup("_stext"); !ok {
			return false
		}
	}
	if start < text {
		return false
	}
	if names, ok := t.Lookup("kallsyms_names"); ok {
		off, ok := t.FileOffset(names)
		return ok && off == uint64(l.names)
	}
	return true
}
