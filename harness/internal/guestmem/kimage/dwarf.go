package kimage

import (
	"bytes"
	"debug/dwarf"
	"debug/elf"
	"errors"
	"fmt"
)

// ErrNoDWARF says that an ELF file has no types.
var ErrNoDWARF = errors.New("it has neither BTF nor debug information")

// FromELF reads the types of an ELF file: its BTF, else its debug information. source
// is what types of the latter are called.
func FromELF(b []byte, source Source) (*Types, error) {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("read types: %w", err)
	}
	if s := f.Section(".BTF"); s != nil {
		if raw, err := s.Data(); err == nil && isBTF(raw) {
			return newTypes(raw)
		}
	}
	if f.Section(".debug_info") == nil && f.Section(".zdebug_info") == nil {
		return nil, fmt.Errorf("read types: %w", ErrNoDWARF)
	}
	data, err := f.DWARF()
	if err != nil {
		return nil, fmt.Errorf("read types: %w", err)
	}
	d := &debugInfo{data: data, structs: map[string][]dwarf.Offset{}}
	if err := d.index(); err != nil {
		return nil, fmt.Errorf("read types: %w", err)
	}
	return &Types{Source: source, find: d.field}, nil
}

// FromObjects reads what was compiled to be read: the types of several object files, of
// which the first that has one counts.
func FromObjects(objects [][]byte) (*Types, error) {
	var all *Types
	for _, b := range objects {
		t, err := FromELF(b, Compiled)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = t
		} else {
			all = all.Or(t)
		}
	}
	if all == nil {
		return nil, fmt.Errorf("read types: %w", ErrNoDWARF)
	}
	return all, nil
}

// debugInfo are the structures that debug information defines.
type debugInfo struct {
	data    *dwarf.Data
	structs map[string][]dwarf.Offset
}

// The bounds of what is read: a vmlinux has some 10 million entries, of which
// those within functions are skipped.
const (
	maxEntries = 1 << 26
	maxSame    = 8 // definitions of one name that are kept
)

// index finds all structures and unions at the top of a unit.
func (d *debugInfo) index() error {
	r := d.data.Reader()
	for range maxEntries {
		e, err := r.Next()
		if err != nil {
			return err
		}
		if e == nil {
			return nil
		}
		if e.Tag == dwarf.TagCompileUnit {
			continue
		}
		if e.Tag == dwarf.TagStructType || e.Tag == dwarf.TagUnionType {
			name, _ := e.Val(dwarf.AttrName).(string)
			_, declared := e.Val(dwarf.AttrDeclaration).(bool)
			if name != "" && !declared && len(d.structs[name]) < maxSame {
				d.structs[name] = append(d.structs[name], e.Offset)
			}
		}
		r.SkipChildren()
	}
	return nil
}

func (d *debugInfo) field(typ string, path []string) (Field, bool) {
	for _, off := range d.structs[typ] {
		t, err := d.data.Type(off)
		if err != nil {
			continue
		}
		if f, ok := dwarfField(t, path); ok {
			return f, true
		}
	}
	return Field{}, false
}

func dwarfField(t dwarf.Type, path []string) (Field, bool) {
	f := Field{}
	for _, name := range path {
		m, off, ok := dwarfMember(t, name, 0)
		if !ok {
			return Field{}, false
		}
		f.Off += off
		t = m
	}
	size := t.Size()
	if size < 0 {
		return Field{}, false
	}
	f.Size = uint64(size)
	return f, true
}

func dwarfMember(t dwarf.Type, name string, depth int) (dwarf.Type, uint64, bool) {
	s, ok := underlying(t).(*dwarf.StructType)
	if !ok {
		return nil, 0, false
	}
	for _, m := range s.Field {
		if m.Name == name && m.ByteOffset >= 0 {
			return m.Type, uint64(m.ByteOffset), true
		}
	}
	for _, m := range s.Field {
		if m.Name != "" || depth == maxNesting || m.ByteOffset < 0 {
			continue
		}
		if t, off, ok := dwarfMember(m.Type, name, depth+1); ok {
			return t, uint64(m.ByteOffset) + off, true
		}
	}
	return nil, 0, false
}

// underlying removes typedefs and qualifiers.
func underlying(t dwarf.Type) dwarf.Type {
	for range maxNesting {
		switch u := t.(type) {
		case *dwarf.TypedefType:
			t = u.Type
		case *dwarf.QualType:
			t = u.Type
		default:
			return t
		}
	}
	return t
}
