package toolchain

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// fakeHost puts programs into a directory that is the whole of PATH. Each is a
// script of /bin/sh, "" for one that does nothing.
func fakeHost(t *testing.T, programs map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, body := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	t.Setenv("CROSS_COMPILE", "")
}

// ldScript is a linker: version 2.40, some emulations, and what else it does.
func ldScript(emulations, then string) string {
	return fmt.Sprintf(`case "$1" in
-V|--version) echo "GNU ld (GNU Binutils for Debian) 2.40"
  [ "$1" = -V ] && { echo "  Supported emulations:"; for e in %s; do echo "   $e"; done; }
  exit 0;;
esac
%s
exit 0`, emulations, then)
}

// gccScript is a compiler that makes anything of anything.
func gccScript(version string) string {
	return `[ "$1" = --version ] && echo "gcc (Debian ` + version + `-14) ` + version + `"
exit 0`
}

// crossHost has all that an aarch64 kernel takes on an x86_64 host and the other way
// round.
func crossHost(a arch.Arch) map[string]string {
	prefix, emulations := "", "elf_x86_64 elf_i386 elf_iamcu"
	if a == arch.AArch64 {
		emulations = "aarch64linux aarch64elf"
	}
	if a != arch.Host() {
		prefix = compilersFor(a).prefixes[0]
	}
	all := map[string]string{prefix + "gcc": gccScript("12.2.0"), prefix + "ld": ldScript(emulations, "")}
	if prefix != "" {
		all["gcc"], all["ld"] = gccScript("12.2.0"), ldScript("elf_x86_64", "")
	}
	for _, n := range []string{"make", "flex", "bison", "bc", "awk", "cmp", "find", "apt-get"} {
		all[n] = `[ "$1" = --version ] && echo "` + n + ` 4.3"; exit 0`
	}
	return all
}

