package user_test

import (
	"debug/elf"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem/user"
)

// TestTree has a file with a build ID below a tree, and one outside it.
func TestTree(t *testing.T) {
	lib, id := library(t)
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "usr", "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"outside", "tree/usr/lib/libc.so.6"} {
		if err := os.WriteFile(filepath.Join(dir, name), lib, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"lib": "usr/lib", "usr/lib/away": "../../../outside"} {
		if err := os.Symlink(target, filepath.Join(tree, name)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := user.OpenTree(tree)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	for _, c := range []struct {
		id, path string
		want     bool
	}{
		{id, "/usr/lib/libc.so.6", true},
		{id, "/lib/libc.so.6", true},
		{"00" + id[2:], "/usr/lib/libc.so.6", false},
		{"", "/usr/lib/libc.so.6", false},
		{id, "/usr/lib/away", false},
		{id, "/../outside", false},
		{id, "/usr/lib", false},
		{id, "/usr/lib/none", false},
		{id, "", false},
	} {
		if got := files.Open(c.id, c.path); (got != nil) != c.want {
			t.Errorf("%q with build ID %s: %v, want a file: %v", c.path, c.id, got, c.want)
		}
	}
}

// library is a file of the host's that has a build ID.
func library(t *testing.T) (content []byte, id string) {
	t.Helper()
	for _, name := range []string{"/lib/x86_64-linux-gnu/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6", "/lib64/libc.so.6"} {
		f, err := elf.Open(name)
		if err != nil {
			continue
		}
		defer f.Close()
		s := f.Section(".note.gnu.build-id")
		if s == nil {
			continue
		}
		note, err := s.Data()
		if err != nil || len(note) <= 16 {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b, hex.EncodeToString(note[16:])
	}
	t.Skip("the host's C library has no build ID")
	return nil, ""
}
