package extmod

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
)

// Export is one symbol that modules may use.
type Export struct {
	// CRC is genksyms' checksum of the symbol's type, where HasCRC says so.
	CRC    uint32
	HasCRC bool
	// GPL says that only modules under a GPL-compatible licence may use it.
	GPL bool
	// Namespace must be imported by its users; "" means none.
	Namespace string
	// Owner is the module that exports it, "" the kernel itself.
	Owner string
}

// ErrNoExports says that no table of exported symbols was found in an image: it
// is no kernel, was built without CONFIG_MODULES, or is older than 5.4.
var ErrNoExports = errors.New("no table of exported symbols in the kernel image (CONFIG_MODULES off, or an unknown layout)")

// A struct kernel_symbol is three offsets, each relative to its own place: the
// value, the name and the namespace (include/linux/export.h of 5.4 to 6.4,
// export-internal.h since 6.5; CONFIG_HAVE_ARCH_PREL32_RELOCATIONS, as x86_64 and
// arm64 have it).
const (
	entrySize  = 12
	nameAt     = 4
	nspaceAt   = 8
	maxExports = 1 << 18 // a kernel has some 20,000
	maxName    = 512     // KSYM_NAME_LEN since 6.1; 128 before
)

// landmarks are symbols that every kernel with modules exports, one or the other.
var landmarks = []string{"_printk", "printk", "module_layout", "kfree"}

// ImageExports reads the symbols that a kernel exports from its unpacked image,
// with their CRCs where it has some. It needs neither section headers nor
// kallsyms, which arm64's image lacks: the tables follow one another (__ksymtab,
// before 7.0 __ksymtab_gpl, __kcrctab of each, since 7.0 __kflagstab, then
// __ksymtab_strings; include/asm-generic/vmlinux.lds.h), are sorted by name, and
// point to the strings behind them.
func ImageExports(image []byte) (map[string]Export, error) {
	for _, at := range findEntries(image) {
		t, ok := tableAround(image, at)
		if !ok {
			continue
		}
		if out, ok := t.exports(image); ok {
			return out, nil
		}
	}
	return nil, ErrNoExports
}

// findEntries returns where entries of the landmarks may be.
func findEntries(image []byte) []int {
	var names []int
	for _, l := range landmarks {
		text := []byte(l + "\x00")
		for from, n := 0, 0; n < 1000; n++ {
			i := bytes.Index(image[from:], text)
			if i < 0 {
				break
			}
			names = append(names, from+i) // also the tail of another string: the linker merges them
			from += i + 1
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	lo, hi := names[0], names[len(names)-1]
	var found []int
	for at := 0; at+entrySize <= len(image) && len(found) < 256; at += 4 {
		target := at + nameAt + int(int32(binary.LittleEndian.Uint32(image[at+nameAt:])))
		if target < lo || target > hi {
			continue
		}
		if _, ok := slices.BinarySearch(names, target); !ok {
			continue
		}
		if _, ok := readEntry(image, at); ok {
			found = append(found, at)
		}
	}
	return found
}

// entry is a struct kernel_symbol, resolved.
type entry struct {
	name, nspace string
	strings      int // the lowest place of the two
}

func readEntry(image []byte, at int) (entry, bool) {
	if at < 0 || at+entrySize > len(image) {
		return entry{}, false
	}
	nameOff := at + nameAt + int(int32(binary.LittleEndian.Uint32(image[at+nameAt:])))
	name, ok := identifier(image, nameOff)
	if !ok {
		return entry{}, false
	}
	e := entry{name: name, strings: nameOff}
	if rel := int32(binary.LittleEndian.Uint32(image[at+nspaceAt:])); rel != 0 {
		off := at + nspaceAt + int(rel)
		if e.nspace, ok = text(image, off); !ok {
			return entry{}, false
		}
		e.strings = min(e.strings, off)
	}
	return e, nameOff > at // the strings follow the tables
}

// text returns the printable NUL-terminated string at an offset.
func text(image []byte, off int) (string, bool) {
	if off < 0 || off >= len(image) {
		return "", false
	}
	b, _, ok := bytes.Cut(image[off:min(len(image), off+maxName)], []byte{0})
	if !ok || bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", false
	}
	return string(b), true
}

// identifier is text that can name a symbol in C or Rust.
func identifier(image []byte, off int) (string, bool) {
	s, ok := text(image, off)
	if !ok || s == "" || s[0] >= '0' && s[0] <= '9' {
		return "", false
	}
	return s, strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && r != '.' && r != '$' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	}) < 0
}