const changes = `
====================== ===============  ========================================
        Program        Minimal version       Command to check the version
====================== ===============  ========================================
GNU C                  13.1             gcc --version
Clang/LLVM (optional)  15.0.0           clang --version
GNU make               3.82             make --version
binutils               2.41             ld -v
flex                   2.5.35           flex --version
util-linux             2.10o            fdformat --version
pahole                 1.16             pahole --version
====================== ===============  ========================================
`

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCheck(t *testing.T) {
	if arch.Host() == "" {
		t.Skip("this host's architecture is not in the table")
	}
	missingScript := `case " $* " in *" -r "*) echo "ld: cannot open linker script file ldscripts/aarch64elf.xr: No such file or directory" >&2; exit 1;; esac`
	for _, tc := range []struct {
		name   string
		arch   arch.Arch
		change func(host map[string]string)
		source map[string]string
		want   []string // in the findings, in any order; none means none
		fix    string   // in the command
	}{
		{name: "healthy x86_64", arch: arch.X86_64},
		{name: "healthy aarch64", arch: arch.AArch64},
		{name: "no parsers", arch: arch.X86_64, change: func(h map[string]string) { delete(h, "flex"); delete(h, "bison") },
			want: []string{"flex: not installed", "bison: not installed"}, fix: "apt-get install -y --no-install-recommends flex bison"},
		{name: "linker script deleted", arch: arch.AArch64, change: func(h map[string]string) {
			h[ldOf(arch.AArch64)] = ldScript("aarch64linux aarch64elf", missingScript)
		}, want: []string{"the linker script of emulation aarch64elf is missing", "ldscripts/aarch64elf.xr"}, fix: "apt-get install --reinstall -y --no-install-recommends binutils"},
		{name: "bare emulation left out", arch: arch.AArch64, change: func(h map[string]string) {
			h[ldOf(arch.AArch64)] = ldScript("aarch64linux", missingScript)
		}, want: []string{"the linker script of emulation aarch64linux is missing"}},
		{name: "one emulation is enough", arch: arch.AArch64, change: func(h map[string]string) {
			h[ldOf(arch.AArch64)] = ldScript("aarch64linux", "")
		}},
		{name: "linker of another architecture", arch: arch.AArch64, change: func(h map[string]string) {
			h[ldOf(arch.AArch64)] = ldScript("elf_x86_64 elf_i386", "")
		}, want: []string{"no emulation aarch64elf or aarch64linux, only elf_x86_64, elf_i386"}},
		{name: "no 32 bit", arch: arch.X86_64, change: func(h map[string]string) {
			h[ldOf(arch.X86_64)] = ldScript("elf_x86_64", "")
		}, want: []string{"no emulation elf_i386"}},
		{name: "compiler of another architecture", arch: arch.AArch64, change: func(h map[string]string) {
			h[gccOf(arch.AArch64)] = `case " $* " in *" -mgeneral-regs-only "*) echo "gcc: error: unrecognized command-line option '-mlittle-endian'" >&2; exit 1;; esac; exit 0`
		}, want: []string{"cannot compile for aarch64", "-mlittle-endian"}},
		{name: "ccache", arch: arch.X86_64, change: func(h map[string]string) { h["ccache"] = `exec "$@"` }},
		{name: "ccache without a directory", arch: arch.X86_64, change: func(h map[string]string) {
			h["ccache"] = `echo "ccache: error: Failed to create directory /cache/tmp: Permission denied" >&2; exit 1`
		}, want: []string{"ccache: it fails", "/cache/tmp: Permission denied", "CCACHE_DISABLE=1"}},
		{name: "no C library", arch: arch.X86_64, change: func(h map[string]string) {
			h["gcc"] = `case " $* " in *" -E "*) echo "fatal error: stdio.h: No such file or directory" >&2; exit 1;; esac; exit 0`
		}, want: []string{"stdio.h: no such header"}, fix: "libc6-dev"},
		{name: "too old", arch: arch.X86_64, source: map[string]string{"Documentation/process/changes.rst": changes},
			want: []string{"version 12.2.0 is too old: this tree needs 13.1", "version 2.40 is too old: this tree needs 2.41", "changes.rst"}},
		{name: "the script knows better", arch: arch.X86_64, source: map[string]string{
			"Documentation/process/changes.rst": changes,
			"scripts/min-tool-version.sh":       "case \"$1\" in\nbinutils)\n\techo 2.23.0\n\t;;\ngcc)\n\tif [ \"$ARCH\" = parisc64 ]; then\n\t\techo 99.0\n\telse\n\t\techo 5.1.0\n\tfi\n\t;;\nesac\n",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host := crossHost(tc.arch)
			if tc.change != nil {
				tc.change(host)
			}
			fakeHost(t, host)
			source := ""
			if tc.source != nil {
				source = tree(t, tc.source)
			}
			findings, err := Check(t.Context(), Request{Arch: tc.arch, Source: source})
			if err != nil {
				t.Fatal(err)
			}
			broken := Err(findings)
			if len(tc.want) == 0 {
				if broken != nil {
					t.Fatalf("findings on a healthy host: %v", broken)
				}
				return
			}
			var b *BrokenError
			if !errors.As(broken, &b) {
				t.Fatalf("nothing found, want %q", tc.want)
			}
			for _, w := range tc.want {
				if !strings.Contains(b.Error(), w) {
					t.Errorf("findings %q\nwant among them %q", b.Error(), w)
				}
			}
			if tc.name == "too old" && b.Command != "" {
				t.Errorf("command %q, but what is installed is what there is", b.Command)
			}
			if !strings.Contains(b.Command, tc.fix) {
				t.Errorf("command %q, want %q in it", b.Command, tc.fix)
			}
		})
	}
}

func ldOf(a arch.Arch) string  { return strings.TrimSuffix(gccOf(a), "gcc") + "ld" }
func gccOf(a arch.Arch) string { return crossOf(a) + "gcc" }

