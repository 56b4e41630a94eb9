package mutate

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/arch/arm64/arm64asm"

	"github.com/unwedge/unwedge/scenarios/arch"
)

var aarch64 = machine{
	arch:  arch.AArch64,
	entry: entryARM64, branch: branchARM64, without: withoutARM64, returns: returnARM64, sleep: sleepARM64,
	code: map[fixed][]byte{
		"spin":          words(0x14000000),             // b .
		"spin-irqs-off": words(0xd5034fdf, 0x14000000), // msr daifset, #15; b .
		"crash":         words(0xd4200020),             // brk #1
		// mov w0, #9; movk w0, #0x8400, lsl #16; hvc #0; b .
		"reset": words(0x52800120, 0x72b08000, 0xd4000002, 0x14000000),
	},
	sites: []siteTable{
		{name: "jump labels", start: "__start___jump_table", stop: "__stop___jump_table", entry: 16, site: relative(4)},
		// arch/arm64/include/asm/alternative.h, struct alt_instr
		{name: "alternatives", start: "__alt_instructions", stop: "__alt_instructions_end", entry: 12,
			site: func(e []byte, addr uint64) (uint64, int) { return rel32(e, addr), int(e[10]) }},
	},
}

// entryARM64: a bti landing pad, then two nops that ftrace fills
// (-fpatchable-function-entry=2 or 4,2, arch/arm64/Makefile). What follows,
// often paciasp, is overwritten: a return before it is balanced.
func entryARM64(_ *tables, body []byte, _ uint64) int {
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

func returnARM64(value int) []byte {
	mov := uint32(0xd2800000) // mov x0, #0
	if value != 0 {
		mov = 0x92800000 | uint32(-value-1)<<5 // movn x0, #(-value-1)
	}
	return words(mov, 0xd65f03c0) // ret
}

// sleepARM64 makes the frame record that the kernel's unwinder follows.
func sleepARM64(at site, to uint64) ([]byte, error) {
	const call = 12
	delta := int64(to - (at.addr + call))
	if delta >= 1<<27 || delta < -1<<27 {
		return nil, fmt.Errorf("%s is too far away", sleeper)
	}
	return words(
		0xa9bf7bfd,                            // stp x29, x30, [sp, #-16]!
		0x910003fd,                            // mov x29, sp
		0x12b00000,                            // mov w0, #0x7fffffff ms
		0x94000000|uint32(delta>>2)&0x3ffffff, // bl
		0x17fffffe,                            // b .-8
	), nil
}

func withoutARM64(b branch) []byte {
	if b.jump {
		return words(0xd65f03c0) // ret
	}
	return words(0xd503201f) // nop
}

// branchARM64 decodes one instruction. One that the decoder does not know is no
// branch: all of those it knows, and an instruction is always a word.
func branchARM64(f function, off int) (branch, error) {
	b := branch{off: off, len: 4}
	if off+4 > len(f.body) {
		return branch{}, errors.New("it is cut off")
	}
	in, err := arm64asm.Decode(f.body[off:])
	if err != nil || in.Op != arm64asm.B && in.Op != arm64asm.BL {
		return b, nil //nolint:nilerr // see above
	}
	// A conditional branch is also a B, with the condition as first argument.
	if rel, ok := in.Args[0].(arm64asm.PCRel); ok {
		b.jump = in.Op == arm64asm.B
		b.target = f.addr + uint64(off) + uint64(int64(rel))
	}
	return b, nil
}
