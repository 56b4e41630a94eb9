package kbuild

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/kbuild/toolchain"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// fakeMakefile is a kernel tree's as far as kbuild drives it: its olddefconfig drops
// every option that the file "options" does not list, and its image is what the
// script "compile" makes of it.
const fakeMakefile = `
defconfig:
	@printf 'CONFIG_64BIT=y\nCONFIG_OLD=y\n' > $(O)/.config
tinyconfig:
	@printf 'CONFIG_64BIT=y\n' > $(O)/.config
olddefconfig:
	@echo >> $(O)/configured
	@grep -w -F -f options $(O)/.config > $(O)/.config.new; mv $(O)/.config.new $(O)/.config
%Image:
	@mkdir -p $(O)/arch/x86/boot $(O)/arch/arm64/boot $(O)/include/config
	@printf 'deps_config := \\\n\tlib/Kconfig \\\n\tKconfig \\\n\n\nx:\n' > $(O)/include/config/auto.conf.cmd
	@echo 6.1.0 > $(O)/include/config/kernel.release
	@sh ./compile
	@: > $(O)/arch/x86/boot/bzImage; : > $(O)/arch/arm64/boot/Image; cp elf $(O)/vmlinux
modules:
	@echo kernel/a.o > $(O)/modules.order
.PHONY: defconfig tinyconfig olddefconfig modules
`

