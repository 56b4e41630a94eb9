package kimage

import (
	"encoding/binary"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// maxCode bounds how much of a function is read, in bytes.
const maxCode = 64 << 10

// Refs returns the addresses in the kernel's image that a function's code
// makes, in the order of the code: what it takes the address of, loads or
// stores. It is how data without a symbol is found. aarch64 only: ADRP with
// ADD, LDR or STR (Arm ARM, C4.1).
func (img *Image) Refs(function string) []uint64 {
	addr, ok := img.Symbols.Lookup(function)
	if !ok || img.Arch != arch.AArch64 {
		return nil
	}
	size, ok := img.Symbols.Size(addr)
	if !ok {
		return nil
	}
	code, ok := img.Bytes(addr, min(size, maxCode)&^3)
	if !ok {
		return nil
	}
	var out []uint64
	var page [32]uint64 // what ADRP left in each register
	for i := 0; i < len(code); i += 4 {
		in := binary.LittleEndian.Uint32(code[i:])
		rd, rn := in&31, in>>5&31
		if in&0x9f000000 == 0x90000000 {
			imm := int64(in>>29&3|in>>3&0x1ffffc) << 43 >> 31 // 21 bits, in pages
			page[rd] = (addr+uint64(i))&^0xfff + uint64(imm)
			continue
		}
		off, ok := offset12(in)
		if ok && page[rn] != 0 {
			if a := page[rn] + off; a >= img.Start && a < img.End {
				out = append(out, a)
			}
		}
	}
	return out
}

// offset12 decodes the 12-bit offset, in bytes, of ADD (64 bits, not shifted)
// and of LDR and STR of 32 and 64 bits.
func offset12(in uint32) (uint64, bool) {
	imm := uint64(in >> 10 & 0xfff)
	switch in & 0xffc00000 {
	case 0x91000000:
		return imm, true
	case 0xf9400000, 0xf9000000:
		return imm * 8, true
	case 0xb9400000, 0xb9000000:
		return imm * 4, true
	}
	return 0, false
}

// relative is R_AARCH64_RELATIVE.
const relative = 0x403

// Pointer returns the link-time address that the image holds in a word: in
// place, or by the entry of .rela.dyn that fills the word of a relocatable
// arm64 kernel.
func (img *Image) Pointer(addr uint64) (uint64, bool) {
	if b, ok := img.Bytes(addr, 8); ok {
		if v := binary.LittleEndian.Uint64(b); v >= img.Start && v < img.End {
			return v, true
		}
	}
	if img.Arch != arch.AArch64 {
		return 0, false
	}
	le, b := binary.LittleEndian, img.payload
	for i := 0; i+24 <= len(b); i += 8 {
		if le.Uint64(b[i:]) == addr && le.Uint64(b[i+8:]) == relative {
			v := le.Uint64(b[i+16:])
			return v, v >= img.Start && v < img.End
		}
	}
	return 0, false
}
