package toolchain

import (
	"os"
	"os/exec"

	"github.com/unwedge/unwedge/images/hostpkg"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// where says which packages hold a program, a header or a library.
type where struct {
	use      string
	packages hostpkg.Packages
}

// packages of the programs and headers that kernels are built with, as far as their
// names are known.
var packages = map[string]where{
	"make":    {"runs the build", hostpkg.Everywhere("make")},
	"gcc":     {"compiles the kernel, and programs for this host that the build runs", hostpkg.Everywhere("gcc")},
	"ld":      {"links the kernel", hostpkg.Everywhere("binutils")},
	"flex":    {"makes the parser of Kconfig files", hostpkg.Everywhere("flex")},
	"bison":   {"makes the parser of Kconfig files", hostpkg.Everywhere("bison")},
	"bc":      {"computes time constants", hostpkg.Everywhere("bc")},
	"perl":    {"checks and generates headers", hostpkg.Everywhere("perl")},
	"awk":     {"generates tables", hostpkg.Packages{hostpkg.APT: "gawk", hostpkg.DNF: "gawk", hostpkg.Pacman: "gawk", hostpkg.Zypper: "gawk"}},
	"cmp":     {"tells what changed", hostpkg.Everywhere("diffutils")},
	"find":    {"finds sources", hostpkg.Everywhere("findutils")},
	"pahole":  {"makes BTF, for CONFIG_DEBUG_INFO_BTF", hostpkg.Packages{hostpkg.APT: "dwarves", hostpkg.DNF: "dwarves", hostpkg.Pacman: "pahole", hostpkg.Zypper: "dwarves"}},
	"gzip":    {"packs the kernel", hostpkg.Everywhere("gzip")},
	"bzip2":   {"packs the kernel", hostpkg.Everywhere("bzip2")},
	"xz":      {"packs the kernel", hostpkg.Packages{hostpkg.APT: "xz-utils", hostpkg.DNF: "xz", hostpkg.Pacman: "xz", hostpkg.Zypper: "xz"}},
	"lzma":    {"packs the kernel", hostpkg.Packages{hostpkg.APT: "xz-utils", hostpkg.DNF: "xz-lzma-compat", hostpkg.Pacman: "xz", hostpkg.Zypper: "xz"}},
	"lzop":    {"packs the kernel", hostpkg.Everywhere("lzop")},
	"lz4":     {"packs the kernel", hostpkg.Everywhere("lz4")},
	"zstd":    {"packs the kernel", hostpkg.Everywhere("zstd")},
	"cpio":    {"packs headers and initramfs", hostpkg.Everywhere("cpio")},
	"tar":     {"packs headers", hostpkg.Everywhere("tar")},
	"openssl": {"makes the key that modules are signed with", hostpkg.Everywhere("openssl")},
	"clang":   {"compiles the kernel", hostpkg.Everywhere("clang")},
	"ld.lld":  {"links the kernel", hostpkg.Everywhere("lld")},
	"llvm-ar": {"makes archives", hostpkg.Everywhere("llvm")},
	"llvm-nm": {"reads symbols", hostpkg.Everywhere("llvm")},
	"llvm-objcopy": {"copies sections",
		hostpkg.Everywhere("llvm")},
	"gelf.h": {"lets objtool and resolve_btfids read object files",
		hostpkg.Packages{hostpkg.APT: "libelf-dev", hostpkg.DNF: "elfutils-libelf-devel", hostpkg.Pacman: "libelf", hostpkg.Zypper: "libelf-devel"}},
	"openssl/opensslv.h": {"lets the build sign modules and read certificates",
		hostpkg.Packages{hostpkg.APT: "libssl-dev", hostpkg.DNF: "openssl-devel", hostpkg.Pacman: "openssl", hostpkg.Zypper: "libopenssl-devel"}},
	"stdio.h": {"lets the build compile programs for this host",
		hostpkg.Packages{hostpkg.APT: "libc6-dev", hostpkg.DNF: "glibc-devel", hostpkg.Pacman: "glibc", hostpkg.Zypper: "glibc-devel"}},
}

// holders finds what holds a tool; the zero where where nothing is known.
func (t Tools) holders(a arch.Arch, tool string) where {
	if t.Cross != "" {
		switch tool {
		case t.Cross + "gcc":
			return where{packages["gcc"].use, compilersFor(a).gcc}
		case t.Cross + "ld":
			return where{packages["ld"].use, compilersFor(a).ld}
		}
	}
	return packages[tool]
}

// install is the command that installs packages here, "" where it is not known.
func install(p ...hostpkg.Packages) string {
	return hostpkg.Command(hostpkg.Detect(exec.LookPath), os.Geteuid() == 0, p...)
}

// InstallCommand is the command that installs some programs here, "" where it is not
// known.
func InstallCommand(tools ...string) string {
	var p []hostpkg.Packages
	for _, tool := range tools {
		p = append(p, packages[tool].packages)
	}
	return install(p...)
}
