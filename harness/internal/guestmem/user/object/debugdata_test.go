package object_test

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem/user/object"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// TestSymbolTables has a library with a function that .dynsym does not name:
// as it was built, stripped, and stripped with .gnu_debugdata, as Fedora does it.
func TestSymbolTables(t *testing.T) {
	for _, tool := range []string{"x86_64-linux-gnu-gcc", "objcopy", "strip", "xz"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s to build the library with", tool)
		}
	}
	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("%s: %v\n%s", cmd, err, out)
		}
	}
	source := "static __attribute__((noinline)) int hidden(int x) { __asm__(\"\"); return x * 3; }\nint shown(int x) { return hidden(x) + 1; }\n"
	if err := os.WriteFile(filepath.Join(dir, "a.c"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	run("x86_64-linux-gnu-gcc", "-O1", "-nostdlib", "-shared", "-fPIC", "-o", "whole.so", "a.c")
	run("objcopy", "--only-keep-debug", "whole.so", "mini")
	run("xz", "mini")
	run("strip", "-o", "stripped.so", "whole.so")
	run("objcopy", "--add-section", ".gnu_debugdata=mini.xz", "stripped.so", "fedora.so")
	whole, err := elf.Open(filepath.Join(dir, "whole.so"))
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Close()
	symbols, err := whole.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]uint64{}
	for _, s := range symbols {
		at[s.Name] = s.Value
	}
	for name, hidden := range map[string]bool{"whole.so": true, "stripped.so": false, "fedora.so": true} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		o, err := object.Load(load(t, f), bytes.NewReader(b), name, base, isa.Of(arch.X86_64))
		if err != nil {
			t.Fatal(err)
		}
		if y, ok := o.Symbols().Find(at["shown"] + 1); !ok || y.Name != "shown" {
			t.Errorf("%s: %q for shown", name, y.Name)
		}
		if y, ok := o.Symbols().Find(at["hidden"] + 1); ok != hidden || hidden && y.Name != "hidden" {
			t.Errorf("%s: %q (%v) for hidden", name, y.Name, ok)
		}
	}
}
