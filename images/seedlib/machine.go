package seedlib

import (
	"slices"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// machine is what differs between architectures.
type machine struct {
	arch arch.Arch
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

// machines has a row for each architecture, in a file of its own.
var machines = []machine{x86_64, aarch64}

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

// entry is a length, 0 for a CIE or the distance back to it for an FDE, and the rest,
// filled with DW_CFA_nop.
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
