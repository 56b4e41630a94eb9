// Package elf64 reads the headers of little-endian 64-bit ELF files held in
// memory: kernels and kernel modules. It exists beside debug/elf because the
// files are hostile input: it never allocates by what a header claims, never
// reads outside the file, and keeps file offsets, which patching needs.
//
// Layout: the ELF-64 object file format (System V gABI, chapter 4).
package elf64

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
)

// Header values that the project asks for.
const (
	TypeRel  = 1 // ET_REL: an object file, such as a kernel module
	TypeExec = 2 // ET_EXEC
	TypeDyn  = 3 // ET_DYN: position independent, as arm64's vmlinux

	SegLoad = 1 // PT_LOAD
	SegNote = 4 // PT_NOTE

	SecSymtab = 2 // SHT_SYMTAB
	SecNote   = 7 // SHT_NOTE
	SecNoBits = 8 // SHT_NOBITS: no bytes in the file

	FlagAlloc = 2 // SHF_ALLOC
	FlagExec  = 4 // SHF_EXECINSTR
)

const (
	headerSize  = 64
	phdrSize    = 56
	shdrSize    = 64
	maxSections = 65536
)

// ErrNotELF says that the bytes are not an ELF file at all.
var ErrNotELF = errors.New("not an ELF file")

// Segment is one program header.
type Segment struct {
	Type, Flags      uint32
	Off              uint64 // in the file
	VAddr, PAddr     uint64
	FileSize, MemLen uint64
}

// Section is one section header.
type Section struct {
	Name      string
	Type      uint32
	Flags     uint64
	Addr      uint64
	Off, Size uint64
	Link      uint32 // of a symbol table: the section of its names
}

// File is a parsed ELF file; it refers to the bytes it was parsed from.
type File struct {
	Type, Machine uint16
	Entry         uint64
	Segments      []Segment
	Sections      []Section // empty where the file has no section table
	data          []byte
}

// Is says whether the bytes begin like an ELF file.
func Is(b []byte) bool { return bytes.HasPrefix(b, []byte("\x7fELF")) }

// Parse reads the headers. Every segment must lie inside the file; a section
// outside it is an error too.
func Parse(b []byte) (*File, error) {
	if !Is(b) {
		return nil, ErrNotELF
	}
	if len(b) < headerSize {
		return nil, errors.New("truncated ELF header")
	}
	if b[4] != 2 {
		return nil, errors.New("32-bit ELF file")
	}
	if b[5] != 1 {
		return nil, errors.New("big-endian ELF file")
	}
	le := binary.LittleEndian
	f := &File{Type: le.Uint16(b[16:]), Machine: le.Uint16(b[18:]), Entry: le.Uint64(b[24:]), data: b}
	phoff, shoff := le.Uint64(b[32:]), le.Uint64(b[40:])
	phsize, phnum := le.Uint16(b[54:]), le.Uint16(b[56:])
	shsize, shnum, shstr := le.Uint16(b[58:]), int(le.Uint16(b[60:])), int(le.Uint16(b[62:]))
	if err := f.readSegments(phoff, phsize, int(phnum)); err != nil {
		return nil, err
	}
	if shoff == 0 {
		return f, nil
	}
	if err := f.readSections(shoff, shsize, shnum, shstr); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) readSegments(off uint64, size uint16, num int) error {
	if num == 0 {
		return nil
	}
	if size != phdrSize {
		return fmt.Errorf("program header size %d, want %d", size, phdrSize)
	}
	table, ok := f.slice(off, uint64(num)*phdrSize)
	if !ok {
		return fmt.Errorf("truncated: program headers end at byte %d, file has %d", off+uint64(num)*phdrSize, len(f.data))
	}
	le := binary.LittleEndian
	for i := range num {
		p := table[i*phdrSize:]
		s := Segment{
			Type: le.Uint32(p), Flags: le.Uint32(p[4:]), Off: le.Uint64(p[8:]), VAddr: le.Uint64(p[16:]),
			PAddr: le.Uint64(p[24:]), FileSize: le.Uint64(p[32:]), MemLen: le.Uint64(p[40:]),
		}
		if _, ok := f.slice(s.Off, s.FileSize); !ok {
			return fmt.Errorf("truncated: segment %d has %d bytes at %d, file has %d", i, s.FileSize, s.Off, len(f.data))
		}
		f.Segments = append(f.Segments, s)
	}
	return nil
}

