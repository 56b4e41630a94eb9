package kbuild

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestTwice(t *testing.T) {
	s := fakeTree(t, "CONFIG_64BIT\n", `mkdir -p $O/certs $O/scripts/basic
for f in certs/x509.genkey certs/signing_key.pem certs/.signing_key.pem.cmd scripts/basic/randstruct.seed scripts/basic/.randstruct.seed.cmd; do
	[ -e $O/$f ] || date +%N > $O/$f
	cat $O/$f
done > $O/kernel.random`)
	s.Source = withImage(t, s.Source, "cp $(O)/kernel.random")
	twice, err := BuildTwice(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if len(twice.Differences) != 0 || twice.Elapsed <= 0 {
		t.Errorf("two equal builds: %+v", twice)
	}
	if _, err := os.Stat(s.Output + secondSuffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the second build is still there: %v", err)
	}
	if _, err := BuildTwice(t.Context(), s); !errors.As(err, new(*SpecError)) || !strings.Contains(err.Error(), "holds an earlier build") {
		t.Errorf("in a directory that is used: %v", err)
	}
}

// The directory of the second build may be somebody's.
func TestTwiceRemovesOnlyItsOwn(t *testing.T) {
	s := fakeTree(t, "CONFIG_64BIT\n", "")
	kept := filepath.Join(s.Output+secondSuffix, "kept")
	if err := os.MkdirAll(kept, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := BuildTwice(t.Context(), s); !errors.As(err, new(*SpecError)) || !strings.Contains(err.Error(), s.Output+secondSuffix) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(s.Output+secondSuffix, lockName), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := BuildTwice(t.Context(), s); err != nil {
		t.Errorf("over a second build that was left: %v", err)
	}
}

// withImage has a fake tree's boot image made by a command, to which its path is
// appended.
func withImage(t *testing.T, source, command string) string {
	t.Helper()
	makefile := strings.ReplaceAll(fakeMakefile, ": > $(O)/arch/x86/boot/bzImage", command+" $(O)/arch/x86/boot/bzImage")
	makefile = strings.ReplaceAll(makefile, ": > $(O)/arch/arm64/boot/Image", command+" $(O)/arch/arm64/boot/Image")
	if err := os.WriteFile(filepath.Join(source, "Makefile"), []byte(makefile), 0o644); err != nil {
		t.Fatal(err)
	}
	return source
}

func TestTwiceSaysWhatDiffers(t *testing.T) {
	s := fakeTree(t, "CONFIG_64BIT\n", "mkdir -p $O/kernel $O/scripts; cp own.o $O/kernel/own.o; cp own.o $O/scripts/host.o; gcc -c -DWHERE=\"\\\"$O\\\"\" other.c -o $O/kernel/other.o; gcc -c -DWHERE=\"\\\"$O\\\"\" other.c -o $O/scripts/other.o")
	compileObject(t, s.Source, "own", "int own(void) { return 1; }")
	compileObject(t, s.Source, "other", "#ifndef WHERE\n#define WHERE \"\"\n#endif\nconst char place[] = \"made in \" WHERE;")
	withImage(t, s.Source, "echo $(O) >")
	twice, err := BuildTwice(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	d := twice.Differences
	if len(d) != 2 || d[1].File != s.Arch.Facts().BootImages[0] || !strings.Contains(d[1].What, "from byte 0x") {
		t.Fatalf("differences %+v, want an object and the boot image", d)
	}
	if d[0].File != "kernel/other.o" || d[0].Section != ".rodata" {
		t.Errorf("difference %+v, want that of kernel/other.o", d[0])
	}
	if _, err := os.Stat(s.Output + secondSuffix); err != nil {
		t.Errorf("the second build is not kept to be looked at: %v", err)
	}
}

// compileObject compiles a text in a fake tree.
func compileObject(t *testing.T, dir, name, text string, flags ...string) {
	t.Helper()
	src := filepath.Join(dir, name+".c")
	if err := os.WriteFile(src, []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "gcc", append(flags, "-c", src, "-o", filepath.Join(dir, name+".o"))...).CombinedOutput(); err != nil {
		t.Skipf("gcc: %s", out)
	}
}

// An object's symbols are found by their section: all begin at address 0.
func TestCompareObjects(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	const text = "int first(void) { return 7; } const int constant = 5; int second(void) { return WHICH; }"
	compileObject(t, a, "x", strings.Replace(text, "WHICH", "8", 1))
	compileObject(t, b, "x", strings.Replace(text, "WHICH", "9", 1))
	got, err := compareObjects(t.Context(), a, b)
	if err != nil || len(got) != 1 || got[0].File != "x.o" || got[0].Section != ".text" || !strings.Contains(got[0].What, "in second+") {
		t.Errorf("differences %+v, %v", got, err)
	}
	compileObject(t, b, "x", strings.Replace(text, "WHICH", "9", 1)+" int third(int x) { return x * 77 + 12345; }")
	got, err = compareObjects(t.Context(), a, b)
	if err != nil || len(got) == 0 || got[0].Section != ".text" || !strings.Contains(got[0].What, ", third in the second only") {
		t.Errorf("differences %+v, %v", got, err)
	}
	// What only debug information differs in is not the reason.
	compileObject(t, a, "boot", "int boot;", "-g", "-fdebug-prefix-map="+a+"=/one")
	compileObject(t, b, "boot", "int boot;", "-g", "-fdebug-prefix-map="+b+"=/another")
	if got, err := compareObjects(t.Context(), a, b); err != nil || len(got) == 0 || got[len(got)-1].File != "x.o" {
		t.Errorf("differences %+v, %v", got, err)
	}
	if err := os.Remove(filepath.Join(a, "x.o")); err != nil {
		t.Fatal(err)
	}
	if got, err := compareObjects(t.Context(), a, b); err != nil || len(got) == 0 || got[0].File != "boot.o" {
		t.Errorf("differences %+v, %v", got, err)
	}
	for i := range maxObjects + 3 {
		for dir, n := range map[string]string{a: "1", b: "2"} {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("m%02d.o", i)), []byte("no ELF "+n), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err = compareObjects(t.Context(), a, b)
	if err != nil || len(got) != maxObjects+1 || got[maxObjects].File != "…" {
		t.Errorf("%d differences, %v", len(got), err)
	}
}

// compileELF links a program of one source text.
func compileELF(t *testing.T, dir, text string) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip(err)
	}
	src := filepath.Join(dir, "a.c")
	if err := os.WriteFile(src, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "gcc", "-nostdlib", "-static", "-Wl,-estart,--build-id=none", "-o", filepath.Join(dir, "vmlinux"), src).CombinedOutput()
	if err != nil {
		t.Skipf("gcc: %s", out)
	}
}

func TestCompareELF(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	const text = "const char banner[] = \"Linux version WHEN\"; int start(void) { return 0; }"
	compileELF(t, a, text)
	compileELF(t, b, text)
	if got, err := compareELF(a, b, "vmlinux"); err != nil || len(got) != 0 {
		t.Errorf("equal files differ: %+v, %v", got, err)
	}
	compileELF(t, b, strings.Replace(text, "WHEN", "THEN", 1))
	got, err := compareELF(a, b, "vmlinux")
	if err != nil || len(got) != 1 || got[0].Section != ".rodata" {
		t.Fatalf("differences %+v, %v", got, err)
	}
	if want := `in banner+0xe, "Linux version WHEN" in the first build`; !strings.Contains(got[0].What, want) {
		t.Errorf("difference %q, want %q in it", got[0].What, want)
	}
	compileELF(t, b, text+" int more = 3;")
	got, err = compareELF(a, b, "vmlinux")
	if err != nil || len(got) == 0 || !strings.Contains(got[len(got)-1].What, "only the second") {
		t.Errorf("a section more: %+v, %v", got, err)
	}
}

func TestCompareReaders(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		at   int64
		same bool
	}{{"", "", 0, true}, {"abc", "abc", 3, true}, {"abc", "abd", 2, false}, {"abc", "ab", 2, false}, {"", "a", 0, false}} {
		at, same, err := compareReaders(strings.NewReader(tc.a), strings.NewReader(tc.b))
		if at != tc.at || same != tc.same || err != nil {
			t.Errorf("%q and %q: %d, %v, %v", tc.a, tc.b, at, same, err)
		}
	}
}
