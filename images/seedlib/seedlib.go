// Package seedlib makes a shared library whose constructor asks the kernel for
// random numbers, as libgcrypt's did in FIPS mode when machines stopped booting in
// 2018: a PID 1 that loads it does not come to its main function before the
// kernel's random number generator is seeded. In any other process it does nothing.
// It is written out byte by byte, so
// that neither architecture needs a compiler.
package seedlib

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // a build ID, as ld makes it
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// Name is the library's file name and SONAME.
const Name = "libunwedge-seed.so.1"

// Function is the exported function in which the constructor, which has no name of
// its own, has the system call getrandom(buffer, 16, 0) made.
const Function = "unwedge_seed_bytes"

// dataAt is how far the writable segment is mapped behind its place in the file: a
// page of the largest size.
const dataAt = 0x10000

// Build returns the library, the same bytes each time.
func Build(a arch.Arch) ([]byte, error) {
	i := slices.IndexFunc(machines, func(m machine) bool { return m.arch == a })
	if i < 0 {
		return nil, fmt.Errorf("build %s: unknown architecture %q", Name, a)
	}
	return newLayout(machines[i]).bytes(), nil
}

// section is a part of the file. One that is written has its address dataAt behind
// its offset, all others have both the same.
type section struct {
	at   uint64
	data []byte
}

func (s section) size() uint64 { return uint64(len(s.data)) }

// layout is the file: one segment of headers, tables and code, one of what ld.so
// writes to.
type layout struct {
	machine                                       machine
	note, hash, dynsym, dynstr, rela              section
	ehFrameHdr, ehFrame, text, initArray, dynamic section
	end                                           uint64
}

const headers = 6 // program headers

func newLayout(m machine) *layout {
	l := &layout{machine: m, end: 64 + headers*56}
	soname, function := uint32(1), uint32(1+len(Name)+1)
	l.note = l.place(note(make([]byte, sha1.Size)))
	// elf(5), DT_HASH: one bucket with the one symbol.
	l.hash = l.place(words(1, 2, 1, 0, 0))
	l.dynstr = l.place([]byte("\x00" + Name + "\x00" + Function + "\x00"))
	l.text = l.place(m.text())
	l.dynsym = l.place(encode(elf.Sym64{}, elf.Sym64{
		Name: function, Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), Shndx: 1,
		Value: l.text.at, Size: uint64(len(m.function)),
	}))
	l.ehFrame = l.place(m.ehFrame(l.end, l.text.at))
	l.ehFrameHdr = l.place(m.ehFrameHdr(l.end, l.ehFrame.at, l.text.at))
	constructor := l.text.at + uint64(len(m.function))
	relocated := (l.end + elfRela + 7) &^ 7 // where init_array will be
	l.rela = l.place(encode(elf.Rela64{Off: dataAt + relocated, Info: m.relative, Addend: int64(constructor)}))
	l.initArray = l.place(encode(constructor))
	l.dynamic = l.place(encode(
		elf.Dyn64{Tag: int64(elf.DT_SONAME), Val: uint64(soname)},
		elf.Dyn64{Tag: int64(elf.DT_HASH), Val: l.hash.at},
		elf.Dyn64{Tag: int64(elf.DT_STRTAB), Val: l.dynstr.at},
		elf.Dyn64{Tag: int64(elf.DT_STRSZ), Val: l.dynstr.size()},
		elf.Dyn64{Tag: int64(elf.DT_SYMTAB), Val: l.dynsym.at},
		elf.Dyn64{Tag: int64(elf.DT_SYMENT), Val: elf.Sym64Size},
		elf.Dyn64{Tag: int64(elf.DT_RELA), Val: l.rela.at},
		elf.Dyn64{Tag: int64(elf.DT_RELASZ), Val: l.rela.size()},
		elf.Dyn64{Tag: int64(elf.DT_RELAENT), Val: elfRela},
		elf.Dyn64{Tag: int64(elf.DT_INIT_ARRAY), Val: dataAt + l.initArray.at},
		elf.Dyn64{Tag: int64(elf.DT_INIT_ARRAYSZ), Val: l.initArray.size()},
		elf.Dyn64{Tag: int64(elf.DT_NULL)},
	))
	return l
}

const elfRela = 24 // sizeof(Elf64_Rela)

// place puts data at the next multiple of eight.
func (l *layout) place(data []byte) section {
	s := section{(l.end + 7) &^ 7, data}
	l.end = s.at + s.size()
	return s
}

