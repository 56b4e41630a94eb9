package extmod_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/images/extmod"
)

// A module as modpost and the compiler lay it out (scripts/mod/modpost.c), without
// a kernel's headers.
const cModule = `
#define MODINFO(n, s) static const char modinfo_##n[] __attribute__((section(".modinfo"), used, aligned(1))) = s
MODINFO(a, "license=GPL");
MODINFO(b, "import_ns=ONE");
MODINFO(c, "import_ns=TWO");
MODINFO(d, "depends=x,y");
MODINFO(e, "vermagic=6.1.0 SMP ");
struct module { int state; void *next, *prev; char name[56]; char rest[200]; };
struct module __this_module __attribute__((section(".gnu.linkonce.this_module"))) = { .name = "made_by_gcc" };
static const struct { unsigned long crc; char name[56]; } versions[] __attribute__((section("__versions"), used)) = {
	{ 0x12345678, "module_layout" }, { 0xffffffff, "used" },
};
extern void used(void), maybe(void) __attribute__((weak));
extern void used(void);
void init_module(void) { if (maybe) maybe(); used(); }
`

func TestParseWhatGCCMakes(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is not installed")
	}
	dir := t.TempDir()
	src, obj := filepath.Join(dir, "m.c"), filepath.Join(dir, "m.ko")
	if err := os.WriteFile(src, []byte(cModule), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), gcc, "-O1", "-c", "-fno-pic", "-fno-toplevel-reorder", "-fno-asynchronous-unwind-tables", "-o", obj, src)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("this gcc does not compile it: %v: %s", err, out)
	}
	b, err := os.ReadFile(obj)
	if err != nil {
		t.Fatal(err)
	}
	m, err := extmod.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "made_by_gcc" || m.Signed || m.StructSize == 0 || m.Extended != nil {
		t.Errorf("%+v", m)
	}
	want := []extmod.Version{{Symbol: "module_layout", CRC: 0x12345678}, {Symbol: "used", CRC: 0xffffffff}}
	if d := cmp.Diff(want, m.Versions); d != "" {
		t.Error(d)
	}
	symbols := map[string]bool{} // name → weak
	for _, u := range m.Undefined {
		symbols[u.Name] = u.Weak
	}
	if d := cmp.Diff(map[string]bool{"used": false, "maybe": true}, symbols); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"ONE", "TWO"}, m.Info["import_ns"]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"x", "y"}, m.Depends()); d != "" {
		t.Error(d)
	}
}
