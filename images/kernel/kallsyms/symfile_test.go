package kallsyms

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/scenarios/arch"
)

const base = 0xffffffff81000000

// table names f0 to f199, as a kernel without CONFIG_KALLSYMS_ALL does.
func table() *Table {
	var syms []Symbol
	for i := range uint64(200) {
		syms = append(syms, Symbol{base + 16*i, fmt.Sprintf("f%d", i), 'T'})
	}
	return newTable(syms, base, nil, 1<<20)
}

// mapOf is the System.map of the same kernel, moved by some bytes, with data.
func mapOf(t *testing.T, moved uint64) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("0000000000000000 D __per_cpu_start\n0000000012345678 A __crc_x\n")
	fmt.Fprintf(&b, "%016x T _text\n", uint64(base))
	for s := range table().All() {
		fmt.Fprintf(&b, "%016x T %s\n", s.Addr+moved, s.Name)
	}
	fmt.Fprintf(&b, "%016x t $x\n%016x D init_task\n%016x b jiffies_here\n", uint64(base), uint64(base+0x100000), uint64(base+0x200000))
	path := filepath.Join(t.TempDir(), "System.map")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWith(t *testing.T) {
	syms, err := ReadFile(mapOf(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	all, err := table().With(syms)
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := all.Lookup("init_task"); !ok || a != base+0x100000 {
		t.Errorf("init_task at %#x, %v", a, ok)
	}
	for _, name := range []string{"__per_cpu_start", "__crc_x", "$x"} {
		if _, ok := all.Lookup(name); ok {
			t.Errorf("%s is taken for a symbol", name)
		}
	}
	if name, off, _, ok := all.Nearest(base + 17); !ok || name != "f1" || off != 1 {
		t.Errorf("nearest %s+%d, %v", name, off, ok)
	}
	if all.Len() != 202 {
		t.Errorf("%d symbols, want the kernel's 200 and two of data", all.Len())
	}

	other, err := ReadFile(mapOf(t, 64))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table().With(other); !errors.Is(err, ErrOtherKernel) {
		t.Errorf("another kernel's symbols: %v", err)
	}
	if made, err := FromFile(syms, make([]byte, 4096), arch.AArch64); err != nil || made.Len() != 203 {
		t.Errorf("a table of a file's symbols: %v", err)
	}
}

func TestReadFileErrors(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, says string }{
		"stub":    {"ffffffffffffffff B The real System.map is in the linux-image-dbg package\n", "is not one of"},
		"garbage": {"hello\n", "line 1 is not a line of a System.map"},
		"empty":   {"", "has no kernel symbols"},
		"elf":     {"\x7fELF but no more", ""},
		"long":    {strings.Repeat("f", 5000), ""},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		syms, err := ReadFile(path)
		if name == "stub" && err == nil {
			// One line that looks like a symbol: it agrees with no kernel.
			_, err = table().With(syms)
			if !errors.Is(err, ErrOtherKernel) {
				t.Errorf("a stub: %v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	if _, err := ReadFile(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