// fakeTree makes a kernel tree whose options are those given, and whose build runs
// the shell script.
func fakeTree(t *testing.T, options, compile string) Spec {
	t.Helper()
	for _, tool := range []string{"make", "gcc", "ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	if arch.Host() == "" {
		t.Skip("no kernel of this host's architecture is built")
	}
	dir := t.TempDir()
	self, err := os.ReadFile("/proc/self/exe") // an ELF file
	if err != nil {
		t.Skip(err)
	}
	for name, text := range map[string]string{
		"src/Makefile": fakeMakefile, "src/Kconfig": "source \"lib/Kconfig\"\n", "src/scripts/kconfig/conf": "", "src/init/main.c": "",
		"src/options": options, "src/compile": compile, "src/elf": string(self),
		"src/lib/Kconfig": "config NEEDY\n\tbool \"A needy one\"\n\tdepends on BLOCK && 64BIT\n\thelp\n\t  Not: config FALSE\n\nconfig HIDDEN\n\tbool\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Spec{Source: filepath.Join(dir, "src"), Output: filepath.Join(dir, "out"), Arch: arch.Host(), Jobs: 1, NoCcache: true}
}

func TestBuild(t *testing.T) {
	s := fakeTree(t, "CONFIG_64BIT\nCONFIG_OLD\nCONFIG_MODULES\n", "env > $O/environment; echo '  CC      kernel/fork.o'; echo \"$KCFLAGS\" > $O/flags")
	t.Setenv("KBUILD_BUILD_USER", "somebody")
	t.Setenv("CROSS_COMPILE", "")
	t.Setenv("LLVM", "1")
	t.Setenv("MAKEFLAGS", "-k")
	s.Fragments = []Fragment{{Name: "mine", Settings: []Setting{{Name: "CONFIG_MODULES", Value: "y"}, {Name: "CONFIG_NEEDY", Value: "y", Optional: true}}}}
	var out strings.Builder
	s.Log = &out
	b, err := Build(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if b.Release != "6.1.0" || b.Modules != s.Output || b.Elapsed <= 0 {
		t.Errorf("built %+v", b)
	}
	log, err := os.ReadFile(filepath.Join(s.Output, LogName))
	if err != nil || !strings.Contains(string(log), "kernel/fork.o") || out.String() != string(log) {
		t.Errorf("log %q, %v; copied %q", log, err, out.String())
	}
	config, err := os.ReadFile(filepath.Join(s.Output, ".config"))
	if err != nil || string(config) != "CONFIG_64BIT=y\nCONFIG_OLD=y\nCONFIG_MODULES=y\n" {
		t.Errorf("configuration %q, %v", config, err)
	}
	env, err := os.ReadFile(filepath.Join(s.Output, "environment"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"KBUILD_BUILD_USER=unwedge\n", "LC_ALL=C\n", "KBUILD_BUILD_VERSION=1\n"} {
		if !strings.Contains(string(env), want) {
			t.Errorf("the build's environment lacks %q", want)
		}
	}
	if strings.Contains(string(env), "LLVM=1") {
		t.Error("the user's LLVM=1 reached the build")
	}
	flags, err := os.ReadFile(filepath.Join(s.Output, "flags"))
	if err != nil || !strings.Contains(string(flags), "-ffile-prefix-map="+s.Output+"=.") {
		t.Errorf("flags %q, %v", flags, err)
	}
}

// What an earlier build in the same directory left is not taken for this one's: where
// there are to be no modules none are made, unless a fragment asks for one.
func TestModulesOfAnEarlierBuild(t *testing.T) {
	s := fakeTree(t, "CONFIG_64BIT\nCONFIG_MODULES\nCONFIG_E1000\n", "")
	set := func(name, value string) Fragment {
		return Fragment{Name: "mine", Settings: []Setting{{Name: name, Value: value}}}
	}
	modules, e1000 := set("CONFIG_MODULES", "y"), set("CONFIG_E1000", "m")
	for _, c := range []struct {
		name      string
		fragments []Fragment
		none      bool // NoModules
		want      bool
	}{
		{"modules", []Fragment{modules}, false, true},
		{"a kernel without any", nil, false, false},
		{"modules again", []Fragment{modules}, false, true},
		{"none wanted", []Fragment{modules}, true, false},
		{"one asked for", []Fragment{modules, e1000}, true, true},
	} {
		s.Fragments, s.NoModules = c.fragments, c.none
		b, err := Build(t.Context(), s)
		if err != nil || (b.Modules != "") != c.want {
			t.Fatalf("%s: %+v, %v", c.name, b, err)
		}
		if _, err := os.Stat(filepath.Join(s.Output, "modules.order")); errors.Is(err, os.ErrNotExist) == c.want {
			t.Errorf("%s: the list of modules: %v", c.name, err)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	s := fakeTree(t, "CONFIG_64BIT\nCONFIG_OLD\n", "")
	s.Fragments = []Fragment{{Name: "mine", Settings: []Setting{
		{Name: "CONFIG_NEEDY", Value: "y"}, {Name: "CONFIG_HIDDEN", Value: "y"}, {Name: "CONFIG_NOWHERE", Value: "y"},
		{Name: "CONFIG_OLD", Value: "n"}, {Name: "CONFIG_EMPTY", Value: `""`},
	}}}
	var config *ConfigError
	if _, err := Build(t.Context(), s); !errors.As(err, &config) {
		t.Fatalf("error %v", err)
	}
	want := "configure kernel: CONFIG_NEEDY=y is n: it depends on BLOCK && 64BIT, of which BLOCK is not set (lib/Kconfig:1); " +
		"CONFIG_HIDDEN=y is n: it cannot be set by hand: other options select it (lib/Kconfig:7); " +
		"CONFIG_NOWHERE=y is n: this tree has no such option for the architecture"
	if config.Error() != want {
		t.Errorf("error\n got %s\nwant %s", config, want)
	}
	s.Fragments, s.Config = nil, filepath.Join(s.Source, "no-such-file")
	var unknown *UnknownConfigError
	if _, err := Build(t.Context(), s); !errors.As(err, &unknown) {
		t.Errorf("no such configuration: %v", err)
	}
	s.Config = "nosuchconfig"
	var tree *TreeError
	if _, err := Build(t.Context(), s); !errors.As(err, &tree) || !strings.Contains(tree.Line, "No rule to make target") {
		t.Errorf("no such target: %v", err)
	}
}

// An option that only an old or missing program keeps from being set is the host's
// fault: in a bisection, every commit would be skipped for it.
func TestAnOptionThatLacksAProgram(t *testing.T) {
	for _, tc := range []struct {
		name, options, have string
		host                bool
		want                string
	}{
		{"missing", "CONFIG_64BIT\nCONFIG_PAHOLE_VERSION\n", "0", true, "BTF=y is n: it depends on PAHOLE_VERSION >= 122, and pahole is not installed (lib/Kconfig:1): "},
		{"old", "CONFIG_64BIT\nCONFIG_PAHOLE_VERSION\n", "121", true, "BTF=y is n: it depends on PAHOLE_VERSION >= 122, and here it is 121 (lib/Kconfig:1)"},
		{"other reasons too", "CONFIG_PAHOLE_VERSION\n", "0", false, "it depends on 64BIT && PAHOLE_VERSION >= 122, of which 64BIT"},
		{"new enough", "CONFIG_64BIT\nCONFIG_PAHOLE_VERSION\n", "124", false, "see lib/Kconfig:1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := fakeTree(t, tc.options, "")
			kconfig := "config BTF\n\tbool \"Types\"\n\tdepends on 64BIT && PAHOLE_VERSION >= 122\n"
			if err := os.WriteFile(filepath.Join(s.Source, "lib/Kconfig"), []byte(kconfig), 0o644); err != nil {
				t.Fatal(err)
			}
			s.Fragments = []Fragment{{Settings: []Setting{{Name: "CONFIG_BTF", Value: "y"}, {Name: "CONFIG_PAHOLE_VERSION", Value: tc.have, Optional: true}}}}
			err := s.Configure(t.Context())
			if errors.Is(err, ErrToolchain) != tc.host || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v\nwant %q, the host's: %v", err, tc.want, tc.host)
			}
		})
	}
}

func TestForeignKeysAreLeftOut(t *testing.T) {
	s := fakeTree(t, "CONFIG_64BIT\nCONFIG_SYSTEM_TRUSTED_KEYS\nCONFIG_LOCALVERSION\n", "")
	s.Config = filepath.Join(t.TempDir(), "config")
	text := "CONFIG_64BIT=y\nCONFIG_SYSTEM_TRUSTED_KEYS=\"debian/certs/debian-uefi-certs.pem\"\nCONFIG_LOCALVERSION=\"-mine\"\n"
	if err := os.WriteFile(s.Config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	here := t.TempDir() // make does not run where this program does
	if err := os.MkdirAll(filepath.Join(here, "debian/certs/debian-uefi-certs.pem"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(here)
	if err := s.Configure(t.Context()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(s.Output, ".config"))
	if err != nil || string(b) != "CONFIG_64BIT=y\nCONFIG_SYSTEM_TRUSTED_KEYS=\"\"\nCONFIG_LOCALVERSION=\"-mine\"\n" {
		t.Errorf("configuration %q, %v", b, err)
	}
}

func TestWhoIsToBlame(t *testing.T) {
	for _, tc := range []struct {
		name, prints string
		host         error // nil: the source
		line         string
		file         string
		number       int
	}{
		{name: "compiler", prints: "  CC      lib/cmdline.o\n../lib/cmdline.c: In function 'f':\n../lib/cmdline.c:283:9: error: 'x' undeclared\nmake[2]: *** [scripts/Makefile.build:250: lib/cmdline.o] Error 1",
			line: "lib/cmdline.c:283:9: error: 'x' undeclared", file: "lib/cmdline.c", number: 283},
		{name: "the first of several", prints: "lib/a.c:1:2: fatal error: asm/none.h: No such file or directory\nlib/b.c:3:4: error: y",
			line: "lib/a.c:1:2: fatal error: asm/none.h: No such file or directory", file: "lib/a.c", number: 1},
		{name: "a warning is none", prints: "lib/a.c:1:2: warning: unused\nlib/b.c:3:4: error: y", line: "lib/b.c:3:4: error: y", file: "lib/b.c", number: 3},
		{name: "linker", prints: "ld: warning: vmlinux has a LOAD segment with RWX permissions\nld: kernel/x.o: in function `f':\nx.c:(.text+0x1): undefined reference to `g'",
			line: "x.c:(.text+0x1): undefined reference to `g'"},
		{name: "modpost", prints: `ERROR: modpost: "f" [a.ko] undefined!`, line: `ERROR: modpost: "f" [a.ko] undefined!`},
		{name: "no such defconfig", prints: "***\n*** Can't find default configuration \"arch/x86/configs/nope_defconfig\"!\n***\nmake[2]: *** [scripts/kconfig/Makefile:94: nope_defconfig] Error 1",
			line: "*** Can't find default configuration \"arch/x86/configs/nope_defconfig\"!"},
		{name: "no rule", prints: "make[2]: *** No rule to make target 'a.o', needed by 'built-in.a'.  Stop.", line: "make[2]: *** No rule to make target 'a.o', needed by 'built-in.a'.  Stop."},
		{name: "objtool", prints: "vmlinux.o: error: objtool: f+0x1: unsupported", line: "vmlinux.o: error: objtool: f+0x1: unsupported"},
		{name: "source that speaks of a full disk", prints: "lib/a.c:9:1: error: expected ';'\n    9 |  x = \"write: No space left on device\"\n      |  ^ sh: 1: gcc: not found",
			line: "lib/a.c:9:1: error: expected ';'", file: "lib/a.c", number: 9},
		{name: "script without its bit", prints: "/bin/sh: 1: ./scripts/gen.sh: Permission denied\nmake[1]: *** [Makefile:9: x] Error 126", line: "make[1]: *** [Makefile:9: x] Error 126"},
		{name: "script that is not there", prints: "/bin/sh: 1: scripts/gen.sh: not found\nmake[1]: *** [Makefile:9: x] Error 127", line: "make[1]: *** [Makefile:9: x] Error 127"},
		{name: "a compiler that breaks", prints: "lib/a.c:7:1: internal compiler error: Segmentation fault", line: "lib/a.c:7:1: internal compiler error: Segmentation fault"},
		{name: "makefile", prints: "../lib/Makefile:400: *** missing separator.  Stop.\nmake[2]: *** [scripts/Makefile.build:508: lib] Error 2",
			line: "lib/Makefile:400: *** missing separator.  Stop.", file: "lib/Makefile", number: 400},
		{name: "Kconfig in a circle", prints: "init/Kconfig:1:error: recursive dependency detected!\ninit/Kconfig:1:\tsymbol A is selected by B\ninit/Kconfig:5:\tsymbol B is selected by A\nmake[2]: *** [scripts/kconfig/Makefile:77: allnoconfig] Error 1",
			line: "init/Kconfig:1:error: recursive dependency detected!", file: "init/Kconfig", number: 1},
		{name: "a Kconfig file less", prints: "init/Kconfig:1: can't open file \"init/none\"\nmake[2]: *** [scripts/kconfig/Makefile:77: allnoconfig] Error 1",
			line: "init/Kconfig:1: can't open file", file: "init/Kconfig", number: 1},
		{name: "device tree", prints: "Error: ../arch/arm64/boot/dts/a.dts:12.3-4 syntax error\nFATAL ERROR: Unable to parse input tree\nmake[3]: *** [scripts/Makefile.lib:420: a.dtb] Error 1",
			line: "Error: ../arch/arm64/boot/dts/a.dts:12.3-4 syntax error"},
		{name: "BTF IDs", prints: "WARN: multiple IDs found for 'f'\nFAILED unresolved symbol vfs_truncate\nmake[1]: *** [Makefile:1180: vmlinux] Error 255", line: "FAILED unresolved symbol vfs_truncate"},
		{name: "Rust", prints: "error[E0425]: cannot find value `x` in this scope\n  --> ../rust/kernel/lib.rs:12:5\nmake[2]: *** [rust/Makefile:9: rust/kernel.o] Error 1", line: "error[E0425]: cannot find value"},
		{name: "assembler, of what a compiler made", prints: "/tmp/ccMERkKs.s: Assembler messages:\n/tmp/ccMERkKs.s:4: Error: no such instruction: `bogus'\nmake[3]: *** [../scripts/Makefile.build:250: lib/a.o] Error 1",
			line: "lib/a.o: Error: no such instruction: `bogus'"},
		{name: "objtool of before 6.15", prints: "lib/a.o: warning: objtool: f+0x1: cannot find starting instruction\nmake[3]: *** [../scripts/Makefile.build:250: lib/a.o] Error 255",
			line: "make[3]: *** [../scripts/Makefile.build:250: lib/a.o] Error 255 (before it: lib/a.o: warning: objtool: f+0x1: cannot find starting instruction)"},
		{name: "silence", prints: "", line: "make: *** [Makefile"},
		{name: "make's way about", prints: "Makefile:7: stop\nmake[1]: Leaving directory '/b'\nmake: Leaving directory '/a'", line: "make: *** [Makefile"},

		{name: "disk full", prints: "lib/a.c:99:1: fatal error: error writing to /tmp/x.s: No space left on device", host: ErrNoSpace},
		{name: "disk full when assembling", prints: "{standard input}: Assembler messages:\n{standard input}: Fatal error: can't write 8 bytes to section .text of lib/a.o: 'No space left on device'", host: ErrNoSpace},
		{name: "disk full when linking", prints: "ld: final link failed: No space left on device", host: ErrNoSpace},
		{name: "linker script", prints: "aarch64-linux-gnu-ld: cannot open linker script file ldscripts/aarch64elf.xr: No such file or directory", host: ErrToolchain},
		{name: "emulation", prints: "ld: unrecognised emulation mode: aarch64elf", host: ErrToolchain},
		{name: "killed", prints: "gcc: fatal error: Killed signal terminated program cc1\ncompilation terminated.", host: ErrMemory},
		{name: "memory", prints: "cc1: out of memory allocating 65536 bytes after a total of 1 bytes", host: ErrMemory},
		{name: "a compiler that is killed", prints: "gcc: internal compiler error: Killed (program cc1)", host: ErrMemory},
		{name: "a linker that is killed", prints: "collect2: fatal error: ld terminated with signal 9 [Killed]\ncompilation terminated.", host: ErrMemory},
		{name: "a program of clang's that is killed", prints: "clang: error: unable to execute command: Killed\nclang: error: linker command failed due to signal (use -v to see invocation)", host: ErrMemory},
		{name: "a program of make's that is killed", prints: "make[3]: *** [scripts/Makefile.build:250: lib/a.o] Killed\nmake[2]: *** [Makefile:9: lib] Error 2", host: ErrMemory},
		{name: "a program of a script's that is killed", prints: "Killed\nFailed to generate BTF for vmlinux\nmake[1]: *** [Makefile:1180: vmlinux] Error 1", host: ErrMemory},
		{name: "bash says so", prints: "./scripts/link-vmlinux.sh: line 85: 26987 Killed                  pahole -J vmlinux\nmake[1]: *** [Makefile:1180: vmlinux] Error 1", host: ErrMemory},
		{name: "a linker without memory", prints: "ld: final link failed: memory exhausted", host: ErrMemory},
		{name: "no python", prints: "/usr/bin/env: 'python3': No such file or directory", host: ErrToolchain},
		{name: "not ours to write", prints: "/bin/sh: 1: cannot create out/x: Permission denied", host: ErrHost},
		{name: "no flex", prints: "/bin/sh: 1: flex: not found", host: ErrToolchain},
		{name: "no bc", prints: "/bin/bash: line 1: bc: command not found", host: ErrToolchain},
		{name: "no bc, says an older bash", prints: "/bin/sh: bc: command not found\nmake[2]: *** [Makefile:9: x] Error 127", host: ErrToolchain},
		{name: "no cpio, in a script", prints: "../kernel/gen_kheaders.sh: line 38: cpio: command not found\nmake[2]: *** [Makefile:9: x] Error 127", host: ErrToolchain},
		{name: "no pahole, in a script of dash's", prints: "../scripts/link-vmlinux.sh: 123: pahole: not found\nmake[2]: *** [Makefile:9: x] Error 1", host: ErrToolchain},
		{name: "no libelf, until 6.0", prints: "error: Cannot generate ORC metadata for CONFIG_UNWINDER_ORC=y, please install libelf-dev, libelf-devel or elfutils-libelf-devel\nmake[1]: *** [Makefile:9: x] Error 1", host: ErrToolchain},
		{name: "old make", prints: "../Makefile:15: *** GNU Make >= 4.0 is required. Your Make version is 3.82.  Stop.", host: ErrToolchain},
		{name: "a compiler that Kconfig does not take", prints: "../scripts/Kconfig.include:44: Sorry, this C compiler is not supported.", host: ErrToolchain},
		{name: "a compiler that Kconfig does not find", prints: "../scripts/Kconfig.include:39: C compiler 'aarch64-linux-gnu-gcc' not found", host: ErrToolchain},
		{name: "ccache", prints: "ccache: error: Failed to create directory /cache/tmp: Permission denied\nmake[2]: *** [Makefile:9: a.o] Error 1", host: ErrHost},
		{name: "no compiler", prints: "make[1]: gcc: No such file or directory", host: ErrToolchain},
		{name: "libelf", prints: "tools/objtool/include/objtool/elf.h:10:10: fatal error: gelf.h: No such file or directory", host: ErrToolchain},
		{name: "openssl", prints: "scripts/sign-file.c:25:10: fatal error: openssl/opensslv.h: No such file or directory", host: ErrToolchain},
		{name: "old compiler", prints: "***\n*** C compiler is too old.\n***   Your GCC version:    4.8.5", host: ErrToolchain},
		{name: "pahole", prints: "BTF: .tmp_vmlinux.btf: pahole (pahole) is not available\nFailed to generate BTF for vmlinux", host: ErrToolchain},
		{name: "not clean", prints: "***\n*** The source tree is not clean, please run 'make ARCH=x86_64 mrproper'\n*** in /usr/src/linux", host: ErrNotClean},
		{name: "read-only", prints: "mkdir: cannot create directory 'out': Read-only file system", host: ErrHost},
		{name: "host fault after an error of the source", prints: "lib/a.c:1:1: error: x\nas: lib/b.o: No space left on device", host: ErrNoSpace},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := fakeTree(t, "CONFIG_64BIT\n", "cat ./printed >&2; exit 2")
			if err := os.WriteFile(filepath.Join(s.Source, "printed"), []byte(tc.prints+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := Build(t.Context(), s)
			var host *HostError
			var tree *TreeError
			if tc.host != nil {
				if !errors.As(err, &host) || !errors.Is(err, tc.host) {
					t.Fatalf("error %v, want the host's: %v", err, tc.host)
				}
				return
			}
			if !errors.As(err, &tree) {
				t.Fatalf("error %v, want the source's", err)
			}
			if !strings.HasPrefix(tree.Line, tc.line) || tree.File != tc.file || tree.LineNo != tc.number || tree.Step != "build" {
				t.Errorf("error %+v", tree)
			}
			if _, err := os.Stat(tree.Log); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAMissingCompilerIsTheHosts(t *testing.T) {
	s := fakeTree(t, "", "")
	s.Cross = "no-such-architecture-"
	_, err := Build(t.Context(), s)
	var missing *HostError
	if !errors.As(err, &missing) || !errors.Is(err, ErrToolchain) || !strings.Contains(err.Error(), "no-such-architecture-gcc is not installed") {
		t.Errorf("build: %v", err)
	}
	if err := Check(t.Context(), s); !errors.Is(err, ErrToolchain) {
		t.Errorf("check: %v", err)
	}
	if err := broken([]toolchain.Finding{{Tool: "flex", Problem: "not installed"}}, nil); !errors.Is(err, ErrToolchain) {
		t.Errorf("broken: %v", err)
	}
}

// notes tells of each note through a channel.
type notes struct{ seen chan string }

func (n notes) Task(string, int64) progress.Task { return n }
func (n notes) Add(int64)                        {}
func (n notes) Done(error)                       {}
func (n notes) Note(s string) {
	select {
	case n.seen <- s:
	default:
	}
}

func TestCancelEndsEverythingThatMakeStarted(t *testing.T) {
	s := fakeTree(t, "CONFIG_64BIT\n", "sleep 600 & echo $! > $O/pid; echo '  CC      kernel/slow.o'; wait")
	n := notes{make(chan string, 1)}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(progress.With(t.Context(), n))
	done := make(chan error, 1)
	go func() {
		_, err := Build(ctx, s)
		done <- err
	}()
	select {
	case note := <-n.seen:
		if !strings.Contains(note, "kernel/slow.o") {
			t.Errorf("note %q", note)
		}
	case err := <-done:
		t.Fatalf("the build ended by itself: %v", err)
	}
	// Another build in the same directory waits, and can be told to stop waiting.
	waiting, stop := context.WithCancelCause(t.Context())
	stop(cause)
	if _, err := Build(waiting, s); !errors.Is(err, cause) {
		t.Errorf("the second build: %v", err)
	}
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Errorf("error %v, want the context's cause", err)
	}
	pid, err := os.ReadFile(filepath.Join(s.Output, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%s/stat", strings.TrimSpace(string(pid))))
	if err == nil && !ended(string(stat)) {
		t.Errorf("what make started still runs: %s", stat)
	}
}

// ended says of a process's stat, proc(5), that it is dead, or on the way out with its
// files closed: flags has PF_EXITING (include/linux/sched.h).
func ended(stat string) bool {
	const state, flags, exiting = 0, 6, 4 // fields behind the name
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) <= flags {
		return false
	}
	n, err := strconv.ParseUint(fields[flags], 10, 64)
	return fields[state] == "Z" || fields[state] == "X" || err == nil && n&exiting != 0
}

func TestBadSpecs(t *testing.T) {
	s := fakeTree(t, "", "")
	for name, change := range map[string]func(*Spec){
		"no source":    func(s *Spec) { s.Source = "" },
		"no tree":      func(s *Spec) { s.Source = filepath.Dir(s.Source) },
		"no output":    func(s *Spec) { s.Output = "" },
		"no arch":      func(s *Spec) { s.Arch = "" },
		"jobs":         func(s *Spec) { s.Jobs = -1 },
		"spaced path":  func(s *Spec) { s.Output += "/a b" },
		"path of make": func(s *Spec) { s.Output += "/a:b" },
		"the source":   func(s *Spec) { s.Output = s.Source },
		"somebody's": func(s *Spec) {
			if s.Output = t.TempDir(); os.WriteFile(filepath.Join(s.Output, ".config"), []byte("CONFIG_64BIT=y\n"), 0o644) != nil {
				t.Fatal("no .config")
			}
		},
		"its other name": func(s *Spec) {
			s.Output += "-link"
			if err := os.Symlink(s.Source, s.Output); err != nil {
				t.Fatal(err)
			}
		},
	} {
		bad := s
		change(&bad)
		b, err := Build(t.Context(), bad)
		if err == nil {
			t.Errorf("%s: built %+v", name, b)
		}
		if name != "no tree" && !errors.As(err, new(*SpecError)) {
			t.Errorf("%s: %v, want a *SpecError", name, err)
		}
	}
	if left, err := os.ReadDir(s.Source); err != nil || len(left) != 8 {
		t.Errorf("the source holds %d entries, %v", len(left), err)
	}
}

func TestNoteBuildID(t *testing.T) {
	note := "\x04\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00Linu\x01\x02\x03\x04" +
		"\x04\x00\x00\x00\x03\x00\x00\x00\x03\x00\x00\x00GNU\x00\xab\xcd\xef\x00"
	if got := noteBuildID([]byte(note), binary.LittleEndian); got != "abcdef" {
		t.Errorf("build ID %q", got)
	}
	for i := range len(note) {
		noteBuildID([]byte(note)[:i], binary.LittleEndian) // no panic
	}
}

// A log that cannot be written is the host's fault, and said as that.
func TestFullLog(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	s := fakeTree(t, "CONFIG_64BIT\n", "")
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	m, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	m.log.Close()
	m.log = full
	if err := m.run(t.Context(), "configure", "nosuchconfig"); !errors.Is(err, ErrNoSpace) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("error %v", err)
	}
}
