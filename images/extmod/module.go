package extmod

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/images/kernel/elf64"
)

// Module is what a module's file says of itself, as far as it decides whether a
// kernel takes it.
type Module struct {
	// Name is what the kernel calls it.
	Name string
	// Machine is the ELF machine.
	Machine uint16
	// Info has the values of .modinfo by key, in their order
	// (include/linux/moduleparam.h): vermagic, depends, license, import_ns, …
	Info map[string][]string
	// Versions are the CRCs that it was built with (__versions); nil where there
	// is no such section. Extended are those of __version_ext_crcs, which kernels
	// from 6.14 on prefer.
	Versions, Extended []Version
	// Undefined are the symbols that it uses of others, in the order in which the
	// kernel resolves them.
	Undefined []Undefined
	// Exports are the names it exports, with their CRCs.
	Exports map[string]Export
	// StructSize is how many bytes the module has for its struct module.
	StructSize uint64
	// Signed says that a signature is appended.
	Signed bool
	// BTF says that it has type information, which refers to that of the very
	// kernel that it was built for; BTFBase that it has what to find that again with.
	BTF, BTFBase bool
	// crcs and extCRCs are Versions and Extended by symbol, the first of each.
	crcs, extCRCs map[string]uint32
	// lacks names what the file must have and has not, "" if nothing.
	lacks string
}

// Version is a symbol's CRC as the module expects it.
type Version struct {
	Symbol string
	CRC    uint32
}

// Undefined is a symbol that a module uses and does not have.
type Undefined struct {
	Name string
	Weak bool
}

// The bounds of what is read of a module.
const (
	maxSymbols  = 1 << 20
	maxUsed     = 1 << 16 // undefined or exported symbols
	maxVersions = 1 << 16
	maxInfo     = 4 << 20 // bytes of .modinfo
)

// signatureMarker ends a signed module (include/linux/module_signature.h).
const signatureMarker = "~Module signature appended~\n"

// Parse reads an unpacked module. What is not an ELF object file of 64 bits, or a
// damaged one, is an error; a module that lacks something that every kernel asks
// for is none: Check says so.
func Parse(b []byte) (*Module, error) {
	f, err := elf64.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	if f.Type != elf64.TypeRel {
		return nil, fmt.Errorf("read module: an ELF file of type %d, not an object file: not a kernel module", f.Type)
	}
	m := &Module{Machine: f.Machine, Info: map[string][]string{}, Signed: bytes.HasSuffix(b, []byte(signatureMarker))}
	m.BTF, m.BTFBase = hasData(f, ".BTF"), hasData(f, ".BTF.base")
	if err := m.readInfo(f); err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	m.readName(f)
	if err := m.readVersions(f); err != nil {
		return nil, fmt.Errorf("read module %s: %w", m.Name, err)
	}
	m.crcs, m.extCRCs = bySymbol(m.Versions), bySymbol(m.Extended)
	if err := m.readSymbols(f); err != nil {
		return nil, fmt.Errorf("read module %s: %w", m.Name, err)
	}
	return m, nil
}

func hasData(f *elf64.File, name string) bool {
	sec, ok := f.Section(name)
	return ok && sec.Size > 0
}

func (m *Module) readInfo(f *elf64.File) error {
	sec, ok := f.Section(".modinfo")
	if !ok {
		return nil
	}
	b := f.Data(sec)
	if len(b) > maxInfo {
		return fmt.Errorf(".modinfo has %d bytes, more than %d", len(b), maxInfo)
	}
	for _, kv := range strings.Split(string(b), "\x00") {
		if k, v, ok := strings.Cut(kv, "="); ok {
			m.Info[k] = append(m.Info[k], v)
		}
	}
	return nil
}

// info returns the first value of a key, as the kernel does.
func (m *Module) info(key string) (string, bool) {
	v := m.Info[key]
	if len(v) == 0 {
		return "", false
	}
	return v[0], true
}

