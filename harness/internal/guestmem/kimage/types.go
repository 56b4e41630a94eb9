package kimage

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// ErrNoType says that the kernel has no such structure or field.
var ErrNoType = errors.New("no such type or field in the kernel's types")

// Source says where types come from.
type Source string

// The sources, from the surest to the one that is used where there is no other.
const (
	BTF      Source = "btf"      // of the image, or of another file of the same build
	DWARF    Source = "dwarf"    // debug information of the same build
	Compiled Source = "compiled" // a file compiled against the kernel's headers
	Inferred Source = "inferred" // from the image and the guest's memory
	None     Source = "none"     // there are no types
)

// Types are the kernel's types. Not safe for concurrent use.
type Types struct {
	// Source says where they come from.
	Source Source
	find   finder
	percpu map[string]Field // per-CPU variables in their section; only BTF has them
}

// finder finds a field of a type; no path is the type itself.
type finder func(typ string, path []string) (Field, bool)

// Field is where a field lies in its structure, in bytes.
type Field struct{ Off, Size uint64 }

// Known are types of which only these fields are known, by TYPE.FIELD, or by TYPE for
// its size.
func Known(source Source, fields map[string]Field) *Types {
	return &Types{Source: source, find: func(typ string, path []string) (Field, bool) {
		f, ok := fields[strings.Join(append([]string{typ}, path...), ".")]
		return f, ok
	}}
}

// Or are these types, and for what they lack those of another.
func (t *Types) Or(other *Types) *Types {
	if other == nil {
		return t
	}
	return &Types{t.Source, func(typ string, path []string) (Field, bool) {
		if f, ok := t.find(typ, path); ok {
			return f, true
		}
		return other.find(typ, path)
	}, t.percpu}
}

func newTypes(b []byte) (*Types, error) {
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("read the kernel's BTF: %w", err)
	}
	return &Types{Source: BTF, percpu: perCPU(spec), find: func(typ string, path []string) (Field, bool) {
		all, err := spec.AnyTypesByName(typ)
		if err != nil {
			return Field{}, false
		}
		for _, cand := range all {
			if f, ok := field(cand, path); ok {
				return f, true
			}
		}
		return Field{}, false
	}}, nil
}

// Has says whether a structure or union of that name has the field.
func (t *Types) Has(typ string, path ...string) bool {
	_, err := t.Field(typ, path...)
	return err == nil
}

// Field finds a field of a structure or union, through structures that are
// fields of it (the path) and through unnamed ones. Where more than one type has
// the name, the first that has the field counts. A missing one is ErrNoType.
func (t *Types) Field(typ string, path ...string) (Field, error) {
	if f, ok := t.find(typ, path); ok {
		return f, nil
	}
	return Field{}, fmt.Errorf("%s %v: %w", typ, path, ErrNoType)
}

func field(typ btf.Type, path []string) (Field, bool) {
	f := Field{}
	for _, name := range path {
		m, off, ok := member(typ, name, 0)
		if !ok {
			return Field{}, false
		}
		f.Off += off
		typ = m
	}
	size, err := btf.Sizeof(typ)
	if err != nil || size < 0 {
		return Field{}, false
	}
	f.Size = uint64(size)
	return f, true
}

// maxNesting bounds how deep unnamed structures are followed.
const maxNesting = 8

func member(typ btf.Type, name string, depth int) (btf.Type, uint64, bool) {
	var members []btf.Member
	switch s := btf.UnderlyingType(typ).(type) {
	case *btf.Struct:
		members = s.Members
	case *btf.Union:
		members = s.Members
	}
	for _, m := range members {
		if m.Name == name {
			return m.Type, uint64(m.Offset.Bytes()), true
		}
	}
	for _, m := range members {
		if m.Name != "" || depth == maxNesting {
			continue
		}
		if t, off, ok := member(m.Type, name, depth+1); ok {
			return t, uint64(m.Offset.Bytes()) + off, true
		}
	}
	return nil, 0, false
}

// Size returns the size of a structure or union in bytes.
func (t *Types) Size(typ string) (uint64, error) {
	f, err := t.Field(typ)
	return f.Size, err
}
