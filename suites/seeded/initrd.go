package main

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/cavaliergopher/cpio"

	"github.com/unwedge/unwedge/harness"
)

// changeInitrd gives the boot an initramfs of its own, at file, made from the
// planned one.
func changeInitrd(req *harness.Request, file string, change func([]byte) ([]byte, error)) error {
	b, err := os.ReadFile(req.Machine.Initrd)
	if err != nil {
		return fmt.Errorf("change initramfs: %w", err)
	}
	if b, err = change(b); err != nil {
		return err
	}
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return fmt.Errorf("change initramfs: %w", err)
	}
	req.Machine.Initrd = file
	return nil
}

// file is a member of an archive; a target makes it a symbolic link.
type file struct {
	name, text, target string
	exec               bool // it may be executed
}

// with puts an archive of files behind an initramfs: the kernel unpacks one
// after the other, and the last of two files of a name stays
// (Documentation/driver-api/early-userspace/buffer-format.rst).
func with(files ...file) func([]byte) ([]byte, error) {
	return func(initrd []byte) ([]byte, error) {
		buf := bytes.NewBuffer(bytes.Clone(initrd))
		for buf.Len()%512 != 0 {
			buf.WriteByte(0)
		}
		w := cpio.NewWriter(buf)
		made := map[string]bool{}
		for _, f := range files {
			for i, r := range f.name {
				if dir := f.name[:i]; r == '/' && !made[dir] {
					made[dir] = true
					if err := w.WriteHeader(&cpio.Header{Name: dir, Mode: cpio.TypeDir | 0o755, Links: 2}); err != nil {
						return nil, fmt.Errorf("add %s to initramfs: %w", dir, err)
					}
				}
			}
			h, data := &cpio.Header{Name: f.name, Mode: cpio.TypeReg | 0o644, Links: 1}, f.text
			if f.exec {
				h.Mode |= 0o111
			}
			if f.target != "" {
				h.Mode, h.Linkname, data = cpio.TypeSymlink|0o777, f.target, f.target
			}
			h.Size = int64(len(data))
			if err := w.WriteHeader(h); err != nil {
				return nil, fmt.Errorf("add %s to initramfs: %w", f.name, err)
			}
			if _, err := w.Write([]byte(data)); err != nil {
				return nil, fmt.Errorf("add %s to initramfs: %w", f.name, err)
			}
		}
		if err := w.Close(); err != nil {
			return nil, fmt.Errorf("end archive: %w", err)
		}
		return buf.Bytes(), nil
	}
}

// Where systemd looks for units: in the initramfs, and in the root file system,
// to which the agent's archive copies what is in it (images/rootfs, Overlay).
const (
	initramfsUnits = "usr/lib/systemd/system"
	rootUnits      = "usr/lib/unwedge/run/systemd/system"
)

// unit adds a systemd unit that a target wants.
func unit(dir, name, wantedBy string, lines ...string) []file {
	return []file{
		{name: path.Join(dir, name), text: strings.Join(lines, "\n") + "\n"},
		{name: path.Join(dir, wantedBy+".wants", name), target: "../" + name},
	}
}

// truncated leaves out the second half of an initramfs.
func truncated(initrd []byte) ([]byte, error) { return initrd[:len(initrd)/2&^3], nil }
