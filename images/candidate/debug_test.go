package candidate

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestArchiveDebug(t *testing.T) {
	const release = "6.1.0-50-cloud-amd64"
	f := newFakeApt(t)
	f.opts.Arch = arch.X86_64
	f.add("linux-image-"+release+"-dbg", "6.1-1", "",
		entry{name: "./usr/lib/debug/boot/vmlinux-" + release, body: "ELF"},
		entry{name: "./usr/lib/debug/lib/modules/" + release + "/kernel/fs/ext4/ext4.ko", body: "module"},
		entry{name: "./usr/lib/debug/vmlinux-" + release, kind: tar.TypeSymlink, link: "boot/vmlinux-" + release})
	dir, err := ArchiveDebug(t.Context(), release, "6.1-1", "bookworm", f.opts)
	check(t, err)
	for name, want := range map[string]string{"boot/vmlinux-" + release: "ELF", "vmlinux-" + release: "ELF", "lib/modules/" + release + "/kernel/fs/ext4/ext4.ko": "module"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	f.calls()
	if again, err := ArchiveDebug(t.Context(), release, "6.1-1", "bookworm", f.opts); err != nil || again != dir || f.calls() != 0 {
		t.Errorf("again: %s, %v", again, err)
	}
	var missing *NotFoundError
	if dir, err := ArchiveDebug(t.Context(), "9.9.9-cloud-amd64", "", "", f.opts); !errors.As(err, &missing) || dir != "" {
		t.Errorf("of a kernel that is not there: %q, %v", dir, err)
	}
}
