package foreign

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxArgs bounds how much of a command line is read, in bytes.
const maxArgs = 1 << 20

// Args are what the guest's QEMU was given, without the program's name; nil where that
// cannot be read.
func (g *Guest) Args() []string {
	if g.PID == 0 {
		return nil
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", g.PID))
	if err != nil || len(b) > maxArgs {
		return nil
	}
	args := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	return args[min(1, len(args)):]
}

// Kernels are the files that the guest's QEMU was given as the kernel to boot, as they
// can be opened here.
func (g *Guest) Kernels() []string {
	var out []string
	args := g.Args()
	for i, a := range args {
		if (a == "-kernel" || a == "--kernel") && i+1 < len(args) {
			out = append(out, g.seen(args[i+1]))
		}
	}
	return out
}

// seen is how a file of QEMU's is named here: QEMU may have a working directory and a
// root of its own.
func (g *Guest) seen(path string) string {
	proc := fmt.Sprintf("/proc/%d", g.PID)
	if !filepath.IsAbs(path) {
		dir, err := os.Readlink(filepath.Join(proc, "cwd"))
		if err != nil {
			return path
		}
		path = filepath.Join(dir, path)
	}
	if root, err := os.Readlink(filepath.Join(proc, "root")); err == nil && root != "/" {
		return filepath.Join(root, path)
	}
	if _, err := os.Stat(path); err != nil {
		if inside := filepath.Join(proc, "root", path); exists(inside) {
			return inside // another mount namespace
		}
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
