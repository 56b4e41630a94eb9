package kbuild

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/kbuild/toolchain"
)

func TestPrefixMaps(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "real/src"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	real := physical(dir)
	// make knows no symbolic links.
	got := prefixMaps(filepath.Join(dir, "link/src"), filepath.Join(dir, "real"))
	want := []string{"-ffile-prefix-map=" + real + "/real/src/=", "-ffile-prefix-map=src/=", "-ffile-prefix-map=" + real + "/real=."}
	if !slices.Equal(got, want) {
		t.Errorf("maps %q\nwant %q", got, want)
	}
}

// No object says where it was made, however its source is named, and with debug
// information too.
func TestObjectsDoNotSayWhereTheyWereMade(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip(err)
	}
	object := func(name string, relative bool) string {
		t.Helper()
		dir := physical(t.TempDir())
		src, out := filepath.Join(dir, name), filepath.Join(dir, name+"-out")
		for _, d := range []string{filepath.Join(src, "lib"), out} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for file, text := range map[string]string{
			"lib/a.c": "#include \"a.h\"\nconst char *f(void) { return __FILE__; }\n", "lib/a.h": "static inline int g(void) { return 1; }\n",
			"lib/b.S": ".text\nb: nop\n",
		} {
			if err := os.WriteFile(filepath.Join(src, file), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		way := src
		if relative {
			way, _ = filepath.Rel(out, src)
		}
		both := ""
		for _, file := range []string{"lib/a.c", "lib/b.S"} {
			args := append(prefixMaps(src, out), "-g", "-c", way+"/"+file, "-o", "o")
			cmd := exec.CommandContext(t.Context(), "gcc", args...)
			cmd.Dir = out
			if text, err := cmd.CombinedOutput(); err != nil {
				t.Skipf("gcc: %v: %s", err, text)
			}
			b, err := os.ReadFile(filepath.Join(out, "o"))
			if err != nil {
				t.Fatal(err)
			}
			both += string(b)
		}
		return both
	}
	first := object("one", false)
	if !strings.Contains(first, "\x00lib/a.c\x00") {
		t.Error("the object does not name its source as the tree does")
	}
	if object("another", false) != first {
		t.Error("the object depends on the place")
	}
	if object("one", true) != first {
		t.Error("the object depends on how the source is named, as ccache does it")
	}
}

// clang's objects, the assembler's among them, do not say where clang ran.
func TestClangDoesNotSayWhereItRan(t *testing.T) {
	if _, err := exec.LookPath("clang"); err != nil {
		t.Skip(err)
	}
	dir := physical(t.TempDir())
	src := filepath.Join(dir, "src")
	for name, text := range map[string]string{"a.c": "int f(void) { return 1; }\n", "b.S": ".text\n.globl b\nb: nop\n"} {
		if err := os.MkdirAll(src, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	object := func(out, file string) string {
		t.Helper()
		out = filepath.Join(dir, out)
		if err := os.MkdirAll(out, 0o755); err != nil {
			t.Fatal(err)
		}
		args := append(placeless(toolchain.Tools{LLVM: true, CC: "clang"}, src, out), "-g", "-gdwarf-5", "-c", "../src/"+file, "-o", "o")
		cmd := exec.CommandContext(t.Context(), "clang", args...)
		cmd.Dir = out
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("clang: %v: %s", err, text)
		}
		b, err := os.ReadFile(filepath.Join(out, "o"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, file := range []string{"a.c", "b.S"} {
		if object("out", file) != object("out.twice", file) {
			t.Errorf("%s: the object depends on the directory that clang ran in", file)
		}
	}
}