func crossOf(a arch.Arch) string {
	if a == arch.Host() {
		return ""
	}
	return compilersFor(a).prefixes[0]
}

// A temporary directory without room says nothing of the compiler.
func TestNoRoomToTry(t *testing.T) {
	host := crossHost(arch.X86_64)
	host[gccOf(arch.X86_64)] = `echo "/tmp/try.c:1:1: fatal error: error closing /tmp/cc1.s: No space left on device" >&2; exit 1`
	fakeHost(t, host)
	findings, err := Check(t.Context(), Request{Arch: arch.X86_64})
	if !errors.Is(err, syscall.ENOSPC) || findings != nil {
		t.Errorf("findings %v, error %v", findings, err)
	}
}

func TestNoCompiler(t *testing.T) {
	fakeHost(t, map[string]string{"apt-get": ""})
	findings, err := Check(t.Context(), Request{Arch: arch.AArch64, LLVM: true})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range findings {
		names = append(names, f.Tool)
	}
	for _, want := range []string{"make", "clang", "ld.lld", "llvm-objcopy", "flex", "bc"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not named as missing: %v", want, names)
		}
	}
	_, err = Find(Request{Arch: arch.AArch64})
	var missing *MissingError
	if !errors.As(err, &missing) || missing.Tool != "make" {
		t.Errorf("find: %v", err)
	}
	if _, err := Find(Request{Arch: "m68k"}); err == nil {
		t.Error("an unknown architecture has tools")
	}
}

func TestTheCrossCompilerIsFound(t *testing.T) {
	other := arch.AArch64
	if arch.Host() == other {
		other = arch.X86_64
	}
	for _, prefix := range compilersFor(other).prefixes {
		fakeHost(t, map[string]string{"make": "", prefix + "gcc": "", prefix + "ld": "", "ccache": ""})
		tools, err := Find(Request{Arch: other})
		if err != nil || tools.Cross != prefix {
			t.Fatalf("prefix %q: %+v, %v", prefix, tools, err)
		}
		want := []string{"ARCH=" + other.Facts().Make, "CROSS_COMPILE=" + prefix, "CC=ccache " + prefix + "gcc", "HOSTCC=ccache gcc"}
		if got := tools.MakeArgs(); !slices.Equal(got, want) {
			t.Errorf("make's arguments %q, want %q", got, want)
		}
	}
	fakeHost(t, map[string]string{"make": "", "clang": "", "ld.lld": "", "ccache": ""})
	tools, err := Find(Request{Arch: other, LLVM: true, NoCcache: true})
	if want := []string{"ARCH=" + other.Facts().Make, "LLVM=1"}; err != nil || !slices.Equal(tools.MakeArgs(), want) {
		t.Errorf("LLVM: %q, %v", tools.MakeArgs(), err)
	}
}

func TestCheckConfig(t *testing.T) {
	config := "CONFIG_KERNEL_LZ4=y\nCONFIG_DEBUG_INFO_BTF=y\nCONFIG_MODULE_SIG=y\nCONFIG_UNWINDER_ORC=y\n"
	source := tree(t, map[string]string{"Documentation/process/changes.rst": changes, ".config": config})
	host := crossHost(arch.X86_64)
	host["gcc"] = `case " $* " in *openssl/opensslv.h*) echo "fatal error: openssl/opensslv.h: No such file or directory" >&2; exit 1;; esac; exit 0`
	host["pahole"] = "echo v1.15"
	host["dnf"] = ""
	fakeHost(t, host)
	findings, err := CheckConfig(t.Context(), Request{Arch: arch.X86_64, Source: source, Config: filepath.Join(source, ".config"), Cross: crossOf(arch.X86_64)})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range findings {
		got[f.Tool] = f.Problem
	}
	want := map[string]string{
		"lz4": notInstalled, "openssl": notInstalled, "openssl/opensslv.h": "no such header for gcc",
		"pahole": "version 1.15 is too old: this tree needs 1.16 or later (Documentation/process/changes.rst)",
	}
	if !maps.Equal(got, want) {
		t.Errorf("findings %v\nwant %v", got, want)
	}
	var b *BrokenError
	if !errors.As(Err(findings), &b) || !strings.Contains(b.Command, "dnf install -y") || !strings.Contains(b.Command, "openssl-devel") || strings.Contains(b.Command, "dwarves") {
		t.Errorf("command %q, want dnf's with openssl-devel", b.Command)
	}
}

