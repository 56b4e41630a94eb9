package candidate

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/scenarios/arch"
)

const (
	headersRelease = "6.1.0-50-cloud-arm64"
	headersName    = "linux-headers-" + headersRelease
	headersNeeds   = "linux-headers-6.1.0-50-common (= 6.1-1), linux-kbuild-6.1 (>= 6.1-1), gcc-12"
)

// addHeaders lays the packages out as Debian's.
func addHeaders(f *fakeApt, makefile string) {
	f.add(headersName, "6.1-1", headersNeeds,
		entry{name: "./usr/src/" + headersName + "/Makefile", body: makefile},
		entry{name: "./usr/src/" + headersName + "/scripts", kind: tar.TypeSymlink, link: "../../lib/linux-kbuild-6.1/scripts"},
		entry{name: "./lib/modules/" + headersRelease + "/build", kind: tar.TypeSymlink, link: "/usr/src/" + headersName})
	f.add("linux-headers-6.1.0-50-common", "6.1-1", "", entry{name: "./usr/src/linux-headers-6.1.0-50-common/Makefile", body: "all:"})
	f.add("linux-kbuild-6.1", "6.1-3", "libc6", entry{name: "./usr/lib/linux-kbuild-6.1/scripts/modpost", body: "ELF", exec: true})
}

func TestArchiveHeaders(t *testing.T) {
	f := newFakeApt(t)
	f.opts.Arch = arch.AArch64
	addHeaders(f, "include /usr/src/linux-headers-6.1.0-50-common/Makefile\n")
	h, err := ArchiveHeaders(t.Context(), headersRelease, "6.1-1", "bookworm", f.opts)
	check(t, err)
	b, err := os.ReadFile(filepath.Join(h.Dir, "Makefile"))
	if err != nil || string(b) != "include ../linux-headers-6.1.0-50-common/Makefile\n" {
		t.Errorf("Makefile %q, %v", b, err)
	}
	if _, err := os.Stat(filepath.Join(h.Dir, "../linux-headers-6.1.0-50-common/Makefile")); err != nil {
		t.Error(err)
	}
	st, err := os.Stat(filepath.Join(h.Dir, "scripts/modpost"))
	if err != nil || st.Mode().Perm()&0o100 == 0 {
		t.Errorf("kbuild's program: %v, %v", st, err)
	}
	// Programs of another architecture than this host's would not run.
	if _, err := os.Stat(filepath.Join(f.opts.Cache.Dir(), "apt")); err != nil {
		t.Error(err)
	}
	lists, err := filepath.Glob(filepath.Join(f.opts.Cache.Dir(), "apt", "bookworm-"+arch.Host().Facts().Debian+"-*"))
	if err != nil || len(lists) != 1 {
		t.Errorf("lists of the host's architecture: %v, %v", lists, err)
	}
	f.calls()
	again, err := ArchiveHeaders(t.Context(), headersRelease, "6.1-1", "bookworm", f.opts)
	if err != nil || again != h || f.calls() != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestArchiveHeadersErrors(t *testing.T) {
	f := newFakeApt(t)
	f.opts.Arch = arch.AArch64
	for _, tc := range []struct {
		release string
		prepare func()
		want    string
	}{
		{headersRelease, func() {}, "no such package"},
		{"6.1.0 x", func() {}, "not a package name"},
		{"6.1.0-50-cloud-amd64", func() {}, "a package for x86_64, but aarch64 is wanted"},
		{headersRelease, func() { f.add(headersName, "6.1-1", headersNeeds) }, "linux-headers-6.1.0-50-common"},
		{headersRelease, func() { f.add(headersName, "6.1-1", "gcc-12") }, "it names no linux-kbuild package"},
		{headersRelease, func() { addHeaders(f, "something else") }, "does not include the shared ones"},
	} {
		tc.prepare()
		h, err := ArchiveHeaders(t.Context(), tc.release, "", "", f.opts)
		if err == nil || h != (Headers{}) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %+v, %v, want %q", tc.release, h, err, tc.want)
		}
	}
}
