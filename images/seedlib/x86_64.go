package seedlib

import (
	"debug/elf"

	"github.com/unwedge/unwedge/scenarios/arch"
)

var x86_64 = machine{
	arch: arch.X86_64, relative: uint64(elf.R_X86_64_RELATIVE),
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
}
