package main

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxLibs bounds the libraries of one program: a loop or a hostile file ends.
const maxLibs = 1000

// errStatic reports an ELF file that has no dynamic section.
var errStatic = errors.New("not a dynamic executable")

// A lib is one resolved line of ldd's output: path is "" where it is missing.
type lib struct{ name, path string }

// lddMain prints the libraries of each file as glibc's ldd does. root is the
// directory that absolute paths start from; a file may be named with it or without.
func lddMain(args []string, root string, out, errOut io.Writer) int {
	status := 0
	w := bufio.NewWriter(out)
	defer w.Flush()
	for _, name := range args {
		if strings.HasPrefix(name, "-") {
			continue
		}
		if len(args) > 1 {
			fmt.Fprintf(w, "%s:\n", name)
		}
		if rest, ok := strings.CutPrefix(name, root+"/"); ok && root != "/" {
			name = "/" + rest
		}
		libs, err := resolve(root, name)
		if errors.Is(err, errStatic) {
			fmt.Fprintf(w, "\t%v\n", errStatic)
			status = 1
			continue
		}
		if err != nil {
			fmt.Fprintf(errOut, "ldd: %v\n", err)
			status = 1
			continue
		}
		for i, l := range libs {
			// glibc prints load addresses; readers only skip them.
			addr := 0x7f0000000000 + int64(i)<<24
			switch {
			case l.path == "":
				fmt.Fprintf(w, "\t%s => not found\n", l.name)
			case strings.HasPrefix(l.name, "/"):
				fmt.Fprintf(w, "\t%s (0x%x)\n", l.name, addr)
			default:
				fmt.Fprintf(w, "\t%s => %s (0x%x)\n", l.name, l.path, addr)
			}
		}
	}
	return status
}

// object is what the search needs to know of one ELF file.
type object struct {
	machine elf.Machine
	class   elf.Class
	interp  string
	needed  []string
	runpath []string // DT_RUNPATH, or DT_RPATH where that is absent
}

func readObject(path string) (*object, error) {
	f, err := elf.Open(path)
	if err != nil {
		var bad *elf.FormatError
		if errors.As(err, &bad) || errors.Is(err, io.EOF) {
			return nil, errStatic
		}
		return nil, err
	}
	defer f.Close()
	o := &object{machine: f.Machine, class: f.Class}
	dynamic := false
	for _, p := range f.Progs {
		switch p.Type {
		case elf.PT_DYNAMIC:
			dynamic = true
		case elf.PT_INTERP:
			b := make([]byte, min(p.Filesz, 4096))
			if _, err := p.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("%s: interpreter: %w", path, err)
			}
			o.interp = strings.TrimRight(string(b), "\x00")
		}
	}
	if !dynamic {
		return nil, errStatic
	}
	if o.needed, err = f.ImportedLibraries(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		dirs, err := f.DynString(tag)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, d := range dirs {
			o.runpath = append(o.runpath, strings.Split(d, ":")...)
		}
		if len(o.runpath) > 0 {
			break
		}
	}
	return o, nil
}

// resolve lists the libraries of a program in breadth-first order, which is
// the loader's, its interpreter last.
func resolve(root, name string) ([]lib, error) {
	full, err := under(root, name)
	if err != nil {
		return nil, err
	}
	first, err := readObject(full)
	if err != nil {
		return nil, err
	}
	type node struct {
		path string
		obj  *object
	}
	var out []lib
	seen := map[string]bool{}
	dirs := systemDirs(root)
	for queue := []node{{name, first}}; len(queue) > 0; queue = queue[1:] {
		for _, need := range queue[0].obj.needed {
			if seen[need] || filepath.Base(first.interp) == need {
				continue
			}
			seen[need] = true
			if len(seen) > maxLibs {
				return nil, fmt.Errorf("%s: more than %d libraries", name, maxLibs)
			}
			path, obj := find(root, need, queue[0].path, queue[0].obj, first, dirs)
			out = append(out, lib{need, path})
			if obj != nil {
				queue = append(queue, node{path, obj})
			}
		}
	}
	if first.interp != "" {
		out = append(out, lib{first.interp, first.interp})
	}
	return out, nil
}

// find looks for one library: the needing object's own path first, then the
// directories of ld.so.conf and the trusted ones. A file for another machine
// is passed over, as the loader does.
func find(root, need, from string, by, first *object, dirs []string) (string, *object) {
	if strings.Contains(need, "/") {
		dirs = []string{filepath.Dir(need)}
	} else {
		own := make([]string, 0, len(by.runpath)+len(dirs))
		for _, d := range by.runpath {
			d = strings.NewReplacer("${ORIGIN}", filepath.Dir(from), "$ORIGIN", filepath.Dir(from)).Replace(d)
			if filepath.IsAbs(d) {
				own = append(own, filepath.Clean(d))
			}
		}
		dirs = append(own, dirs...)
	}
	for _, d := range dirs {
		path := filepath.Join(d, filepath.Base(need))
		full, err := under(root, path)
		if err != nil {
			continue
		}
		obj, err := readObject(full)
		if err == nil && obj.machine == first.machine && obj.class == first.class {
			return path, obj
		}
	}
	return "", nil
}

// systemDirs reads etc/ld.so.conf (one level of include, as Debian writes it)
// and adds glibc's trusted directories.
func systemDirs(root string) []string {
	var dirs []string
	read := func(path string) (includes []string) {
		b, err := os.ReadFile(path)
		if err != nil || len(b) > 1<<20 {
			return nil
		}
		for line := range strings.Lines(string(b)) {
			line, _, _ = strings.Cut(line, "#")
			line = strings.TrimSpace(line)
			if pattern, ok := strings.CutPrefix(line, "include "); ok {
				includes = append(includes, strings.TrimSpace(pattern))
			} else if strings.HasPrefix(line, "/") && !slices.Contains(dirs, line) {
				dirs = append(dirs, line)
			}
		}
		return includes
	}
	for _, pattern := range read(filepath.Join(root, "etc/ld.so.conf")) {
		files, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, f := range files {
			read(f)
		}
	}
	for _, d := range []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib"} {
		if !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	return dirs
}

// ldconfigMain is `ldconfig -r ROOT -p`, as far as dracut reads it: it takes the
// libraries' directories from the list of the libraries. Without -p it does nothing: a
// guest's loader finds its libraries in ld.so's own directories, without a cache.
func ldconfigMain(args []string, out io.Writer) int {
	root, list := "/", false
	for i, arg := range args {
		switch {
		case arg == "-r" && i+1 < len(args):
			root = args[i+1]
		case strings.HasPrefix(arg, "-p"):
			list = true
		}
	}
	if !list {
		return 0
	}
	for _, dir := range systemDirs(root) {
		if full, err := under(root, dir); err == nil {
			if files, _ := filepath.Glob(filepath.Join(full, "*.so*")); len(files) > 0 {
				name := filepath.Base(files[0])
				fmt.Fprintf(out, "\t%s (libc6) => %s\n", name, filepath.Join(dir, name))
			}
		}
	}
	return 0
}

// under resolves a path inside root, following links as if root were "/".
func under(root, path string) (string, error) {
	if root == "/" || root == "" {
		return path, nil
	}
	todo := strings.Split(filepath.Clean("/"+path), "/")
	at := "/"
	for hops := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		if part == "" {
			continue
		}
		next := filepath.Join(at, part)
		info, err := os.Lstat(filepath.Join(root, next))
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if hops++; hops > 40 {
			return "", fmt.Errorf("%s: too many links", path)
		}
		target, err := os.Readlink(filepath.Join(root, next))
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return filepath.Join(root, at), nil
}
