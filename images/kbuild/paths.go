package kbuild

import (
	"os"
	"os/exec"
	"path/filepath"

	"github.com/unwedge/unwedge/images/kbuild/toolchain"
)

// physical is a path without symbolic links, as make's realpath and getcwd give it;
// the path itself where it does not lead anywhere.
func physical(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// placeless are the compiler's options that keep directories out of what it makes.
// clang's assembler (14 at least) maps neither its working directory nor the names of
// its sources, and both reach the kernel through the vDSO's build ID. An option sets the
// directory; none sets the names, so with debug information the image depends on where
// the source is, and on whether ccache names it.
func placeless(t toolchain.Tools, source, output string) []string {
	flags := prefixMaps(source, output)
	const dir = "-fdebug-compilation-dir=."
	if t.LLVM && exec.Command(t.CC, dir, "-E", "-x", "c", os.DevNull, "-o", os.DevNull).Run() == nil { //nolint:noctx // it reads nothing
		flags = append(flags, dir)
	}
	return flags
}

// prefixMaps are the compiler's options that keep the places of source and output
// out of the kernel: what is left of a file's name is its path in the tree, as the
// kernel's own -fmacro-prefix-map has it for __FILE__, and the directory that debug
// information says the compiler ran in is ".".
//
// ccache names a source file by its way from the output (base_dir below), so that
// way is mapped too. Of options that match, gcc takes the last one and clang, until
// 16, the least in byte order: here, an output inside the source is mapped as part
// of the source by clang.
func prefixMaps(source, output string) []string {
	source, output = physical(source), physical(output)
	maps := []string{"-ffile-prefix-map=" + source + "/="}
	if rel, err := filepath.Rel(output, source); err == nil {
		maps = append(maps, "-ffile-prefix-map="+rel+"/=")
	}
	return append(maps, "-ffile-prefix-map="+output+"=.")
}
