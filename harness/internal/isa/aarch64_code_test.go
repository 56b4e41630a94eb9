package isa

import (
	"encoding/binary"
	"slices"
	"testing"
)

// The compiler keeps the anchor of a file's variables in one register, copies it, and
// steps on from the copy, over calls too.
func TestArmRefs(t *testing.T) {
	var code []byte
	for _, in := range []uint32{
		0xb00089b8,                          // adrp x24, .+0x1135000
		0x91000000 | 0x140<<10 | 24<<5 | 24, // add x24, x24, #0x140
		0xaa1803f4,                          // mov x20, x24
		0x91000000 | 8<<10 | 24<<5,          // add x0, x24, #8
		0x94000002,                          // bl .+8
		0xf8400c00 | 40<<12 | 20<<5,         // ldr x0, [x20, #40]!
		0xaa1f03f4,                          // mov x20, xzr
		0xf9400280,                          // ldr x0, [x20]
	} {
		code = binary.LittleEndian.AppendUint32(code, in)
	}
	const at = 0xffff800008848218
	page := uint64(at)&^0xfff + 0x1135000
	if got, want := armRefs(at, code), []uint64{page + 0x140, page + 0x148, page + 0x168}; !slices.Equal(got, want) {
		t.Errorf("%#x, want %#x", got, want)
	}
}
