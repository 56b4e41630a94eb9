package kallsyms

import (
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
	base, image, ok := l.machine.bases(b, f, syms, dist, at, m)
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
