package seedlib_test

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/unwedge/unwedge/images/seedlib"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// The oracle is debug/elf; what the code and its unwind tables do is tested with
// their reader, harness/internal/guestmem/user/object.
func TestBuild(t *testing.T) {
	for a, machine := range map[arch.Arch]elf.Machine{arch.X86_64: elf.EM_X86_64, arch.AArch64: elf.EM_AARCH64} {
		b, err := seedlib.Build(a)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		name, err := f.DynString(elf.DT_SONAME)
		if err != nil || !slices.Equal(name, []string{seedlib.Name}) || f.Machine != machine || f.Type != elf.ET_DYN {
			t.Errorf("%s: %v %v %q, %v", a, f.Machine, f.Type, name, err)
		}
		again, err := seedlib.Build(a)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: a second build differs, or %v", a, err)
		}
	}
	if b, err := seedlib.Build("mips"); err == nil || b != nil {
		t.Errorf("for mips: %d bytes, %v", len(b), err)
	}
}

// TestLoads has the host's own ld.so load it, where it is glibc's.
func TestLoads(t *testing.T) {
	a, err := arch.Parse(runtime.GOARCH)
	if err != nil {
		t.Skip(err)
	}
	b, err := seedlib.Build(a)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), seedlib.Name)
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/true")
	cmd.Env = []string{"LD_PRELOAD=" + path, "LD_DEBUG=libs"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("calling init: ")) {
		t.Skip("the host's ld.so does not say what it loads")
	}
	if !bytes.Contains(out, []byte("calling init: "+path)) {
		t.Errorf("ld.so did not call its constructor:\n%s", out)
	}
}
