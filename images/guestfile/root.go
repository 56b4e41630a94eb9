package guestfile

import (
	"io"
	"os"
	"path/filepath"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// programs are where a root file system has its shell; the links of a merged /usr lead
// there too.
var programs = []string{"usr/bin/sh", "bin/sh", "usr/bin/busybox", "bin/busybox", "usr/lib/systemd/systemd", "sbin/init"}

// Root checks that a directory may be a root file system, and returns the architecture
// of its programs; "" where none was found.
func Root(dir string) (arch.Arch, error) {
	st, err := os.Stat(dir)
	switch {
	case err != nil:
		return "", badf(dir, "%s", cause(err))
	case !st.IsDir():
		return "", badf(dir, "not a directory")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", badf(dir, "%s", cause(err))
	}
	defer root.Close()
	for _, name := range programs {
		if a, ok := programIn(root, name); ok {
			return a, nil
		}
	}
	for _, name := range []string{"usr", "bin"} {
		if st, err := root.Stat(name); err == nil && st.IsDir() {
			return "", nil
		}
	}
	return "", badf(dir, "no root file system: neither usr nor bin is in it")
}

// programIn reads a program of the root file system. Absolute links are followed
// inside of it.
func programIn(root *os.Root, name string) (arch.Arch, bool) {
	for range 8 {
		to, err := root.Readlink(name)
		if err != nil {
			break
		}
		if filepath.IsAbs(to) {
			name = to[1:]
		} else {
			name = filepath.Join(filepath.Dir(name), to)
		}
	}
	f, err := root.Open(name)
	if err != nil {
		return "", false
	}
	defer f.Close()
	var head [20]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return "", false
	}
	return program(head[:])
}
