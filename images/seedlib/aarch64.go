package seedlib

import (
	"debug/elf"

	"github.com/unwedge/unwedge/scenarios/arch"
)

var aarch64 = machine{
	arch: arch.AArch64, relative: uint64(elf.R_AARCH64_RELATIVE),
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
}
