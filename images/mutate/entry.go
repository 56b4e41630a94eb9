package mutate

import (
	"bytes"
	"encoding/binary"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// entry returns the length of what a function begins with that others rely
// on or rewrite: a landing pad for indirect branches, and ftrace's hook.
func (t *tables) entry(body []byte, addr uint64) int {
	if t.arch == arch.X86_64 {
		return t.entryX86(body, addr)
	}
	return entryARM64(body)
}

// entryX86: endbr64 (CONFIG_X86_KERNEL_IBT), then `call __fentry__`, which boot
// turns into a nop, or that nop of 5 bytes (CONFIG_FUNCTION_TRACER).
func (t *tables) entryX86(body []byte, addr uint64) int {
	n := 0
	if bytes.HasPrefix(body, []byte{0xf3, 0x0f, 0x1e, 0xfa}) {
		n = 4
	}
	rest := body[n:]
	if bytes.HasPrefix(rest, []byte{0x0f, 0x1f, 0x44, 0x00, 0x00}) {
		return n + 5
	}
	if len(rest) >= 5 && rest[0] == 0xe8 {
		target := addr + uint64(n) + 5 + uint64(int64(int32(binary.LittleEndian.Uint32(rest[1:]))))
		if fentry, ok := t.table.Lookup("__fentry__"); ok && target == fentry {
			return n + 5
		}
	}
	return n
}

// entryARM64: a bti landing pad, then two nops that ftrace fills
// (-fpatchable-function-entry=2 or 4,2, arch/arm64/Makefile). What follows,
// often paciasp, is overwritten: a return before it is balanced.
func entryARM64(body []byte) int {
	const nop = 0xd503201f
	word := func(i int) uint32 {
		if i+4 > len(body) {
			return 0
		}
		return binary.LittleEndian.Uint32(body[i:])
	}
	n := 0
	if word(0)&^0xc0 == 0xd503241f { // bti, bti c, bti j, bti jc
		n = 4
	}
	if word(n) == nop && word(n+4) == nop {
		n += 8
	}
	return n
}
