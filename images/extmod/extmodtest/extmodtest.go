// Package extmodtest makes modules and kernel images for tests, by the layouts
// that the kernel's own sources give.
package extmodtest

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/images/kernel/kerneltest"
)

var le = binary.LittleEndian

// Module is a module to make.
type Module struct {
	Machine uint16 // 0 means x86_64
	// Info is .modinfo, one KEY=VALUE each.
	Info []string
	// Versions and Extended are CRCs by symbol; nil leaves the sections out.
	Versions, Extended map[string]uint32
	// Uses and Weak are undefined symbols, Exports has those it exports.
	Uses, Weak []string
	Exports    map[string]uint32
	// BTF and BTFBase are type information, which is no matter here.
	BTF, BTFBase bool
	// NoSymbols and NoThis leave out what a module must have.
	NoSymbols, NoThis bool
}

// Bytes returns the module's file. Its struct module is named probe.
func (m Module) Bytes() []byte {
	const progbits, alloc = 1, 2
	var sections []kerneltest.Section
	add := func(name string, typ uint32, data []byte) int {
		sections = append(sections, kerneltest.Section{Name: name, Type: typ, Flags: alloc, Data: data})
		return len(sections) // section 0 is none
	}
	add(".modinfo", progbits, []byte(strings.Join(m.Info, "\x00")+"\x00"))
	if !m.NoThis {
		this := make([]byte, 1024)
		copy(this[24:], "probe")
		add(".gnu.linkonce.this_module", progbits, this)
	}
	if m.BTF {
		add(".BTF", progbits, make([]byte, 24))
	}
	if m.BTFBase {
		add(".BTF.base", progbits, make([]byte, 24))
	}
	if m.Versions != nil {
		add("__versions", progbits, versions(m.Versions))
	}
	if m.Extended != nil {
		crcs, names := extended(m.Extended)
		add("__version_ext_crcs", progbits, crcs)
		add("__version_ext_names", progbits, names)
	}
	ksymtab := 0
	if m.Exports != nil {
		ksymtab = add("__ksymtab_gpl", progbits, make([]byte, 12*len(m.Exports)))
		var crcs []byte
		for _, name := range slices.Sorted(maps.Keys(m.Exports)) {
			crcs = le.AppendUint32(crcs, m.Exports[name])
		}
		add("__kcrctab_gpl", progbits, crcs)
	}
	machine := m.Machine
	if machine == 0 {
		machine = 62
	}
	if m.NoSymbols {
		return kerneltest.ELF(1, machine, sections...)
	}
	symbols, names := m.symbols(uint16(ksymtab))
	strtab := add(".strtab", 3, names)
	symtab := add(".symtab", 2, symbols)
	b := kerneltest.ELF(1, machine, sections...)
	header := le.Uint64(b[40:]) + uint64(symtab)*64
	le.PutUint32(b[header+40:], uint32(strtab))
	return b
}

func versions(crcs map[string]uint32) []byte {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(crcs)) {
		e := make([]byte, 64)
		le.PutUint64(e, uint64(crcs[name]))
		copy(e[8:], name)
		b = append(b, e...)
	}
	return b
}

func extended(crcs map[string]uint32) (values, names []byte) {
	for _, name := range slices.Sorted(maps.Keys(crcs)) {
		values = le.AppendUint32(values, crcs[name])
		names = append(append(names, name...), 0)
	}
	return values, names
}

func (m Module) symbols(ksymtab uint16) (table, names []byte) {
	table, names = make([]byte, 24), []byte{0}
	add := func(name string, info byte, section uint16, value uint64) {
		table = le.AppendUint32(table, uint32(len(names)))
		table = append(table, info, 0)
		table = le.AppendUint16(table, section)
		table = le.AppendUint64(le.AppendUint64(table, value), 0)
		names = append(append(names, name...), 0)
	}
	for i, name := range slices.Sorted(maps.Keys(m.Exports)) {
		add("__ksymtab_"+name, 0, ksymtab, uint64(12*i))
	}
	for _, name := range m.Uses {
		add(name, 0x10, 0, 0)
	}
	for _, name := range m.Weak {
		add(name, 0x20, 0, 0)
	}
	return table, names
}

// Export is a symbol of a kernel.
type Export struct {
	Name, Namespace string
	CRC             uint32
	GPL             bool
}

// Layout is how a kernel has its exports.
type Layout struct {
	CRCs bool // CONFIG_MODVERSIONS
	// Flags is one table with flags, as since 7.0; before there are two.
	Flags bool
}

// Tables are the tables of exported symbols and their strings, for the data of a
// kernel.
func (l Layout) Tables(exports ...Export) []byte {
	slices.SortFunc(exports, func(a, b Export) int {
		if !l.Flags && a.GPL != b.GPL {
			if b.GPL {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	n := len(exports)
	start := 12 * n
	if l.CRCs {
		start += 4 * n
	}
	if l.Flags {
		start += n
	}
	var strs []byte
	out := make([]byte, start)
	for i, e := range exports {
		at := 12 * i
		le.PutUint32(out[at+4:], uint32(start+len(strs)-(at+4)))
		strs = append(append(strs, e.Name...), 0)
		le.PutUint32(out[at+8:], uint32(start+len(strs)-(at+8)))
		strs = append(append(strs, e.Namespace...), 0)
		if l.CRCs {
			le.PutUint32(out[12*n+4*i:], e.CRC)
		}
		if l.Flags && e.GPL {
			out[start-n+i] = 1
		}
	}
	return append(out, strs...)
}
