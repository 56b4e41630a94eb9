package kallsyms

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/images/kernel/elf64"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// The order in which scripts/kallsyms.c writes its tables:
//
//	before 6.4  offsets relative_base num_syms names markers [seqs_of_names] token_table token_index
//	since 6.4   num_syms names markers token_table token_index offsets relative_base seqs_of_names
//	since 7.0   as before, without relative_base, each table aligned to 4 bytes instead of 8
//
// seqs_of_names (6.2 and later) is not needed to decode the rest. What never
// changed, and is searched for: token_table is 256 NUL-terminated strings,
// token_index their 256 offsets as u16, and markers the offset in names of
// every 256th symbol.

var le = binary.LittleEndian

const (
	maxSymbols  = 4 << 20
	minSymbols  = 16        // a real kernel has 40,000 and more
	maxBack     = 64 << 20  // bytes between num_syms and token_table
	maxSteps    = 128 << 20 // bound on the search's work, for hostile input
	maxTokenLen = 512
)

// layout is where the tables are, as offsets into the payload.
type layout struct {
	numSyms, names         int
	tokenTable, tokenIndex int
	tokens                 [256][]byte
	count                  int // symbols
	align                  int // of each table, bytes
	machine                machine
}

// machine is what an architecture's kernels differ in.
type machine struct {
	arch arch.Arch
	// elf says that the unpacked kernel is an ELF file, not a raw Image.
	elf bool
	// bases returns the address that the distances count from, and, for a raw
	// Image, the address of its first byte.
	bases func(b []byte, f *elf64.File, names []Symbol, dist []int64, at offsetTable, m addressing) (base, image uint64, ok bool)
}

// machines has a row for each architecture, in a file of its own.
var machines = []machine{x86_64, aarch64}

// Parse finds and decodes the tables in the unpacked kernel: an ELF vmlinux
// for x86_64, a raw Image for aarch64. The table refers to the payload.
func Parse(payload []byte, a arch.Arch) (*Table, error) {
	i := slices.IndexFunc(machines, func(m machine) bool { return m.arch == a })
	if i < 0 {
		return nil, fmt.Errorf("read kallsyms: unknown architecture %q", a)
	}
	var f *elf64.File
	if machines[i].elf {
		var err error
		if f, err = elf64.Parse(payload); err != nil {
			return nil, fmt.Errorf("read kallsyms: %w", err)
		}
	}
	steps := maxSteps
	digits := []byte("0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00")
	for at := 0; steps > 0; {
		next := bytes.Index(payload[at:], digits)
		if next < 0 {
			break
		}
		at += next + len(digits)
		l, ok := findTokens(payload, at-len(digits))
		if !ok || !l.findNames(payload, &steps) {
			continue
		}
		l.machine = machines[i]
		if t, ok := l.decode(payload, f); ok {
			return t, nil
		}
	}
	return nil, ErrNotFound
}

// findTokens finds token_table and token_index around the strings of the ten
// digits. Every digit occurs in symbol names, so its token is itself, at its
// own ASCII code (scripts/kallsyms.c, insert_real_symbols_in_table).
func findTokens(b []byte, zero int) (*layout, bool) {
	end := zero
	for range 256 - '0' {
		i := bytes.IndexByte(b[end:min(end+maxTokenLen, len(b))], 0)
		if i < 0 {
			return nil, false
		}
		end += i + 1
	}
	for _, align := range []int{4, 8} {
		l := &layout{tokenIndex: roundUp(end, align)}
		if l.readTokens(b, zero) {
			return l, true
		}
	}
	return nil, false
}

func (l *layout) readTokens(b []byte, zero int) bool {
	if l.tokenIndex+512 > len(b) {
		return false
	}
	index := b[l.tokenIndex:]
	l.tokenTable = zero - int(le.Uint16(index[2*'0':]))
	if l.tokenTable < 0 || le.Uint16(index) != 0 {
		return false
	}
	pos := l.tokenTable
	for i := range l.tokens {
		if pos >= l.tokenIndex || int(le.Uint16(index[2*i:])) != pos-l.tokenTable {
			return false
		}
		n := bytes.IndexByte(b[pos:l.tokenIndex], 0)
		if n < 0 {
			return false
		}
		l.tokens[i] = b[pos : pos+n]
		pos += n + 1
	}
	return true
}

// findNames searches backwards from token_table for num_syms: a plausible
// count, behind it that many names, behind those the markers that agree.
func (l *layout) findNames(b []byte, steps *int) bool {
	for pos := (l.tokenTable - 8) &^ 3; pos >= max(0, l.tokenTable-maxBack) && *steps > 0; pos -= 4 {
		*steps--
		n := int(le.Uint32(b[pos:]))
		if n < minSymbols || n > maxSymbols || 2*n > l.tokenTable-pos {
			continue
		}
		for _, align := range []int{4, 8} {
			if pos%align == 0 && l.tryNames(b, pos, align, n, steps) {
				return true
			}
		}
	}
	return false
}

func (l *layout) tryNames(b []byte, numSyms, align, n int, steps *int) bool {
	names := numSyms + align
	if le.Uint32(b[names:]) == 0 {
		return false
	}
	marks := make([]uint32, 0, 64)
	pos := names
	for i := range n {
		if i&0xff == 0 {
			marks = append(marks, uint32(pos-names))
		}
		_, next, ok := nameAt(b[:l.tokenTable], pos)
		if *steps--; !ok || *steps <= 0 {
			return false
		}
		pos = next
	}
	if !marksAt(b[:l.tokenTable], roundUp(pos, align), marks) {
		return false
	}
	l.numSyms, l.names, l.align, l.count = numSyms, names, align, n
	return true
}

func marksAt(b []byte, at int, marks []uint32) bool {
	if at+4*len(marks) > len(b) {
		return false
	}
	for i, m := range marks {
		if le.Uint32(b[at+4*i:]) != m {
			return false
		}
	}
	return true
}

// nameAt returns the token bytes of the name at a position, and the position
// behind it. The length is one byte, or two as ULEB128 since 6.1 (kernel
// commit 73bbb94466fd).
func nameAt(b []byte, pos int) (tokens []byte, next int, ok bool) {
	if pos+2 > len(b) {
		return nil, 0, false
	}
	n := int(b[pos])
	pos++
	if n&0x80 != 0 {
		n = n&0x7f | int(b[pos])<<7
		pos++
	}
	if n == 0 || n > maxTokenLen || pos+n > len(b) {
		return nil, 0, false
	}
	return b[pos : pos+n], pos + n, true
}

func roundUp(n, align int) int { return (n + align - 1) &^ (align - 1) }
