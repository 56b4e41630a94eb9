// Package object reads an ELF object as it is mapped into a process: what it is
// called, its build ID, its symbols, and how its frames are unwound. It is read
// from memory, and from its file as far as that is there.
package object

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/unwedge/unwedge/harness/internal/guestmem/user/ehframe"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/images/kernel/elf64"
)

// ErrNotELF says that what is mapped is no ELF object of the architecture.
var ErrNotELF = errors.New("not an ELF object")

// Memory reads a process's memory. Read fills p or returns an error.
type Memory interface {
	Read(addr uint64, p []byte) error
}

// Object is one mapped ELF object.
type Object struct {
	// Name is its DT_SONAME, else the last part of its path.
	Name, Path string
	// BuildID is hexadecimal, "" where it has none.
	BuildID string
	// Bias is how far it is mapped from where it is linked; Start and End are
	// where it is mapped.
	Bias, Start, End uint64
	// Go says that it was built by the Go toolchain.
	Go bool

	mem    Memory
	file   io.ReaderAt // nil: not there
	isa    *isa.ISA
	header elf.Header64
	loads  []elf.Prog64
	dyn    map[elf.DynTag]uint64
	hdr    uint64 // .eh_frame_hdr, 0 for none
	// constructors are the functions that ld.so calls once it is loaded.
	constructors map[uint64]bool
	frames       *ehframe.Table
	framesErr    error
	symbols      Symbols
	read         bool // the symbols
}

// Bounds of what is read of one object.
const (
	maxSegments  = 64
	maxDynamic   = 64 << 10
	maxNotes     = 64 << 10
	maxInitArray = 4096
	maxSections  = 1024
	maxSymbols   = 8 << 20 // bytes of a symbol table, and of its strings
)

// Load reads the object whose first byte is mapped at base. file is the same
// object as a file, nil where there is none; path names it.
func Load(m Memory, file io.ReaderAt, filePath string, base uint64, i *isa.ISA) (*Object, error) {
	o := &Object{Name: path.Base(filePath), Path: filePath, mem: m, file: file, isa: i, dyn: map[elf.DynTag]uint64{}}
	b := make([]byte, 64)
	if err := m.Read(base, b); err != nil {
		return nil, fmt.Errorf("read %s: %w", filePath, err)
	}
	if !elf64.Is(b) || elf.Class(b[elf.EI_CLASS]) != elf.ELFCLASS64 || elf.Data(b[elf.EI_DATA]) != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("read %s: %w", filePath, ErrNotELF)
	}
	decode(b, &o.header)
	if o.header.Machine != i.Arch.Facts().ELF || o.header.Phentsize != 56 || o.header.Phnum > maxSegments {
		return nil, fmt.Errorf("read %s: %w for %s", filePath, ErrNotELF, i.Arch)
	}
	segments := make([]elf.Prog64, o.header.Phnum)
	b = make([]byte, 56*len(segments))
	if err := m.Read(base+o.header.Phoff, b); err != nil {
		return nil, fmt.Errorf("read %s: program headers: %w", filePath, err)
	}
	decode(b, segments)
	if err := o.place(base, segments); err != nil {
		return nil, err
	}
	for _, s := range segments {
		o.segment(s)
	}
	o.name()
	o.initArray()
	if !o.Go && o.hdr == 0 {
		_, o.Go = o.section(".gopclntab") // built without a build ID
	}
	return o, nil
}

func decode(b []byte, to any) {
	binary.Decode(b, binary.LittleEndian, to) //nolint:errcheck // b has the size that to has
}

// place finds where the object is mapped.
func (o *Object) place(base uint64, segments []elf.Prog64) error {
	for _, s := range segments {
		if elf.ProgType(s.Type) != elf.PT_LOAD {
			continue
		}
		if len(o.loads) == 0 {
			o.Bias = base - (s.Vaddr - s.Off)
		}
		o.loads = append(o.loads, s)
		o.End = max(o.End, o.Bias+s.Vaddr+s.Memsz)
	}
	o.Start = base
	if len(o.loads) == 0 || o.End <= o.Start {
		return fmt.Errorf("read %s: %w: no loadable segment", o.Path, ErrNotELF)
	}
	return nil
}

