package toolchain

import (
	"github.com/unwedge/unwedge/images/hostpkg"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var aarch64 = compilers{
	arch:     arch.AArch64,
	prefixes: []string{"aarch64-linux-gnu-", "aarch64-suse-linux-", "aarch64-none-linux-gnu-", "aarch64-redhat-linux-", "aarch64-linux-"},
	gcc:      hostpkg.Packages{hostpkg.APT: "gcc-aarch64-linux-gnu", hostpkg.DNF: "gcc-aarch64-linux-gnu", hostpkg.Pacman: "aarch64-linux-gnu-gcc", hostpkg.Zypper: "cross-aarch64-gcc"},
	ld:       hostpkg.Packages{hostpkg.APT: "binutils-aarch64-linux-gnu", hostpkg.DNF: "binutils-aarch64-linux-gnu", hostpkg.Pacman: "aarch64-linux-gnu-binutils", hostpkg.Zypper: "cross-aarch64-binutils"},
	flags:    []string{"-mgeneral-regs-only", "-mlittle-endian"}, // arch/arm64/Makefile
	// arch/arm64/Makefile takes aarch64elf or else aarch64linux.
	emulations: []emulation{{names: []string{"aarch64elf", "aarch64linux"}, use: "links the kernel"}},
}