// sections are the section headers, which ld.so does not need but people's tools do,
// and the names in them.
func (l *layout) sections() (headers []elf.Section64, names []byte) {
	headers, names = []elf.Section64{{}}, []byte{0}
	add := func(name string, t elf.SectionType, f elf.SectionFlag, s section, moved uint64, link, info uint32, size uint64) {
		align := uint64(8)
		if t == elf.SHT_NOTE {
			align = 4
		}
		headers = append(headers, elf.Section64{
			Name: uint32(len(names)), Type: uint32(t), Flags: uint64(f), Addr: moved + s.at, Off: s.at, Size: s.size(),
			Link: link, Info: info, Addralign: align, Entsize: size,
		})
		names = append(append(names, name...), 0)
	}
	const read, write = elf.SHF_ALLOC, elf.SHF_ALLOC | elf.SHF_WRITE
	add(".text", elf.SHT_PROGBITS, elf.SHF_ALLOC|elf.SHF_EXECINSTR, l.text, 0, 0, 0, 0) // number 1
	add(".dynstr", elf.SHT_STRTAB, read, l.dynstr, 0, 0, 0, 0)                          // number 2
	add(".dynsym", elf.SHT_DYNSYM, read, l.dynsym, 0, 2, 1, elf.Sym64Size)              // number 3
	add(".hash", elf.SHT_HASH, read, l.hash, 0, 3, 0, 4)
	add(".rela.dyn", elf.SHT_RELA, read, l.rela, 0, 3, 0, elfRela)
	add(".eh_frame_hdr", elf.SHT_PROGBITS, read, l.ehFrameHdr, 0, 0, 0, 0)
	add(".eh_frame", elf.SHT_PROGBITS, read, l.ehFrame, 0, 0, 0, 0)
	add(".note.gnu.build-id", elf.SHT_NOTE, read, l.note, 0, 0, 0, 0)
	add(".init_array", elf.SHT_INIT_ARRAY, write, l.initArray, dataAt, 0, 0, 8)
	add(".dynamic", elf.SHT_DYNAMIC, write, l.dynamic, dataAt, 2, 0, 16)
	const own = ".shstrtab"
	size := len(names) + len(own) + 1
	add(own, elf.SHT_STRTAB, 0, section{l.end, make([]byte, size)}, -l.end, 0, 0, 0)
	return headers, names
}

func (l *layout) bytes() []byte {
	data := l.initArray.at
	sections, names := l.sections()
	table := (l.end + uint64(len(names)) + 7) &^ 7
	head := encode(elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_DYN), Machine: l.machine.arch.Facts().ELF, Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: headers,
		Shoff: table, Shentsize: 64, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	},
		elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Filesz: data, Memsz: data, Align: dataAt},
		elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: data, Vaddr: dataAt + data, Paddr: dataAt + data, Filesz: l.end - data, Memsz: l.end - data, Align: dataAt},
		program(elf.PT_DYNAMIC, elf.PF_R|elf.PF_W, l.dynamic, dataAt, 8),
		program(elf.PT_NOTE, elf.PF_R, l.note, 0, 4),
		program(elf.PT_GNU_EH_FRAME, elf.PF_R, l.ehFrameHdr, 0, 4),
		// Without it ld.so makes the stack executable.
		elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16},
	)
	out := append(make([]byte, table), encode(sections)...)
	copy(out, head)
	copy(out[l.end:], names)
	for _, s := range []section{l.note, l.hash, l.dynsym, l.dynstr, l.rela, l.ehFrameHdr, l.ehFrame, l.text, l.initArray, l.dynamic} {
		copy(out[s.at:], s.data)
	}
	id := sha1.Sum(out) //nolint:gosec // a build ID
	copy(out[l.note.at:], note(id[:]))
	return out
}

func program(t elf.ProgType, f elf.ProgFlag, s section, moved, align uint64) elf.Prog64 {
	return elf.Prog64{Type: uint32(t), Flags: uint32(f), Off: s.at, Vaddr: moved + s.at, Paddr: moved + s.at, Filesz: s.size(), Memsz: s.size(), Align: align}
}

// note is NT_GNU_BUILD_ID.
func note(id []byte) []byte {
	return append(append(words(4, uint32(len(id)), 3), "GNU\x00"...), id...)
}

func words(v ...uint32) []byte { return encode(v) }

// encode writes fixed-size values one behind the other.
func encode(values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		binary.Write(&b, binary.LittleEndian, v) //nolint:errcheck // a Buffer takes all, and all have a fixed size
	}
	return b.Bytes()
}
