package extmod

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/scenarios/arch"
)

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

// headers is a header directory of a kernel that was built with a version of gcc.
func headers(t *testing.T, gcc int) string {
	t.Helper()
	dir := t.TempDir()
	if gcc != 0 {
		if err := os.WriteFile(filepath.Join(dir, ".config"), fmt.Appendf(nil, "CONFIG_GCC_VERSION=%d0200\n", gcc), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
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
		tools, err := FindTools(t.Context(), a, headers(t, 13))
		var gone *MissingToolError
		switch {
		case missing == "" && (err != nil || tools.Version != "gcc (Debian) 12.2" || tools.cross != cross):
			t.Errorf("tools %+v, %v", tools, err)
		case missing != "" && (!errors.As(err, &gone) || gone.Tool != missing || strings.Contains(gone.Package, "_")):
			t.Errorf("without %s: %v", missing, err)
		}
	}
	all[cross+"gcc-13"] = `echo "gcc-13 (Debian) 13.1"`
	bin(t, all)
	for built, want := range map[int]string{13: cross + "gcc-13", 12: cross + "gcc", 0: cross + "gcc"} {
		if tools, err := FindTools(t.Context(), a, headers(t, built)); err != nil || tools.cc != want {
			t.Errorf("for a kernel built with gcc %d: %+v, %v", built, tools, err)
		}
	}
	if _, err := FindTools(t.Context(), "m68k", headers(t, 0)); err == nil {
		t.Error("an architecture without a name in the kernel was taken")
	}
}

// A kernel that clang built has modules of clang's: gcc does not know its options.
func TestFindLLVM(t *testing.T) {
	dir := t.TempDir()
	config := "CONFIG_CC_IS_CLANG=y\nCONFIG_GCC_VERSION=0\nCONFIG_CLANG_VERSION=140006\n"
	if err := os.WriteFile(filepath.Join(dir, ".config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	a, _ := other()
	all := map[string]string{"make": `m=${3#M=}; echo "$*" > "$m/x.ko"`, "clang": `echo "Debian clang version 14.0.6"`, "ld.lld": "", "llvm-nm": ""}
	bin(t, all)
	tools, err := FindTools(t.Context(), a, dir)
	if err != nil || tools.Version != "Debian clang version 14.0.6" {
		t.Fatalf("tools %+v, %v", tools, err)
	}
	b, err := tools.Build(t.Context(), Spec{Name: "x", Files: map[string][]byte{"Kbuild": nil}, Headers: dir})
	if got := string(b); err != nil || !strings.Contains(got, " LLVM=1 ") || strings.Contains(got, "CROSS_COMPILE") || strings.Contains(got, "CC=") {
		t.Errorf("make ran with %q, %v", got, err)
	}
	delete(all, "ld.lld")
	bin(t, all)
	var gone *MissingToolError
	if _, err := FindTools(t.Context(), a, dir); !errors.As(err, &gone) || gone.Tool != "ld.lld" || gone.Package != "lld" {
		t.Errorf("without ld.lld: %v", err)
	}
}

func TestMake(t *testing.T) {
	tools := &Toolchain{karch: "x86", cross: "x-", cc: "x-gcc-9"}
	var log bytes.Buffer
	spec := Spec{Name: "x", Files: map[string][]byte{"Kbuild": []byte("obj-m := x.o"), "x.c": nil}, Headers: "/headers", Log: &log}
	t.Setenv("MAKEFLAGS", "-k")
	t.Setenv("KBUILD_OUTPUT", "/elsewhere")
	// The script has what the arguments and the environment are in the module.
	bin(t, map[string]string{"make": `m=${3#M=}; test -e "$m/Kbuild" || exit 1; echo "$* $MAKEFLAGS $KBUILD_OUTPUT $LC_ALL" > "$m/x.ko"`})
	b, err := tools.Build(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(b); !strings.HasPrefix(got, "-C /headers M=/") || !strings.HasSuffix(got, "ARCH=x86 CROSS_COMPILE=x- CC=x-gcc-9 CONFIG_DEBUG_INFO_BTF_MODULES= modules   C\n") {
		t.Errorf("make ran with %q", got)
	}
	bin(t, map[string]string{"make": `echo "  CC  x.o"; echo "x.c:3:1: error: no such thing" >&2; echo "make: *** [x.o] Error 1"; exit 2`})
	if _, err := tools.Build(t.Context(), spec); err == nil || err.Error() != "build module x: x.c:3:1: error: no such thing" {
		t.Errorf("error %v", err)
	}
	if !strings.Contains(log.String(), "  CC  x.o\n") {
		t.Errorf("log %q", log.String())
	}
	tools.Version, tools.major, tools.built = "gcc 12.2", 12, 14
	bin(t, map[string]string{"make": "echo 'objtool: version GLIBC_2.38 not found'; exit 2"})
	if _, err := tools.Build(t.Context(), spec); err == nil || err.Error() != "build module x: objtool: version GLIBC_2.38 not found (with gcc 12.2; the kernel was built with gcc 14)" {
		t.Errorf("error %v", err)
	}
	var failed *BuildError
	if _, err := tools.Build(t.Context(), spec); !errors.As(err, &failed) || !failed.OldCompiler() || string(failed.Log) != "objtool: version GLIBC_2.38 not found\n" {
		t.Errorf("error %v is not that of an old compiler", err)
	}
	bin(t, map[string]string{"make": `exit 3`})
	if _, err := tools.Build(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("error %v", err)
	}
	bin(t, map[string]string{"make": ``})
	if _, err := tools.Build(t.Context(), spec); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing was built, and the error is %v", err)
	}
}

func TestBuildTakesFileNamesOnly(t *testing.T) {
	bin(t, map[string]string{"make": ""})
	for _, name := range []string{"../x.c", "/x.c", "a/x.c", ""} {
		_, err := (&Toolchain{}).Build(t.Context(), Spec{Name: "x", Files: map[string][]byte{name: nil}})
		if err == nil || !strings.Contains(err.Error(), "is not a file name") {
			t.Errorf("%q: %v", name, err)
		}
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

// Who built a kernel is not what it is built from.
func TestIsDebians(t *testing.T) {
	const by = " (gcc (Debian 12.2.0-14+deb12u1) 12.2.0, GNU ld (GNU Binutils for Debian) 2.40) "
	for banner, want := range map[string]bool{
		"Linux version 6.1.0-50-cloud-amd64 (debian-kernel@lists.debian.org)" + by + "#1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1 (2026-07-02)": true,
		"Linux version 7.3.0-rc1 (unwedge@unwedge)" + by + "#1 SMP Thu Jan  1 00:00:00 UTC 1970":                                            false,
		"Linux version 6.8.0-31-generic (buildd@lcy02) (gcc (Ubuntu 13.2.0) 13.2.0) #31-Ubuntu SMP PREEMPT_DYNAMIC":                         false,
		"": false,
	} {
		if got := isDebians(banner); got != want {
			t.Errorf("%q: %v", banner, got)
		}
	}
}