func TestParseChanges(t *testing.T) {
	got := parseChanges(strings.NewReader(changes))
	want := map[string]string{"gcc": "13.1", "llvm": "15.0.0", "make": "3.82", "binutils": "2.41", "flex": "2.5.35", "pahole": "1.16"}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	old := parseChanges(strings.NewReader("o  Gnu C                  3.2                     # gcc --version\no  Gnu make               3.80                    # make --version\n"))
	if !maps.Equal(old, map[string]string{"gcc": "3.2", "make": "3.80"}) {
		t.Errorf("an old table: %v", old)
	}
}

// minTools is scripts/min-tool-version.sh of 6.15, in which gcc's and LLVM's minimum
// is another one for x86.
const minTools = `case "$1" in
binutils)
	echo 2.25.0
	;;
gcc)
	if [ "$ARCH" = parisc64 ]; then
		echo 12.0.0
	elif [ "$SRCARCH" = x86 ]; then
		echo 8.1.0
	else
		echo 5.1.0
	fi
	;;
llvm)
	if [ "$SRCARCH" = s390 -o "$SRCARCH" = x86 ]; then
		echo 15.0.0
	elif [ "$SRCARCH" = loongarch ]; then
		echo 18.0.0
	else
		echo 13.0.1
	fi
	;;
*)
	exit 1
	;;
esac
`

func TestParseMinTools(t *testing.T) {
	for a, want := range map[arch.Arch]map[string]string{
		arch.X86_64:  {"binutils": "2.25.0", "gcc": "8.1.0", "llvm": "15.0.0"},
		arch.AArch64: {"binutils": "2.25.0", "gcc": "5.1.0", "llvm": "13.0.1"},
	} {
		if got := parseMinTools(strings.NewReader(minTools), a); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
}

func TestVersions(t *testing.T) {
	for out, want := range map[string]string{
		"gcc (Debian 12.2.0-14+deb12u1) 12.2.0\nmore":            "12.2.0",
		"GNU ld (GNU Binutils for Debian) 2.40":                  "2.40",
		"GNU ld version 2.41-37.fc40":                            "2.41",
		"Debian clang version 14.0.6":                            "14.0.6",
		"aarch64-linux-gnu-gcc (Ubuntu 13.2.0-23ubuntu4) 13.2.0": "13.2.0",
		"v1.24": "1.24", "flex 2.6.4": "2.6.4", "no version": "",
	} {
		if got := versionIn(out); got != want {
			t.Errorf("version in %q: %q, want %q", out, got, want)
		}
	}
	for _, tc := range []struct {
		have, want string
		older      bool
	}{
		{"12.2.0", "5.1", false}, {"4.9.4", "5.1", true}, {"2.40", "2.23.0", false}, {"2.9", "2.23", true}, {"3.82", "3.82", false}, {"5", "5.1", true},
	} {
		if got := older(tc.have, tc.want); got != tc.older {
			t.Errorf("%s older than %s: %v", tc.have, tc.want, got)
		}
	}
}

// On this very host, whatever it has, the check ends and names no tool twice.
func TestThisHost(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no gcc on this host")
	}
	for _, a := range arch.All() {
		findings, err := Check(t.Context(), Request{Arch: a})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range findings {
			t.Logf("%s: %s", a, f)
		}
	}
}
