package seedlib

import (
	"debug/elf"
	"slices"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// machine is what differs between architectures.
type machine struct {
	id elf.Machine
	// relative is the info of a relocation that adds the load address.
	relative uint64
	// function and constructor are the code, one behind the other.
	function, constructor []byte
	// cie says how a function is unwound at its first instruction, unwind how the
	// constructor is from there on: instructions of DWARF 5, 6.4.2.
	cie, unwind []byte
}

// The DWARF call frame instructions that are used (DWARF 5, 7.24).
const (
	defCFA       = 0x0c // register, offset
	defCFAOffset = 0x0e // offset
	advance      = 0x40 // | code units
	offset       = 0x80 // | register, data units
	restore      = 0xc0 // | register
)

var machines = map[arch.Arch]machine{
	arch.X86_64: {
		id: elf.EM_X86_64, relative: uint64(elf.R_X86_64_RELATIVE),
		function: []byte{
			0xb8, 0x3e, 0x01, 0x00, 0x00, // mov $318,%eax: getrandom
			0x31, 0xd2, // xor %edx,%edx
			0x0f, 0x05, // syscall
			0xc3, // ret
		},
		constructor: []byte{
			0x48, 0x83, 0xec, 0x18, // sub $24,%rsp
			0xb8, 0x27, 0x00, 0x00, 0x00, // mov $39,%eax: getpid
			0x0f, 0x05, // syscall
			0x83, 0xf8, 0x01, // cmp $1,%eax
			0x75, 0x0d, // jne behind the call
			0x48, 0x89, 0xe7, // mov %rsp,%rdi
			0xbe, 0x10, 0x00, 0x00, 0x00, // mov $16,%esi
			0xe8, 0xd9, 0xff, 0xff, 0xff, // call the function, 39 bytes back
			0x48, 0x83, 0xc4, 0x18, // add $24,%rsp
			0xc3, // ret
		},
		// Code unit 1, data unit -8, the return address is column 16; the CFA is
		// rsp (7) + 8, and the return address is below it.
		cie:    []byte{1, 0x78, 16, 1, pcRelative, defCFA, 7, 8, offset | 16, 1},
		unwind: []byte{advance | 4, defCFAOffset, 32, advance | 29, defCFAOffset, 8},
	},
	arch.AArch64: {
		id: elf.EM_AARCH64, relative: uint64(elf.R_AARCH64_RELATIVE),
		function: words(
			0x52800002, // mov w2, #0
			0xd28022c8, // mov x8, #278: getrandom
			0xd4000001, // svc #0
			0xd65f03c0, // ret
		),
		constructor: words(
			0xa9be7bfd, // stp x29, x30, [sp, #-32]!
			0x910003fd, // mov x29, sp
			0xd2801588, // mov x8, #172: getpid
			0xd4000001, // svc #0
			0x7100041f, // cmp w0, #1
			0x54000081, // b.ne behind the call
			0x910043e0, // add x0, sp, #16
			0xd2800201, // mov x1, #16
			0x97fffff4, // bl the function, 12 instructions back
			0xa8c27bfd, // ldp x29, x30, [sp], #32
			0xd65f03c0, // ret
		),
		// Code unit 4, data unit -8, the return address is x30; the CFA is sp (31).
		cie: []byte{4, 0x78, 30, 1, pcRelative, defCFA, 31, 0},
		unwind: []byte{
			advance | 1, defCFAOffset, 32, offset | 29, 4, offset | 30, 3,
			advance | 9, restore | 29, restore | 30, defCFAOffset, 0,
		},
	},
}

func (m machine) text() []byte { return slices.Concat(m.function, m.constructor) }

// The pointer encodings (LSB 5.0, "DWARF Exception Header Encoding").
const (
	pcRelative    = 0x1b // four bytes, from where they stand
	tableRelative = 0x3b // four bytes, from the beginning of .eh_frame_hdr
	plain         = 0x03 // four bytes
)

// ehFrame is the section at an address, for code at text: a CIE, an FDE for each
// function, and the end.
func (m machine) ehFrame(at, text uint64) []byte {
	at = (at + 7) &^ 7
	cie := entry(0, append([]byte("\x01zR\x00"), m.cie...))
	out := slices.Clone(cie)
	for _, f := range m.functions(text) {
		here := at + uint64(len(out))
		body := words(uint32(f.at-(here+8)), f.size)
		body = append(body, 0) // no augmentation
		out = append(out, entry(uint32(here+4-at), append(body, f.unwind...))...)
	}
	return append(out, 0, 0, 0, 0)
}

// entry is a length, what tells a CIE (0) from an FDE (how far back its CIE is),
// and the rest, filled with DW_CFA_nop.
func entry(id uint32, body []byte) []byte {
	body = append(body, make([]byte, -(len(body)+8)&7)...)
	return slices.Concat(words(uint32(len(body)+4), id), body)
}

type function struct {
	at     uint64
	size   uint32
	unwind []byte
}

func (m machine) functions(text uint64) []function {
	return []function{
		{text, uint32(len(m.function)), nil},
		{text + uint64(len(m.function)), uint32(len(m.constructor)), m.unwind},
	}
}

// ehFrameHdr is the section at an address: a table to find an FDE by.
func (m machine) ehFrameHdr(at, ehFrame, text uint64) []byte {
	at = (at + 7) &^ 7
	fs := m.functions(text)
	out := append([]byte{1, pcRelative, plain, tableRelative}, words(uint32(ehFrame-(at+4)), uint32(len(fs)))...)
	fde := ehFrame + uint64(len(entry(0, append([]byte("\x01zR\x00"), m.cie...))))
	for _, f := range fs {
		out = append(out, words(uint32(f.at-at), uint32(fde-at))...)
		fde += uint64(len(entry(0, append(make([]byte, 9), f.unwind...))))
	}
	return out
}
