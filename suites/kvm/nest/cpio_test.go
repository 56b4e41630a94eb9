package nest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/google/go-cmp/cmp"
)

// A root has directories, files with more than one link, and links.
func TestArchiveOfATree(t *testing.T) {
	root, out := t.TempDir(), filepath.Join(t.TempDir(), "root.cpio")
	for _, err := range []error{
		os.Mkdir(filepath.Join(root, "bin"), 0o755),
		os.WriteFile(filepath.Join(root, "bin/sh"), []byte("shell"), 0o755),
		os.Link(filepath.Join(root, "bin/sh"), filepath.Join(root, "bin/other")),
		os.Symlink("bin/sh", filepath.Join(root, "init")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	a, err := newArchive(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.close(a.tree(root)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := map[string]string{}
	for r := cpio.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = h.Mode.String() + " " + h.Linkname + string(b)
		if h.Mode.IsRegular() && h.Links != 1 {
			t.Errorf("%s has %d links: the kernel would look for its data elsewhere", h.Name, h.Links)
		}
	}
	want := map[string]string{
		"bin": "040755 ", "bin/sh": "0100755 shell", "bin/other": "0100755 shell", "init": "0120777 bin/sh",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