func (f *File) readSections(off uint64, size uint16, num, strndx int) error {
	if size != shdrSize {
		return fmt.Errorf("section header size %d, want %d", size, shdrSize)
	}
	first, ok := f.slice(off, shdrSize)
	if !ok {
		return fmt.Errorf("truncated: section headers at byte %d, file has %d", off, len(f.data))
	}
	le := binary.LittleEndian
	if num == 0 { // more than 0xff00 sections: the count is in section 0
		num = int(min(le.Uint64(first[32:]), maxSections))
	}
	table, ok := f.slice(off, uint64(num)*shdrSize)
	if !ok {
		return fmt.Errorf("truncated: section headers at byte %d, file has %d", off, len(f.data))
	}
	names := make([]uint32, num)
	for i := range num {
		p := table[i*shdrSize:]
		s := Section{Type: le.Uint32(p[4:]), Flags: le.Uint64(p[8:]), Addr: le.Uint64(p[16:]), Off: le.Uint64(p[24:]), Size: le.Uint64(p[32:]), Link: le.Uint32(p[40:])}
		if _, ok := f.slice(s.Off, s.Size); !ok && s.Type != SecNoBits && s.Type != 0 {
			return fmt.Errorf("truncated: section %d has %d bytes at %d, file has %d", i, s.Size, s.Off, len(f.data))
		}
		names[i] = le.Uint32(p)
		f.Sections = append(f.Sections, s)
	}
	if strndx >= num {
		return nil
	}
	tab := f.Data(f.Sections[strndx])
	for i, n := range names {
		f.Sections[i].Name = cString(tab, n)
	}
	return nil
}

func cString(tab []byte, off uint32) string {
	if uint64(off) >= uint64(len(tab)) {
		return ""
	}
	s, _, _ := bytes.Cut(tab[off:], []byte{0})
	if len(s) > 256 {
		return ""
	}
	return string(s)
}

func (f *File) slice(off, size uint64) ([]byte, bool) {
	n := uint64(len(f.data))
	if off > n || size > n-off {
		return nil, false
	}
	return f.data[off : off+size], true
}

// Data returns a section's bytes, nil for one that has none in the file.
func (f *File) Data(s Section) []byte {
	if s.Type == SecNoBits {
		return nil
	}
	b, _ := f.slice(s.Off, s.Size)
	return b
}

// Section returns the first section of that name.
func (f *File) Section(name string) (Section, bool) {
	for _, s := range f.Sections {
		if s.Name == name {
			return s, true
		}
	}
	return Section{}, false
}

// SectionAt returns the allocated section that holds the virtual address.
func (f *File) SectionAt(addr uint64) (Section, bool) {
	for _, s := range f.Sections {
		if s.Flags&FlagAlloc != 0 && addr >= s.Addr && addr-s.Addr < s.Size {
			return s, true
		}
	}
	return Section{}, false
}

// FileOffset returns where in the file the byte of a virtual address is.
func (f *File) FileOffset(addr uint64) (uint64, bool) {
	for _, s := range f.Segments {
		if s.Type == SegLoad && addr >= s.VAddr && addr-s.VAddr < s.FileSize {
			return s.Off + (addr - s.VAddr), true
		}
	}
	return 0, false
}

// Addr is the inverse of FileOffset.
func (f *File) Addr(off uint64) (uint64, bool) {
	for _, s := range f.Segments {
		if s.Type == SegLoad && off >= s.Off && off-s.Off < s.FileSize {
			return s.VAddr + (off - s.Off), true
		}
	}
	return 0, false
}

// Note is one ELF note.
type Note struct {
	Name string
	Type uint32
	Desc []byte
}

// Notes yields the notes of all note segments, or of all note sections where
// there is no such segment. It stops at the first malformed note of each.
func (f *File) Notes() iter.Seq[Note] {
	return func(yield func(Note) bool) {
		var blocks [][]byte
		for _, s := range f.Segments {
			if s.Type == SegNote {
				b, _ := f.slice(s.Off, s.FileSize)
				blocks = append(blocks, b)
			}
		}
		if len(blocks) == 0 {
			for _, s := range f.Sections {
				if s.Type == SecNote {
					blocks = append(blocks, f.Data(s))
				}
			}
		}
		for _, b := range blocks {
			for n := range ParseNotes(b) {
				if !yield(n) {
					return
				}
			}
		}
	}
}

// ParseNotes yields the notes of one block, with 4-byte alignment as the
// kernel writes them (include/linux/elfnote.h).
func ParseNotes(b []byte) iter.Seq[Note] {
	return func(yield func(Note) bool) {
		le := binary.LittleEndian
		for len(b) >= 12 {
			nameLen, descLen, typ := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
			desc := 12 + align4(nameLen)
			end := desc + align4(descLen)
			if nameLen > 256 || desc+descLen > uint64(len(b)) {
				return
			}
			n := Note{Name: string(bytes.TrimRight(b[12:12+nameLen], "\x00")), Type: typ, Desc: b[desc : desc+descLen]}
			if !yield(n) {
				return
			}
			b = b[min(end, uint64(len(b))):]
		}
	}
}

func align4(n uint64) uint64 { return (n + 3) &^ 3 }
