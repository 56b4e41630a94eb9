package guestmemtest

import "debug/elf"

// Segment is a piece of memory in a dump.
type Segment struct {
	Phys uint64
	Data []byte
}

// Core is an ELF core file as QEMU's dump-guest-memory writes it: the notes in
// front, then the memory.
func Core(machine elf.Machine, notes []byte, segments ...Segment) []byte {
	const header, phdr = 64, 56
	b := make([]byte, header+phdr*(1+len(segments)))
	copy(b, elf.ELFMAG)
	b[elf.EI_CLASS], b[elf.EI_DATA], b[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	le.PutUint16(b[16:], uint16(elf.ET_CORE))
	le.PutUint16(b[18:], uint16(machine))
	le.PutUint32(b[20:], uint32(elf.EV_CURRENT))
	le.PutUint64(b[32:], header)
	le.PutUint16(b[52:], header)
	le.PutUint16(b[54:], phdr)
	le.PutUint16(b[56:], uint16(1+len(segments)))
	put := func(i int, typ elf.ProgType, phys uint64, data []byte) {
		h := b[header+phdr*i:]
		le.PutUint32(h, uint32(typ))
		for at, v := range map[int]uint64{8: uint64(len(b)), 16: phys, 24: phys, 32: uint64(len(data)), 40: uint64(len(data))} {
			le.PutUint64(h[at:], v)
		}
		b = append(b, data...)
	}
	put(0, elf.PT_NOTE, 0, notes)
	for i, s := range segments {
		put(1+i, elf.PT_LOAD, s.Phys, s.Data)
	}
	return b
}

// Note is one ELF note.
func Note(name string, typ uint32, desc []byte) []byte {
	b := make([]byte, 12)
	le.PutUint32(b, uint32(len(name)+1))
	le.PutUint32(b[4:], uint32(len(desc)))
	le.PutUint32(b[8:], typ)
	for _, part := range [][]byte{append([]byte(name), 0), desc} {
		b = append(append(b, part...), make([]byte, -len(part)&3)...)
	}
	return b
}

// Dump is the guest dumped while its vCPU idles.
func (g Guest) Dump() []byte {
	status := make([]byte, 336) // struct elf_prstatus of x86_64
	for i, v := range map[int]uint64{16: Func("start_kernel"), 17: 0x10, 19: Link + Kaslr + InitStack + 0x3f00} {
		le.PutUint64(status[112+8*i:], v)
	}
	return Core(elf.EM_X86_64, Note("CORE", uint32(elf.NT_PRSTATUS), status), Segment{Data: g})
}
