package candidate

import (
	"archive/tar"
	"os"
	"strings"
	"testing"
)

func TestArchiveSource(t *testing.T) {
	f := newFakeApt(t)
	f.add("linux-source-6.1", "6.1.192-2", "",
		entry{name: "./usr/src/linux-source-6.1.tar.xz", body: "the source"},
		entry{name: "./usr/src/linux-patch-6.1-rt.patch.xz", body: "another thing"},
		entry{name: "./usr/share/doc/linux-source-6.1", kind: tar.TypeSymlink, link: "linux"})
	s, err := ArchiveSource(t.Context(), "6.1", "6.1.192-2", "bookworm", f.opts)
	check(t, err)
	if b, err := os.ReadFile(s.Tarball); err != nil || string(b) != "the source" {
		t.Errorf("%s holds %q, %v", s.Tarball, b, err)
	}
	f.calls()
	if again, err := ArchiveSource(t.Context(), "6.1", "6.1.192-2", "bookworm", f.opts); err != nil || again != s || f.calls() != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestArchiveSourceWithoutSource(t *testing.T) {
	f := newFakeApt(t)
	f.add("linux-source-6.1", "6.1.192-2", "", entry{name: "./usr/share/doc/README", body: "x"})
	_, err := ArchiveSource(t.Context(), "6.1", "", "", f.opts)
	if err == nil || !strings.Contains(err.Error(), "0 source archives") {
		t.Errorf("error %v", err)
	}
	if _, err := ArchiveSource(t.Context(), "9.9", "", "", f.opts); err == nil || !strings.Contains(err.Error(), "linux-source-9.9") {
		t.Errorf("error %v", err)
	}
}
