package toolchain

import (
	"github.com/unwedge/unwedge/images/hostpkg"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var x86_64 = compilers{
	arch:     arch.X86_64,
	prefixes: []string{"x86_64-linux-gnu-", "x86_64-suse-linux-", "x86_64-redhat-linux-", "x86_64-linux-"},
	gcc:      hostpkg.Packages{hostpkg.APT: "gcc-x86-64-linux-gnu", hostpkg.DNF: "gcc-x86_64-linux-gnu", hostpkg.Zypper: "cross-x86_64-gcc"},
	ld:       hostpkg.Packages{hostpkg.APT: "binutils-x86-64-linux-gnu", hostpkg.DNF: "binutils-x86_64-linux-gnu", hostpkg.Zypper: "cross-x86_64-binutils"},
	flags:    []string{"-m64", "-mno-red-zone", "-mcmodel=kernel"}, // arch/x86/Makefile
	// arch/x86/Makefile, and arch/x86/boot/Makefile for the real-mode code.
	emulations: []emulation{
		{names: []string{"elf_x86_64"}, flags: []string{"-m64"}, use: "links the kernel"},
		{names: []string{"elf_i386"}, flags: []string{"-m32"}, use: "links the kernel's boot code"},
	},
}
