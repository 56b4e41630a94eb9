package unwind

import (
	"errors"
	"fmt"
	"slices"
	"sort"
)

// The kernel's ORC tables: one int32 for each entry in .orc_unwind_ip, the
// distance from itself to the code the entry begins at, and 6 bytes in
// .orc_unwind: int16 sp_offset, int16 bp_offset, then bit fields. They are
// sorted by code address at build time since 5.6 (f14bf6a350df), by the
// kernel's own start-up before.
//
// Sources: arch/x86/include/asm/orc_types.h and arch/x86/kernel/unwind_orc.c
// of 5.10, 6.1, 6.3, 6.12, 6.19; the last layout was also read off the tables
// of 7.3, which agree with it in every entry.
const (
	orcEntrySize = 6
	maxORC       = 4 << 20 // entries; a distribution's kernel has 0.5 million
)

// orcReg is a base register, by its meaning.
type orcReg uint8

const (
	regUndefined orcReg = iota
	regPrevSP
	regAX
	regDX
	regDI
	regBP
	regSP
	regR10
	regR13
	regBPIndirect
	regSPIndirect
	regUnknown
)

type orcType uint8

const (
	typeUndefined orcType = iota
	typeEnd
	typeCall
	typeRegs
	typeRegsPartial
	typeUnknown
)

// orcEntry says how to find the caller from a piece of code.
type orcEntry struct {
	spOff, bpOff int16
	sp, bp       orcReg
	typ          orcType
	// signal says that addresses found on the stack by this entry are of
	// interrupted instructions, not return addresses.
	signal bool
}

// orcLayout is one of the forms the bit fields have had.
type orcLayout struct {
	name string
	regs [16]orcReg
	// types maps the type field; typeBits wide.
	types    []orcType
	signal   uint16 // bit, 0 for none: interrupted where the type is not call
	end      uint16 // bit: the end of the stack where there is no base register
	typeMask uint16
}

var (
	regsOld = [16]orcReg{regUndefined, regPrevSP, regDX, regDI, regBP, regSP, regR10, regR13,
		regBPIndirect, regSPIndirect, regAX, regUnknown, regUnknown, regUnknown, regUnknown, regUnknown}
	regsNew = [16]orcReg{regUndefined, regAX, regDX, regSP, regBP, regDI, regR10, regR13,
		regPrevSP, regSPIndirect, regBPIndirect, regUnknown, regUnknown, regUnknown, regUnknown, regUnknown}
	types2 = []orcType{typeCall, typeRegs, typeRegsPartial, typeUnknown}
	types3 = []orcType{typeUndefined, typeEnd, typeCall, typeRegs, typeRegsPartial,
		typeUnknown, typeUnknown, typeUnknown}
)

// The layouts. sp_reg and bp_reg are the two low nibbles of the fields in all.
var (
	layout510 = orcLayout{name: "layout of 4.14 to 6.2", regs: regsOld, types: types2, typeMask: 3, end: 1 << 10}
	layout63  = orcLayout{name: "layout of 6.3", regs: regsOld, types: types2, typeMask: 3, signal: 1 << 10, end: 1 << 11}
	layout64  = orcLayout{name: "layout of 6.4 to 6.19", regs: regsOld, types: types3, typeMask: 7, signal: 1 << 11}
	layout7   = orcLayout{name: "layout of 7.x", regs: regsNew, types: types3, typeMask: 7, signal: 1 << 11}
)

func (l *orcLayout) decode(b []byte) orcEntry {
	f := le.Uint16(b[4:])
	e := orcEntry{
		spOff: int16(le.Uint16(b)), bpOff: int16(le.Uint16(b[2:])),
		sp: l.regs[f&15], bp: l.regs[f>>4&15],
		typ: l.types[f>>8&l.typeMask],
	}
	switch {
	case l.end != 0 && f&15 == 0 && f&l.end != 0:
		e.typ = typeEnd
	case l.end != 0 && f&15 == 0:
		e.typ = typeUndefined
	}
	if l.signal != 0 {
		e.signal = f&l.signal != 0
	} else {
		e.signal = e.typ == typeRegs || e.typ == typeRegsPartial
	}
	return e
}

// chooseLayout tells the layouts apart by the tables' own content, which a
// backport or a vendor's version string cannot falsify. Nearly all entries are
// calls with the frame based on SP: the type field that goes with them is 0 up
// to 6.3 and 2 since, and SP is 5, or 3 in the newest numbering. 6.3 differs
// from its forerunners by the bit that marks the end of the stack, in entries
// without a base register.
func chooseLayout(entries []byte) (*orcLayout, error) {
	var n, call0, call2, sp3, sp5, end10, end11 int
	for e := range slices.Chunk(entries, orcEntrySize) {
		f := le.Uint16(e[4:])
		n++
		switch {
		case f&15 == 0 && f&(1<<10) != 0:
			end10++
		case f&15 == 0 && f&(1<<11) != 0:
			end11++
		case f&15 == 0:
		case f>>8&7 == 0:
			call0++
		case f>>8&7 == 2:
			call2++
		}
		switch f & 15 {
		case 3:
			sp3++
		case 5:
			sp5++
		}
	}
	most := func(a, b int) bool { return a > 8*b && a > n/4 }
	switch {
	case most(call2, call0) && most(sp3, sp5):
		return &layout7, nil
	case most(call2, call0) && most(sp5, sp3):
		return &layout64, nil
	case most(call0, call2) && most(sp5, sp3) && end11 > end10:
		return &layout63, nil
	case most(call0, call2) && most(sp5, sp3):
		return &layout510, nil
	}
	return nil, errors.New("the entries of the ORC table have no layout that is known")
}