func (o *Object) segment(s elf.Prog64) {
	at := o.Bias + s.Vaddr
	switch elf.ProgType(s.Type) {
	case elf.PT_DYNAMIC:
		o.dynamic(sparse(o.mem, at, min(s.Memsz, maxDynamic)))
	case elf.PT_NOTE:
		for n := range elf64.ParseNotes(sparse(o.mem, at, min(s.Memsz, maxNotes))) {
			switch {
			case n.Name == "GNU" && n.Type == 3: // NT_GNU_BUILD_ID
				o.BuildID = hex.EncodeToString(n.Desc)
			case n.Name == "Go" && n.Type == 4: // cmd/internal/buildid
				o.Go = true
			}
		}
	case elf.PT_GNU_EH_FRAME:
		o.hdr = at
	}
}

// sparse reads memory page by page; a page that is not there is zeros.
func sparse(m Memory, addr, size uint64) []byte {
	b := make([]byte, size)
	for at := uint64(0); at < size; {
		n := min(size-at, 4096-(addr+at)%4096)
		if m.Read(addr+at, b[at:at+n]) != nil {
			clear(b[at : at+n])
		}
		at += n
	}
	return b
}

func (o *Object) dynamic(b []byte) {
	for ; len(b) >= 16; b = b[16:] {
		tag, v := elf.DynTag(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint64(b[8:])
		if tag == elf.DT_NULL {
			return
		}
		if _, ok := o.dyn[tag]; !ok {
			o.dyn[tag] = v
		}
	}
}

// addr returns an address of the dynamic section. ld.so relocates some of them
// in place (glibc, elf/get-dynamic-info.h).
func (o *Object) addr(tag elf.DynTag) (uint64, bool) {
	v, ok := o.dyn[tag]
	if v < o.Start || v >= o.End {
		v += o.Bias
	}
	return v, ok && v >= o.Start && v < o.End
}

func (o *Object) name() {
	off, ok1 := o.dyn[elf.DT_SONAME]
	tab, ok2 := o.addr(elf.DT_STRTAB)
	if !ok1 || !ok2 || off > maxSymbols {
		return
	}
	if s, ok := cString(sparse(o.mem, tab+off, maxSoname), 0); ok {
		o.Name = path.Base(s)
	}
}

const maxSoname = 128

// cString returns a printable string that ends with a NUL.
func cString(b []byte, off uint64) (string, bool) {
	if off >= uint64(len(b)) {
		return "", false
	}
	end := bytes.IndexByte(b[off:], 0)
	if end <= 0 || end > maxName {
		return "", false
	}
	s := b[off : off+uint64(end)]
	for _, c := range s {
		if c <= ' ' || c > '~' {
			return "", false
		}
	}
	return string(s), true
}

// maxName bounds a symbol's name.
const maxName = 512

func (o *Object) initArray() {
	o.constructors = map[uint64]bool{}
	if v, ok := o.addr(elf.DT_INIT); ok {
		o.constructors[v] = true
	}
	at, ok := o.addr(elf.DT_INIT_ARRAY)
	if !ok {
		return
	}
	b := sparse(o.mem, at, min(o.dyn[elf.DT_INIT_ARRAYSZ], 8*maxInitArray)&^7)
	for ; len(b) > 0; b = b[8:] {
		if v := binary.LittleEndian.Uint64(b); v != 0 {
			o.constructors[v] = true
		}
	}
}

// Constructor says whether the function that begins at an address is one that
// is called when the object is loaded.
func (o *Object) Constructor(start uint64) bool { return o.constructors[start] }

// Frames returns how the object's functions are unwound.
func (o *Object) Frames() (*ehframe.Table, error) {
	if o.frames != nil || o.framesErr != nil {
		return o.frames, o.framesErr
	}
	switch {
	case o.hdr != 0:
		o.frames, o.framesErr = ehframe.Open(o.mem, o.isa, o.hdr)
	default:
		// A static program has no search table, so its file has to say where
		// the section is.
		if s, ok := o.section(".eh_frame"); ok {
			o.frames, o.framesErr = ehframe.Scan(o.mem, o.isa, o.Bias+s.Addr, s.Size)
		} else {
			o.framesErr = errors.New("no .eh_frame")
		}
	}
	if o.framesErr != nil {
		o.framesErr = fmt.Errorf("unwind %s: %w", o.Name, o.framesErr)
	}
	return o.frames, o.framesErr
}
