package unwind

import (
	"cmp"
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

// orcGeneral are the DWARF numbers of the base registers that only entry code uses.
var orcGeneral = map[orcReg]int{regAX: 0, regDX: 1, regDI: 5, regR10: 10, regR13: 13}

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
	name     string
	regs     [16]orcReg
	types    []orcType
	typeMask uint16 // of the bits from 8 on
	signal   uint16 // bit, 0 for none: interrupted where the type is not call
	end      uint16 // bit: the end of the stack where there is no base register
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
	return nil, errors.New("unknown layout of the ORC entries")
}

// orcTable is one pair of tables as they are in memory.
type orcTable struct {
	layout *orcLayout
	base   uint64 // address of ips
	ips    []byte
	ents   []byte
	order  []int32 // by code address; nil: as they are
}

func (t *orcTable) len() int { return len(t.ips) / 4 }

// index is where the i-th entry by code address is in the tables.
func (t *orcTable) index(i int) int {
	if t.order != nil {
		return int(t.order[i])
	}
	return i
}

// ip is the code address of the i-th entry.
func (t *orcTable) ip(i int) uint64 {
	j := t.index(i)
	return t.base + uint64(4*j) + uint64(int64(int32(le.Uint32(t.ips[4*j:]))))
}

func (t *orcTable) entry(i int) orcEntry {
	return t.layout.decode(t.ents[t.index(i)*orcEntrySize:])
}

// find returns the last entry at or before a code address: of entries with one
// address, those before are section terminators, which only fill gaps.
func (t *orcTable) find(ip uint64) (orcEntry, bool) {
	i := sort.Search(t.len(), func(i int) bool { return t.ip(i) > ip })
	if i == 0 {
		return orcEntry{}, false
	}
	return t.entry(i - 1), true
}

// check sorts the table where the kernel has not done so yet, and refuses one
// whose entries are not of its layout.
func (t *orcTable) check() error {
	n, bad := t.len(), 0
	var known [1 << 12]int8 // by the bits in use: 0 not seen, 1 good, -1 bad
	sorted := true
	for i := range n {
		sorted = sorted && (i == 0 || t.ip(i-1) <= t.ip(i))
		f := le.Uint16(t.ents[i*orcEntrySize+4:]) & (1<<12 - 1)
		if known[f] == 0 {
			known[f] = 1
			if e := t.entry(i); e.typ == typeUnknown || e.sp == regUnknown || e.bp == regUnknown {
				known[f] = -1
			}
		}
		if known[f] < 0 {
			bad++
		}
	}
	if bad > n/1000 {
		return fmt.Errorf("%d of %d ORC entries make no sense", bad, n)
	}
	if !sorted {
		t.sort()
	}
	return nil
}

func (t *orcTable) sort() {
	order := make([]int32, t.len())
	for i := range order {
		order[i] = int32(i)
	}
	raw := *t
	slices.SortStableFunc(order, func(a, b int32) int {
		if c := cmp.Compare(raw.ip(int(a)), raw.ip(int(b))); c != 0 {
			return c
		}
		// A terminator before the real entry.
		return cmp.Compare(min(raw.entry(int(a)).typ, 1), min(raw.entry(int(b)).typ, 1))
	})
	t.order = order
}

// orcTables are the kernel's table and those of its modules.
type orcTables struct {
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
		return nil, errors.New("inconsistent symbols around the ORC tables")
	}
	t := &orcTables{modules: make([]orcTable, len(c.Modules))}
	err := errors.New("no memory to read from")
	for _, m := range []Memory{c.Memory, c.Image} {
		if m == nil {
			continue
		}
		if t.kernel, err = readORC(m, a[0], a[2], int(n), nil); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	left := maxORC
	for i, m := range c.Modules {
		if m.ORCCount <= 0 || m.ORCCount > left {
			continue
		}
		left -= m.ORCCount
		// A module whose tables cannot be read is one without them.
		t.modules[i], _ = readORC(c.Memory, m.ORCIP, m.ORC, m.ORCCount, t.kernel.layout)
	}
	return t, nil
}

// readORC reads one pair of tables; the layout is found where none is given.
func readORC(m Memory, ipAddr, entAddr uint64, n int, l *orcLayout) (orcTable, error) {
	t := orcTable{layout: l, base: ipAddr, ips: make([]byte, n*4), ents: make([]byte, n*orcEntrySize)}
	if err := m.Read(ipAddr, t.ips); err != nil {
		return orcTable{}, fmt.Errorf("read ORC addresses: %w", err)
	}
	if err := m.Read(entAddr, t.ents); err != nil {
		return orcTable{}, fmt.Errorf("read ORC entries: %w", err)
	}
	if l == nil {
		var err error
		if t.layout, err = chooseLayout(t.ents); err != nil {
			return orcTable{}, err
		}
	}
	if err := t.check(); err != nil {
		return orcTable{}, err
	}
	return t, nil
}