// Depends are the modules that must be loaded before it.
func (m *Module) Depends() []string {
	v, _ := m.info("depends")
	return strings.FieldsFunc(v, func(r rune) bool { return r == ',' })
}

// thisModule is the section that becomes the kernel's struct module.
const thisModule = ".gnu.linkonce.this_module"

// nameOffset is where struct module has its name, behind the state and a list
// head, and nameSize its size (include/linux/module.h, MODULE_NAME_LEN).
const nameOffset, nameSize = 24, 56

func (m *Module) readName(f *elf64.File) {
	sec, ok := f.Section(thisModule)
	b := f.Data(sec)
	if !ok || len(b) < nameOffset+nameSize {
		m.lacks = thisModule
	} else {
		m.Name, _ = text(b[:nameOffset+nameSize], nameOffset)
		m.StructSize = sec.Size
	}
	if name, ok := m.info("name"); ok {
		m.Name, _ = text([]byte(name+"\x00"), 0)
	}
}

// versionSize is that of struct modversion_info: a CRC in an unsigned long, and
// the name in the rest (include/linux/module.h).
const versionSize = 64

func (m *Module) readVersions(f *elf64.File) error {
	if sec, ok := allocated(f, "__versions"); ok {
		b := f.Data(sec)
		if len(b)/versionSize > maxVersions {
			return fmt.Errorf("__versions has %d entries, more than %d", len(b)/versionSize, maxVersions)
		}
		m.Versions = make([]Version, 0, len(b)/versionSize)
		for ; len(b) >= versionSize; b = b[versionSize:] {
			name, _, _ := bytes.Cut(b[8:versionSize], []byte{0})
			// The CRC is compared as a long: one with high bits never matches.
			if binary.LittleEndian.Uint32(b[4:]) != 0 {
				return errors.New("__versions has a CRC of more than 32 bits")
			}
			m.Versions = append(m.Versions, Version{string(name), binary.LittleEndian.Uint32(b)})
		}
	}
	return m.readExtended(f)
}

func bySymbol(versions []Version) map[string]uint32 {
	crcs := map[string]uint32{}
	for _, v := range versions {
		if _, dup := crcs[v.Symbol]; !dup {
			crcs[v.Symbol] = v.CRC
		}
	}
	return crcs
}

// readExtended reads the CRCs of CONFIG_EXTENDED_MODVERSIONS: an array of them,
// and their names one behind the other.
func (m *Module) readExtended(f *elf64.File) error {
	crcs, ok1 := allocated(f, "__version_ext_crcs")
	names, ok2 := allocated(f, "__version_ext_names")
	if ok1 != ok2 {
		return errors.New("it has only one of __version_ext_crcs and __version_ext_names")
	}
	if !ok1 {
		return nil
	}
	c, n := f.Data(crcs), f.Data(names)
	if len(c)/4 > maxVersions {
		return fmt.Errorf("__version_ext_crcs has %d entries, more than %d", len(c)/4, maxVersions)
	}
	m.Extended = make([]Version, 0, len(c)/4)
	for ; len(c) >= 4; c = c[4:] {
		name, rest, ok := bytes.Cut(n, []byte{0})
		if !ok {
			return errors.New("__version_ext_crcs has more entries than __version_ext_names")
		}
		m.Extended = append(m.Extended, Version{string(name), binary.LittleEndian.Uint32(c)})
		n = rest
	}
	return nil
}

// allocated finds a section as the kernel does: those that are not to be loaded
// do not count (kernel/module/main.c, find_sec).
func allocated(f *elf64.File, name string) (elf64.Section, bool) {
	for _, s := range f.Sections {
		if s.Name == name && s.Flags&elf64.FlagAlloc != 0 {
			return s, true
		}
	}
	return elf64.Section{}, false
}

// symbolSize is that of an ELF-64 symbol: name, info, other, section, value, size.
const symbolSize = 24

