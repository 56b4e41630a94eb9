package arch_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// The committed bytes are those of the committed source.
func TestX86GuestIsItsSource(t *testing.T) {
	for _, tool := range []string{"as", "ld"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	dir := t.TempDir()
	object, rom := filepath.Join(dir, "o"), filepath.Join(dir, "rom")
	for _, cmd := range []*exec.Cmd{
		exec.CommandContext(t.Context(), "as", "--64", "guest/x86_64.S", "-o", object),
		exec.CommandContext(t.Context(), "ld", "-e", "0", "-Ttext", "0", "--oformat", "binary", object, "-o", rom),
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("the assembler is not for x86: %v: %s", err, out)
		}
	}
	want, err := os.ReadFile(rom)
	if err != nil || !bytes.Equal(arch.X86_64.Facts().Test.Code(), want) {
		t.Errorf("guest/x86_64.bin is not guest/x86_64.S assembled: %v", err)
	}
}
