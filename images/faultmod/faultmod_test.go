package faultmod

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestFaultsAreInTheSource(t *testing.T) {
	b, err := source.ReadFile("src/unwedge_fault.c")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^\t\{ "([a-z-]+)", unwedge_\w+ \},$`).FindAllSubmatch(b, -1) {
		names = append(names, string(m[1]))
	}
	if !slices.Equal(names, Faults()) {
		t.Errorf("the source has %v, Faults %v", names, Faults())
	}
	// What is too long for a task's comm (TASK_COMM_LEN, 16 with the NUL) would
	// be cut there.
	for _, m := range regexp.MustCompile(`unwedge_run\(\w+, "(\w+)"\)`).FindAllSubmatch(b, -1) {
		if len(m[1]) > 15 {
			t.Errorf("thread name %s has %d bytes", m[1], len(m[1]))
		}
	}
}

func TestFor(t *testing.T) {
	for origin, want := range map[string]Options{
		"deb:linux-image-6.1.0-50-cloud-amd64=6.1.176-1@bookworm": {Version: "6.1.176-1", Suite: "bookworm"},
		"/boot/vmlinuz": {},
	} {
		want.Release, want.Arch = "6.1.0-50-cloud-amd64", arch.X86_64
		c := &candidate.Candidate{Kernel: &kernel.Kernel{Release: want.Release, Arch: want.Arch}, Origin: origin}
		if got := For(c, "", nil); got != want {
			t.Errorf("%s: %+v, want %+v", origin, got, want)
		}
	}
}

func module(vermagic string) []byte {
	return kerneltest.ELF(1, 62, kerneltest.Section{Name: ".modinfo", Type: 1, Data: []byte("license=GPL\x00vermagic=" + vermagic + "\x00")})
}

func TestCheck(t *testing.T) {
	for vermagic, ok := range map[string]bool{
		"6.1.0-50-cloud-amd64 SMP preempt mod_unload ": true,
		"6.1.0-50-cloud-amd64":                         true,
		"6.1.0-50-amd64 SMP preempt mod_unload ":       false,
		"":                                             false,
	} {
		if err := check(module(vermagic), "6.1.0-50-cloud-amd64"); (err == nil) != ok {
			t.Errorf("vermagic %q: %v", vermagic, err)
		}
	}
	if err := check([]byte("no module"), "6.1.0"); err == nil {
		t.Error("what is no ELF file was taken")
	}
}

// bin puts scripts into an otherwise empty PATH.
func bin(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

// other is the architecture that needs a cross compiler here.
func other() (arch.Arch, string) {
	for _, a := range arch.All() {
		if a != arch.Host() {
			return a, a.Facts().Multiarch + "-"
		}
	}
	return "", ""
}

func TestFindTools(t *testing.T) {
	a, cross := other()
	version := `echo "gcc (Debian) 12.2"; echo copyright`
	all := map[string]string{"make": "", cross + "gcc": version, cross + "ld": ""}
	for _, missing := range []string{"make", cross + "gcc", cross + "ld", ""} {
		some := map[string]string{}
		for name, text := range all {
			if name != missing {
				some[name] = text
			}
		}
		bin(t, some)
		tools, err := findTools(t.Context(), a, 13)
		var gone *MissingToolError
		switch {
		case missing == "" && (err != nil || tools.version != "gcc (Debian) 12.2" || tools.cross != cross):
			t.Errorf("tools %+v, %v", tools, err)
		case missing != "" && (!errors.As(err, &gone) || gone.Tool != missing || strings.Contains(gone.Package, "_")):
			t.Errorf("without %s: %v", missing, err)
		}
	}
	all[cross+"gcc-13"] = `echo "gcc-13 (Debian) 13.1"`
	bin(t, all)
	for built, want := range map[int]string{13: cross + "gcc-13", 12: cross + "gcc", 0: cross + "gcc"} {
		if tools, err := findTools(t.Context(), a, built); err != nil || tools.cc != want {
			t.Errorf("for a kernel built with gcc %d: %+v, %v", built, tools, err)
		}
	}
	if _, err := findTools(t.Context(), "m68k", 0); err == nil {
		t.Error("an architecture without a name in the kernel was taken")
	}
}

func TestMake(t *testing.T) {
	tools := toolchain{karch: "x86", cross: "x-", cc: "x-gcc-9"}
	t.Setenv("MAKEFLAGS", "-k")
	t.Setenv("KBUILD_OUTPUT", "/elsewhere")
	// The script has what the arguments and the environment are in the module.
	bin(t, map[string]string{"make": `m=${3#M=}; test -e "$m/Kbuild" || exit 1; echo "$* $MAKEFLAGS $KBUILD_OUTPUT $LC_ALL" > "$m/unwedge_fault.ko"`})
	b, err := tools.build(t.Context(), "/headers")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(b); !strings.HasPrefix(got, "-C /headers M=/") || !strings.HasSuffix(got, "ARCH=x86 CROSS_COMPILE=x- CC=x-gcc-9 CONFIG_DEBUG_INFO_BTF_MODULES= modules   C\n") {
		t.Errorf("make ran with %q", got)
	}
	bin(t, map[string]string{"make": `echo "  CC  x.o"; echo "x.c:3:1: error: no such thing" >&2; echo "make: *** [x.o] Error 1"; exit 2`})
	if _, err := tools.build(t.Context(), "/headers"); err == nil || err.Error() != "x.c:3:1: error: no such thing" {
		t.Errorf("error %v", err)
	}
	tools.version, tools.built = "gcc 12.2", 14
	bin(t, map[string]string{"make": "echo 'objtool: version GLIBC_2.38 not found'; exit 2"})
	if _, err := tools.build(t.Context(), "/headers"); err == nil || err.Error() != "objtool: version GLIBC_2.38 not found (with gcc 12.2; the kernel was built with gcc 14)" {
		t.Errorf("error %v", err)
	}
	bin(t, map[string]string{"make": `exit 3`})
	if _, err := tools.build(t.Context(), "/headers"); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v", err)
	}
	bin(t, map[string]string{"make": ``})
	if _, err := tools.build(t.Context(), "/headers"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing was built, and the error is %v", err)
	}
}

func TestBuiltWith(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]int{"CONFIG_GCC_VERSION=120200\n": 12, "CONFIG_GCC_VERSION=many\n": 0, "CONFIG_HZ=250\n": 0} {
		if err := os.WriteFile(filepath.Join(dir, ".config"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := builtWith(dir); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if got := builtWith(filepath.Join(dir, "none")); got != 0 {
		t.Errorf("without a config: %d", got)
	}
}