// absolute is SHN_ABS: the symbol's value is no address.
const absolute = 0xfff1

// symbolTable is a module's only symbol table.
type symbolTable struct {
	table, names elf64.Section
}

func findSymbols(f *elf64.File) (symbolTable, bool) {
	for _, s := range f.Sections {
		if s.Type == elf64.SecSymtab && int(s.Link) < len(f.Sections) {
			return symbolTable{s, f.Sections[s.Link]}, true
		}
	}
	return symbolTable{}, false
}

func (m *Module) readSymbols(f *elf64.File) error {
	st, ok := findSymbols(f)
	if !ok {
		m.lacks = "a symbol table"
		return nil
	}
	b, names := f.Data(st.table), f.Data(st.names)
	if len(b)/symbolSize > maxSymbols {
		return fmt.Errorf("it has %d symbols, more than %d", len(b)/symbolSize, maxSymbols)
	}
	m.Exports = map[string]Export{}
	crcs := map[string]uint32{}
	for i := symbolSize; i+symbolSize <= len(b); i += symbolSize { // the first is no symbol
		sym := b[i : i+symbolSize]
		name, ok := cString(names, binary.LittleEndian.Uint32(sym))
		if !ok {
			return fmt.Errorf("symbol %d has a bad name", i/symbolSize)
		}
		switch section := int(binary.LittleEndian.Uint16(sym[6:])); {
		case section == 0: // SHN_UNDEF
			m.Undefined = append(m.Undefined, Undefined{Name: name, Weak: sym[4]>>4 == 2}) // STB_WEAK
		case strings.HasPrefix(name, "__crc_") && section == absolute:
			crcs[strings.TrimPrefix(name, "__crc_")] = uint32(binary.LittleEndian.Uint64(sym[8:]))
		case strings.HasPrefix(name, "__ksymtab_") && section < len(f.Sections):
			m.addExport(f, strings.TrimPrefix(name, "__ksymtab_"), f.Sections[section].Name, binary.LittleEndian.Uint64(sym[8:]))
		}
		if max(len(m.Undefined), len(m.Exports), len(crcs)) > maxUsed {
			return fmt.Errorf("it uses or exports more than %d symbols", maxUsed)
		}
	}
	// Until 5.18 __kcrctab is filled by relocations against these.
	for name, crc := range crcs {
		if x, ok := m.Exports[name]; ok {
			x.CRC, x.HasCRC = crc, true
			m.Exports[name] = x
		}
	}
	return nil
}

// cString is the NUL-terminated name at an offset. Names of local labels have
// bytes that are not text.
func cString(names []byte, off uint32) (string, bool) {
	if uint64(off) >= uint64(len(names)) {
		return "", false
	}
	b, _, ok := bytes.Cut(names[off:min(len(names), int(off)+maxName)], []byte{0})
	return string(b), ok
}

// addExport takes a symbol that the module exports: its entry in __ksymtab is at
// the same place as its CRC in __kcrctab, for both are sorted by name
// (scripts/module.lds.S).
func (m *Module) addExport(f *elf64.File, name, list string, offset uint64) {
	x := Export{GPL: strings.HasSuffix(list, "_gpl"), Owner: m.Name}
	if sec, ok := allocated(f, strings.Replace(list, "__ksymtab", "__kcrctab", 1)); ok && offset%entrySize == 0 {
		crcs := f.Data(sec)
		if at := offset / entrySize * 4; at+4 <= uint64(len(crcs)) && at < uint64(len(crcs)) {
			x.CRC, x.HasCRC = binary.LittleEndian.Uint32(crcs[at:]), true
		}
	}
	if sec, ok := allocated(f, "__kflagstab"); ok {
		if flags := f.Data(sec); offset/entrySize < uint64(len(flags)) {
			x.GPL = flags[offset/entrySize]&1 != 0
		}
	}
	m.Exports[name] = x
}
