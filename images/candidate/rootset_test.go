package candidate

import (
	"archive/tar"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestArchiveRoot(t *testing.T) {
	f := newFakeApt(t)
	f.add("base", "1", "",
		entry{name: "./bin", kind: tar.TypeSymlink, link: "usr/bin"}, // as base-files of merged systems has it
		entry{name: "./tmp/", kind: tar.TypeDir, mode: 0o1777},
		entry{name: "./usr/share/doc/base/copyright", body: "left out"},
		entry{name: "./usr/lib/x/gconv/a.so", body: "left out"},
		entry{name: "./etc/secret", mode: 0o600, body: "s"})
	f.add("shell", "1", "",
		entry{name: "./bin/dash", mode: 0o755, body: "dash"},
		entry{name: "./bin/sh", kind: tar.TypeSymlink, link: "dash"},
		entry{name: "./usr/bin/su", mode: 0o4755, body: "su"},
		entry{name: "./sbin/init", kind: tar.TypeSymlink, link: "/lib/systemd/systemd"},
		entry{name: "./lib/systemd/systemd", mode: 0o755, body: "systemd"},
		entry{name: "./lib/near", kind: tar.TypeSymlink, link: "../usr/lib/systemd"})
	dir := t.TempDir()
	f.opts.Arch = arch.AArch64
	set := RootSet{Suite: "trixie", Packages: []string{"base", "shell"}, Exclude: []string{"/usr/share/doc/*", "/usr/lib/*/gconv/*"}}
	if err := ArchiveRoot(t.Context(), dir, set, f.opts); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"bin": "→ usr/bin", "lib": "→ usr/lib", "usr/bin/sh": "→ dash", "bin/sh": "→ dash", "usr/bin/dash": "-rwxr-xr-x dash",
		"usr/bin/su": "-rwxr-xr-x su", "usr/sbin/init": "→ /lib/systemd/systemd", "usr/lib/systemd/systemd": "-rwxr-xr-x systemd",
		"usr/lib/near": "→ systemd", "etc/secret": "-rw------- s", "tmp": "dtrwxrwxrwx",
		"usr/share/doc/base/copyright": "absent", "usr/lib/x/gconv/a.so": "absent",
	} {
		if got := shown(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	log, _ := os.ReadFile(filepath.Join(f.dir, "log"))
	if !strings.Contains(string(log), "APT::Install-Recommends=false") || !strings.HasSuffix(strings.TrimSpace(string(log)), "install base shell") {
		t.Errorf("apt-get was run as %s", log)
	}
}

// shown is a file's mode and text, or where it links to.
func shown(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return "absent"
	case info.Mode()&fs.ModeSymlink != 0:
		target, _ := os.Readlink(path)
		return "→ " + target
	case info.IsDir():
		return info.Mode().String()
	}
	b, err := os.ReadFile(path)
	check(t, err)
	return info.Mode().String() + " " + string(b)
}

func TestArchiveRootRefuses(t *testing.T) {
	f := newFakeApt(t)
	f.opts.Arch = arch.X86_64
	if err := ArchiveRoot(t.Context(), t.TempDir(), RootSet{Suite: "../etc"}, f.opts); err == nil || !strings.Contains(err.Error(), "is not a suite") {
		t.Errorf("suite: %v", err)
	}
	f.add("evil", "1", "", entry{name: "./../../out", body: "x"})
	if err := ArchiveRoot(t.Context(), t.TempDir(), RootSet{Suite: "trixie", Packages: []string{"evil"}}, f.opts); err == nil || !strings.Contains(err.Error(), "leaves the archive") {
		t.Errorf("a path out of the tree: %v", err)
	}
	write(t, filepath.Join(f.dir, "gone"), nil)
	if err := ArchiveRoot(t.Context(), t.TempDir(), RootSet{Suite: "trixie", Packages: []string{"evil"}}, f.opts); err == nil || !strings.Contains(err.Error(), "download the packages of trixie amd64") {
		t.Errorf("no download: %v", err)
	}
}
