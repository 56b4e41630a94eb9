package kimage

import (
	"encoding/binary"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// maxCode bounds how much of a function is read, in bytes.
const maxCode = 64 << 10

// Code returns a function's link-time address and its code, of which there is at
// most maxCode.
func (img *Image) Code(function string) (addr uint64, code []byte, ok bool) {
	addr, ok = img.Symbols.Lookup(function)
	if !ok {
		return 0, nil, false
	}
	size, ok := img.Symbols.Size(addr)
	if !ok {
		return 0, nil, false
	}
	code, ok = img.Bytes(addr, min(size, maxCode)&^3)
	return addr, code, ok
}

// Refs returns the addresses in the kernel's image that a function's code
// makes, in the order of the code: what it takes the address of, loads or
// stores. It is how data without a symbol is found. aarch64 only: ADRP and what
// follows from it by ADD, LDR and STR (Arm ARM, C4.1); compilers address many
// variables from one of them (-fsection-anchors).
func (img *Image) Refs(function string) []uint64 {
	addr, code, ok := img.Code(function)
	if !ok || img.Arch != arch.AArch64 {
		return nil
	}
	var out []uint64
	var regs registers
	for i := 0; i < len(code); i += 4 {
		a, ok := regs.step(addr+uint64(i), binary.LittleEndian.Uint32(code[i:]))
		if ok && a >= img.Start && a < img.End {
			out = append(out, a)
		}
	}
	return out
}

// registers are the addresses that are known to be in x0 to x30, 0 for what is
// not known. Branches are not followed.
type registers [32]uint64

// step runs one instruction. ok is true where it makes or uses an address that
// is not merely a page's.
func (r *registers) step(pc uint64, in uint32) (addr uint64, ok bool) {
	rd, rn := in&31, in>>5&31
	base := r[rn]
	imm := uint64(in >> 10 & 0xfff)
	switch {
	case in&0x9f000000 == 0x90000000: // ADRP: 21 bits, in pages
		pages := int64(in>>29&3|in>>3&0x1ffffc) << 43 >> 31
		r[rd] = pc&^0xfff + uint64(pages)
		return 0, false
	case in&0xffc00000 == 0x91000000: // ADD, 64 bits, not shifted
		addr = base + imm
		r[rd] = 0
		if base != 0 {
			r[rd] = addr
		}
	case in&0xffe00c00 == 0xf8400c00: // LDR with pre-index: the base moves
		addr = base + uint64(int64(in>>12&0x1ff)<<55>>55)
		r[rd] = 0
		if base != 0 {
			r[rn] = addr
		}
	case in&0xffc00000 == 0xf9400000: // LDR, 64 bits
		addr, r[rd] = base+imm*8, 0
	case in&0xffc00000 == 0xb9400000: // LDR, 32 bits
		addr, r[rd] = base+imm*4, 0
	case in&0xffc00000 == 0xf9000000: // STR, 64 bits
		addr = base + imm*8
	case in&0xffc00000 == 0xb9000000: // STR, 32 bits
		addr = base + imm*4
	case in&0xfc000000 == 0x94000000: // BL: the called function's to change
		clear(r[:19])
		return 0, false
	case in&0x1c000000 == 0x10000000, in&0x0e000000 == 0x0a000000: // other arithmetic
		r[rd] = 0
		return 0, false
	}
	return addr, base != 0 && addr != 0
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
