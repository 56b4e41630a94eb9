// Package toolchain says whether this host can build a kernel for an architecture,
// and with what: which programs and headers are missing, too old or broken, and the
// packages that hold them.
package toolchain

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// Request says what is to be built.
type Request struct {
	Arch arch.Arch
	// LLVM asks for clang and ld.lld instead of gcc and binutils.
	LLVM bool
	// Cross is the prefix of the programs, "" to look for it.
	Cross string
	// NoCcache does without ccache.
	NoCcache bool
	// Source is the kernel tree; its minimal versions are read. "" reads none.
	Source string
	// Config is a .config: what it needs is looked for too. "" for none.
	Config string
}

// Tools are what a kernel is built with.
type Tools struct {
	// KArch is the kernel's own name of the architecture, make's ARCH.
	KArch string
	// Cross is the prefix of the programs, "" for the host's own.
	Cross string
	LLVM  bool
	// CC and LD are the compiler's and the linker's names.
	CC, LD string
	// Ccache is set where compilations go through ccache.
	Ccache bool
}

var kernelArch = map[arch.Arch]string{arch.X86_64: "x86_64", arch.AArch64: "arm64"}

// prefixes are what distributions call their cross compilers: Debian, Fedora and
// Arch; openSUSE; the ones that Arm and kernel.org publish.
var prefixes = map[arch.Arch][]string{
	arch.X86_64:  {"x86_64-linux-gnu-", "x86_64-suse-linux-", "x86_64-redhat-linux-", "x86_64-linux-"},
	arch.AArch64: {"aarch64-linux-gnu-", "aarch64-suse-linux-", "aarch64-none-linux-gnu-", "aarch64-redhat-linux-", "aarch64-linux-"},
}

// MissingError says that a program is not installed.
type MissingError struct {
	Tool string
	// Command installs it, "" where that is not known.
	Command string
}

func (e *MissingError) Error() string {
	if e.Command == "" {
		return e.Tool + " is not installed"
	}
	return fmt.Sprintf("%s is not installed: install with `%s`", e.Tool, e.Command)
}

// Find chooses the compiler and the linker. It only looks them up; Check tries them.
// The error is a *MissingError where there are none.
func Find(r Request) (Tools, error) {
	t := Tools{KArch: kernelArch[r.Arch], Cross: r.Cross, LLVM: r.LLVM, CC: "gcc", LD: "ld"}
	if t.KArch == "" {
		return t, fmt.Errorf("find compiler: no architecture %q", r.Arch)
	}
	if r.LLVM {
		t.CC, t.LD, t.Cross = "clang", "ld.lld", ""
	} else if t.Cross == "" && r.Arch != arch.Host() {
		t.Cross = findPrefix(r.Arch)
	}
	if !r.LLVM {
		t.CC, t.LD = t.Cross+"gcc", t.Cross+"ld"
	}
	for _, tool := range []string{"make", t.CC, t.LD} {
		if !there(tool) {
			return t, &MissingError{tool, install(t.holders(r.Arch, tool).packages)}
		}
	}
	t.Ccache = !r.NoCcache && there("ccache")
	return t, nil
}

// findPrefix is the prefix of an installed cross compiler; the first that it may be
// where none is.
func findPrefix(a arch.Arch) string {
	candidates := prefixes[a]
	if env := os.Getenv("CROSS_COMPILE"); env != "" && strings.Contains(env, string(a)) {
		candidates = append([]string{env}, candidates...)
	}
	for _, p := range candidates {
		if there(p + "gcc") {
			return p
		}
	}
	return candidates[0]
}

func there(tool string) bool {
	_, err := exec.LookPath(tool)
	return err == nil
}

// hostCC compiles the programs that the build runs.
func (t Tools) hostCC() string {
	if t.LLVM {
		return "clang"
	}
	return "gcc"
}

// MakeArgs are make's variables for the tools.
func (t Tools) MakeArgs() []string {
	args := []string{"ARCH=" + t.KArch}
	if t.LLVM {
		args = append(args, "LLVM=1")
	} else if t.Cross != "" {
		args = append(args, "CROSS_COMPILE="+t.Cross)
	}
	if t.Ccache {
		args = append(args, "CC=ccache "+t.CC, "HOSTCC=ccache "+t.hostCC())
	}
	return args
}

// Programs are the names of what a build may run, and Kconfig try, whether they are
// installed or not.
func (t Tools) Programs() []string {
	names := []string{"make", "gcc", "ld", "as", "flex", "bison", "pahole", "rustc", "bindgen", "python3", "perl", t.CC, t.LD}
	if t.LLVM {
		return append(names, "llvm-ar", "llvm-nm", "llvm-objcopy", "llvm-strip", "llvm-readelf")
	}
	for _, n := range []string{"as", "ar", "nm", "objcopy", "strip", "readelf"} {
		names = append(names, t.Cross+n)
	}
	return names
}
