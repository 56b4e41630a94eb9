// Package toolchain says whether this host can build a kernel for an architecture,
// and with what: which programs and headers are missing, too old or broken, and the
// packages that hold them.
package toolchain

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/unwedge/unwedge/images/hostpkg"
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

// compilers is what a toolchain for one architecture is called and must be able to do.
type compilers struct {
	arch arch.Arch
	// prefixes are what distributions call their cross compilers: Debian, Fedora and
	// Arch; openSUSE; the ones that Arm and kernel.org publish.
	prefixes []string
	// gcc and ld are the packages of a cross compiler and its linker.
	gcc, ld hostpkg.Packages
	// flags are flags that the kernel cannot do without, by which a compiler for another
	// architecture is known.
	flags []string
	// emulations are the modes of the linker that the build uses.
	emulations []emulation
}

// known has a row for each architecture, in a file of its own.
var known = []compilers{x86_64, aarch64}

// compilersFor returns the zero row for an architecture that has none.
func compilersFor(a arch.Arch) compilers {
	for _, c := range known {
		if c.arch == a {
			return c
		}
	}
	return compilers{}
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
	t := Tools{KArch: r.Arch.Facts().Make, Cross: r.Cross, LLVM: r.LLVM, CC: "gcc", LD: "ld"}
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
	candidates := compilersFor(a).prefixes
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