// table is a run of entries: one sorted list, or two behind one another.
type table struct {
	entries []entry
	end     int // offset behind the last entry
	second  int // index of the second list's first entry; len(entries) if there is one list
}

// tableAround extends from an entry in both directions as far as there are
// entries.
func tableAround(image []byte, at int) (table, bool) {
	var before, after []entry
	for p := at - entrySize; len(before) < maxExports; p -= entrySize {
		e, ok := readEntry(image, p)
		if !ok {
			break
		}
		before = append(before, e)
	}
	end := at
	for ; len(after) < maxExports; end += entrySize {
		e, ok := readEntry(image, end)
		if !ok {
			break
		}
		after = append(after, e)
	}
	slices.Reverse(before)
	all, anchor := append(before, after...), len(before)
	first, second := 0, -1
	for i := 1; i < len(all); i++ {
		if all[i-1].name <= all[i].name { // some are there twice, in 5.10 for arm64
			continue
		}
		if second >= 0 && i > anchor { // what follows is no table
			end -= entrySize * (len(all) - i)
			all = all[:i]
			break
		}
		if second >= 0 {
			first = second
		}
		second = i
	}
	if second < 0 {
		second = len(all)
	}
	return table{entries: all[first:], end: end, second: second - first}, len(all)-first > 1
}

// maxTrim is how many entries at the end may be none, but look like it.
const maxTrim = 8

// exports reads what lies between the entries and the strings: nothing, a CRC for
// each entry, a byte of flags for each, or both. What fits exactly is preferred.
func (t table) exports(image []byte) (map[string]Export, bool) {
	for trim := range min(maxTrim, len(t.entries)-1) {
		s := t
		s.entries = t.entries[:len(t.entries)-trim]
		s.end -= trim * entrySize
		if out, ok := s.fit(image, 0); ok {
			return out, true
		}
	}
	return t.fit(image, min(len(t.entries)/2, maxSlack))
}

// maxSlack bounds what may be between the tables and the first string that is
// used, in bytes: alignment, and strings that nobody points to.
const maxSlack = 1024

// fit reads the tables where their sizes agree with the place of the strings, give
// or take slack bytes.
func (t table) fit(image []byte, slack int) (map[string]Export, bool) {
	n, lowest := len(t.entries), len(image)
	for _, e := range t.entries {
		lowest = min(lowest, e.strings)
	}
	gap := lowest - t.end
	about := func(size int) bool { return gap >= size && gap <= size+slack }
	crcs, flags := -1, -1
	switch {
	case about(0):
	case about(n):
		flags = t.end
	case about(4 * n):
		crcs = t.end
	case about(5 * n):
		crcs, flags = t.end, t.end+4*n
	default:
		return nil, false
	}
	out := make(map[string]Export, n)
	for i, e := range t.entries {
		x := Export{Namespace: e.nspace, GPL: i >= t.second}
		if flags >= 0 {
			x.GPL = image[flags+i]&1 != 0 // KSYM_FLAG_GPL_ONLY, include/linux/module_symbol.h
		}
		if crcs >= 0 {
			x.CRC, x.HasCRC = binary.LittleEndian.Uint32(image[crcs+4*i:]), true
		}
		if _, dup := out[e.name]; !dup { // the kernel looks in the first list first
			out[e.name] = x
		}
	}
	return out, true
}