// orcTable is a decoded, sorted table.
type orcTable struct {
	ips     []uint64
	entries []orcEntry
}

func (t *orcTable) find(ip uint64) (orcEntry, bool) {
	i, found := slices.BinarySearch(t.ips, ip)
	if !found {
		i--
	}
	if i < 0 {
		return orcEntry{}, false
	}
	// The rightmost of duplicates: those before are section terminators, which
	// only fill gaps.
	for i+1 < len(t.ips) && t.ips[i+1] == t.ips[i] {
		i++
	}
	return t.entries[i], true
}

// Len, Less and Swap sort the table; a terminator goes before the real entry of
// the same address.
func (t *orcTable) Len() int { return len(t.ips) }
func (t *orcTable) Less(i, j int) bool {
	if t.ips[i] != t.ips[j] {
		return t.ips[i] < t.ips[j]
	}
	return t.entries[i].typ == typeUndefined && t.entries[j].typ != typeUndefined
}
func (t *orcTable) Swap(i, j int) {
	t.ips[i], t.ips[j] = t.ips[j], t.ips[i]
	t.entries[i], t.entries[j] = t.entries[j], t.entries[i]
}

// orcTables are the kernel's table and those of its modules.
type orcTables struct {
	layout  *orcLayout
	kernel  orcTable
	modules []orcTable // as codeMap.modules; empty where a module has none
}

// find returns the entry of a code address.
func (t *orcTables) find(m *codeMap, ip uint64) (orcEntry, bool) {
	if ip == 0 {
		// A call through a null pointer: the return address is all there is.
		return orcEntry{sp: regSP, spOff: 8, typ: typeCall}, true
	}
	if m.inKernel(ip) {
		return t.kernel.find(ip)
	}
	if i := m.module(ip); i >= 0 && i < len(t.modules) {
		return t.modules[i].find(ip)
	}
	return orcEntry{}, false
}

func loadORC(c Config) (*orcTables, error) {
	var a [4]uint64
	for i, name := range []string{"__start_orc_unwind_ip", "__stop_orc_unwind_ip", "__start_orc_unwind", "__stop_orc_unwind"} {
		var ok bool
		if a[i], ok = c.Symbols.Lookup(name); !ok {
			return nil, fmt.Errorf("the kernel has no symbol %s", name)
		}
	}
	n := (a[1] - a[0]) / 4
	if a[1] <= a[0] || n > maxORC || a[3]-a[2] != n*orcEntrySize {
		return nil, errors.New("the symbols around the ORC tables do not fit each other")
	}
	var t *orcTables
	err := errors.New("no memory to read from")
	for _, m := range []Memory{c.Memory, c.Image} {
		if m == nil {
			continue
		}
		var e error
		if t, e = readORC(m, a[0], a[2], int(n), nil); e == nil {
			err = nil
			break
		}
		err = e
	}
	if err != nil {
		return nil, err
	}
	t.modules = make([]orcTable, len(c.Modules))
	for i, m := range c.Modules {
		if m.ORCCount <= 0 || m.ORCCount > maxORC/8 {
			continue
		}
		// A module whose tables cannot be read is one without them.
		if mt, err := readORC(c.Memory, m.ORCIP, m.ORC, m.ORCCount, t.layout); err == nil {
			t.modules[i] = mt.kernel
		}
	}
	return t, nil
}

// readORC reads one pair of tables; the layout is found where none is given.
func readORC(m Memory, ipAddr, entAddr uint64, n int, l *orcLayout) (*orcTables, error) {
	ips, ents := make([]byte, n*4), make([]byte, n*orcEntrySize)
	if err := m.Read(ipAddr, ips); err != nil {
		return nil, fmt.Errorf("read ORC addresses: %w", err)
	}
	if err := m.Read(entAddr, ents); err != nil {
		return nil, fmt.Errorf("read ORC entries: %w", err)
	}
	if l == nil {
		var err error
		if l, err = chooseLayout(ents); err != nil {
			return nil, err
		}
	}
	t := &orcTables{layout: l, kernel: orcTable{ips: make([]uint64, n), entries: make([]orcEntry, n)}}
	bad := 0
	for i := range n {
		t.kernel.ips[i] = ipAddr + uint64(4*i) + uint64(int64(int32(le.Uint32(ips[4*i:]))))
		e := l.decode(ents[i*orcEntrySize:])
		if e.typ == typeUnknown || e.sp == regUnknown || e.bp == regUnknown {
			bad++
		}
		t.kernel.entries[i] = e
	}
	if bad > n/1000 {
		return nil, fmt.Errorf("%d of %d ORC entries make no sense", bad, n)
	}
	if !slices.IsSorted(t.kernel.ips) {
		sort.Stable(&t.kernel)
	}
	return t, nil
}
