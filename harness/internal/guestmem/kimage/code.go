package kimage

import (
	"encoding/binary"
	"slices"
)

// maxCode bounds how much of a function is read, in bytes.
const maxCode = 64 << 10

// Code returns a function's link-time address and at most maxCode of its code.
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

// Refs returns the addresses in the kernel's image that a function's code makes, in
// the order of the code: what it takes the address of, loads or stores. It is how
// data without a symbol is found. nil where the code cannot be followed.
func (img *Image) Refs(function string) []uint64 {
	addr, code, ok := img.Code(function)
	if !ok || img.ISA.Refs == nil {
		return nil
	}
	return slices.DeleteFunc(img.ISA.Refs(addr, code), func(a uint64) bool { return a < img.Start || a >= img.End })
}

// Pointer returns the link-time address that the image holds in a word: in
// place, or by the entry of .rela.dyn that fills the word of a relocatable kernel.
func (img *Image) Pointer(addr uint64) (uint64, bool) {
	if b, ok := img.Bytes(addr, 8); ok {
		if v := binary.LittleEndian.Uint64(b); v >= img.Start && v < img.End {
			return v, true
		}
	}
	if img.ISA.Relative == 0 {
		return 0, false
	}
	le, b := binary.LittleEndian, img.payload
	for i := 0; i+24 <= len(b); i += 8 {
		if le.Uint64(b[i:]) == addr && le.Uint64(b[i+8:]) == img.ISA.Relative {
			v := le.Uint64(b[i+16:])
			return v, v >= img.Start && v < img.End
		}
	}
	return 0, false
}

// Pointers returns the words of a piece of the image that point into the image, by their
// link-time addresses; see Pointer.
func (img *Image) Pointers(addr, size uint64) map[uint64]uint64 {
	out := map[uint64]uint64{}
	add := func(at, v uint64) {
		if v >= img.Start && v < img.End {
			out[at] = v
		}
	}
	le := binary.LittleEndian
	if b, ok := img.Bytes(addr, size&^7); ok {
		for i := 0; i < len(b); i += 8 {
			add(addr+uint64(i), le.Uint64(b[i:]))
		}
	}
	if img.ISA.Relative == 0 {
		return out
	}
	b := img.payload
	for i := 0; i+24 <= len(b); i += 8 {
		if at := le.Uint64(b[i:]); at-addr < size && le.Uint64(b[i+8:]) == img.ISA.Relative {
			add(at, le.Uint64(b[i+16:]))
		}
	}
	return out
}
