package lines

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const source = `int called(int x);
__attribute__((noinline)) int called(int x) { return x * 3; }
__attribute__((noinline)) int caller(int x)
{
	x = called(x);
	return x + 1;
}
int main(int n, char **v) { (void)v; return caller(n); }
`

// compile makes an ELF file of the source, with flags.
func compile(t *testing.T, flags ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "demo.c"), []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "gcc", append(flags, "-O1", "-fno-optimize-sibling-calls", "-o", "demo", "demo.c")...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return filepath.Join(dir, "demo")
}

// sizeOf is a function's size, from debug/elf.
func sizeOf(t *testing.T, file, function string) uint64 {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Name == function {
			return s.Size
		}
	}
	t.Fatalf("no %s", function)
	return 0
}

func TestDecode(t *testing.T) {
	file := compile(t, "-g")
	table, err := Open(file)
	if err != nil {
		t.Fatal(err)
	}
	called, caller := sizeOf(t, file, "called"), sizeOf(t, file, "caller")
	ip := fmt.Sprintf("[    1.0] RIP: 0010:called+0x0/0x%x", called)
	if got := table.Decode(ip); got != ip+" (demo.c:2)" {
		t.Errorf("%q", got)
	}
	// The return address lies behind the call: at the end of the function's lines, some
	// address has the call's line before it.
	found := false
	for off := uint64(1); off < caller; off++ {
		found = found || strings.HasSuffix(table.Decode(fmt.Sprintf(" caller+0x%x/0x%x", off, caller)), " (demo.c:5)")
	}
	if !found {
		t.Error("no address in caller is that of its call")
	}
	for _, line := range []string{
		"caller+0x1/0x1000", // another function of that name
		"nobody+0x1/0x2",    // none
		fmt.Sprintf(" caller+0x1/0x%x [mod]", caller), // a module's
		fmt.Sprintf("caller+0x%x/0x%x", caller+4, caller),
		"nothing at all", "",
	} {
		if got := table.Decode(line); got != line {
			t.Errorf("%q became %q", line, got)
		}
	}
}

// TestModules decodes places in a module, a relocatable file: in its .text and in
// another section of code, which both begin at address 0.
func TestModules(t *testing.T) {
	vmlinux, tree := compile(t, "-g"), t.TempDir()
	for _, dwarf := range []string{"-gdwarf-4", "-gdwarf-5"} {
		file := compile(t, dwarf, "-c", "-ffunction-sections")
		ko := filepath.Join(tree, "demo-mod.ko")
		if err := os.Rename(file, ko); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tree, "modules.order"), []byte("demo-mod.o\nmissing.o\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		table, err := Open(vmlinux)
		if err != nil {
			t.Fatal(err)
		}
		if err := table.AddModules(tree); err != nil {
			t.Fatal(err)
		}
		for function, line := range map[string]int{"called": 2, "main": 8} {
			ip := fmt.Sprintf("[    1.0] RIP: 0010:%s+0x0/0x%x [demo_mod 0123abcd]", function, sizeOf(t, ko, function))
			if got, want := table.Decode(ip), fmt.Sprintf("%s (demo.c:%d)", ip, line); got != want {
				t.Errorf("%s: %q, want %q", dwarf, got, want)
			}
		}
		for _, other := range []string{" called+0x0/0x6 [missing]", " called+0x0/0x6 [other]"} {
			if got := table.Decode(other); got != other {
				t.Errorf("%q became %q", other, got)
			}
		}
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := Open(compile(t)); !errors.Is(err, ErrNone) {
		t.Errorf("without -g: %v", err)
	}
	for _, name := range []string{filepath.Join(t.TempDir(), "missing"), "lines.go"} {
		if _, err := Open(name); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFind(t *testing.T) {
	tree := t.TempDir()
	boot := filepath.Join(tree, "arch/x86/boot")
	if err := os.MkdirAll(boot, 0o755); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(boot, "bzImage")
	if err := os.WriteFile(image, []byte("MZ"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, arg := range []string{tree, image} {
		if got, err := Find(arg); err == nil || !strings.Contains(err.Error(), "name the unstripped vmlinux") {
			t.Errorf("%s without a vmlinux: %q, %v", arg, got, err)
		}
	}
	vmlinux := filepath.Join(tree, "vmlinux")
	if err := os.Rename(compile(t, "-g"), vmlinux); err != nil {
		t.Fatal(err)
	}
	for _, arg := range []string{tree, image, vmlinux} {
		if got, err := Find(arg); err != nil || filepath.Clean(got) != vmlinux {
			t.Errorf("%s: %q, %v", arg, got, err)
		}
	}
}
