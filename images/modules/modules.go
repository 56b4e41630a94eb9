// Package modules finds kernel modules, and what they depend on, in a
// lib/modules/RELEASE directory.
package modules

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/unwedge/unwedge/images/kernel"
)

// maxModule bounds one unpacked module, in bytes.
const maxModule = 128 << 20

// Module is one module file.
type Module struct {
	// Name is the module's name with underscores, as in /proc/modules.
	Name string
	// Path is relative to the lib/modules/RELEASE directory.
	Path string
}

// Set is the modules of one kernel. The zero Set has none.
type Set struct {
	dir     string
	paths   map[string]string   // name → path
	deps    map[string][]string // path → paths it needs
	builtin map[string]bool
}

// Open reads modules.order, modules.dep and modules.builtin of a
// lib/modules/RELEASE directory. Where depmod has not been run there is no
// modules.dep, and the dependencies are read from the modules themselves
// (".modinfo depends=", see Documentation/kbuild/modules.rst).
func Open(dir string) (*Set, error) {
	s := &Set{dir: dir, paths: map[string]string{}, deps: map[string][]string{}, builtin: map[string]bool{}}
	if err := s.readBuiltin(); err != nil {
		return nil, err
	}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if name := moduleName(p); name != "" {
			rel, err := filepath.Rel(dir, p)
			if err != nil {
				return err
			}
			s.paths[name] = rel
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read modules: %w", err)
	}
	return s, s.readDep()
}

// moduleName returns the name of a module file, "" for another file.
func moduleName(p string) string {
	base := path.Base(filepath.ToSlash(p))
	stem, rest, ok := strings.Cut(base, ".ko")
	if !ok || !slices.Contains([]string{"", ".xz", ".zst", ".gz"}, rest) {
		return ""
	}
	return canonical(stem)
}

func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

func (s *Set) readBuiltin() error {
	return eachLine(filepath.Join(s.dir, "modules.builtin"), func(line string) {
		if name := moduleName(line); name != "" {
			s.builtin[name] = true
		}
	})
}

func (s *Set) readDep() error {
	return eachLine(filepath.Join(s.dir, "modules.dep"), func(line string) {
		if p, needs, ok := strings.Cut(line, ":"); ok {
			s.deps[p] = strings.Fields(needs)
		}
	})
}

// eachLine reads a file line by line; a file that is not there has none.
func eachLine(p string, f func(string)) error {
	file, err := os.OpenFile(p, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is empty then
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read modules: %w", err)
	}
	defer file.Close()
	sc := bufio.NewScanner(file)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		f(sc.Text())
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("read modules: %s: %w", p, err)
	}
	return nil
}

// Names lists the modules that have a file, in alphabetical order.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.paths)) }

// Load returns the modules to load for the given names, dependencies first,
// each once. Names that are built into the kernel need nothing. missing lists
// the names that the kernel has neither as a module nor built in.
func (s *Set) Load(names ...string) (load []Module, missing []string, err error) {
	seen := map[string]bool{}
	var visit func(name string, depth int) error
	visit = func(name string, depth int) error {
		name = canonical(name)
		if seen[name] || s.builtin[name] {
			return nil
		}
		seen[name] = true
		p, ok := s.paths[name]
		if !ok {
			missing = append(missing, name)
			return nil
		}
		if depth > 64 {
			return fmt.Errorf("module %s: its dependencies go deeper than 64", name)
		}
		needs, err := s.needs(p)
		if err != nil {
			return err
		}
		for _, n := range needs {
			if err := visit(n, depth+1); err != nil {
				return err
			}
		}
		load = append(load, Module{Name: name, Path: p})
		return nil
	}
	for _, n := range names {
		if err := visit(n, 0); err != nil {
			return nil, nil, err
		}
	}
	return load, missing, nil
}

// needs returns the names of the modules that the module at p depends on.
func (s *Set) needs(p string) ([]string, error) {
	if paths, ok := s.deps[p]; ok {
		var names []string
		for _, d := range paths {
			if name := moduleName(d); name != "" {
				names = append(names, name)
			}
		}
		slices.Reverse(names) // modules.dep lists the nearest first
		return names, nil
	}
	b, err := s.Read(Module{Path: p})
	if err != nil {
		return nil, err
	}
	return depends(p, b)
}

// Read returns the module's bytes, unpacked.
func (s *Set) Read(m Module) ([]byte, error) {
	return unpacked(filepath.Join(s.dir, m.Path), m.Path)
}

// ReadFile returns the bytes of a module file, unpacked: at most 128 MiB.
func ReadFile(path string) ([]byte, error) { return unpacked(path, path) }

// unpacked reads the file at path, which errors call name.
func unpacked(path, name string) ([]byte, error) {
	raw, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	c := kernel.DetectCompression(raw)
	if c == kernel.None {
		return raw, nil
	}
	r, err := kernel.NewReader(c, strings.NewReader(string(raw)))
	if err != nil {
		return nil, fmt.Errorf("unpack module %s: %w", name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err != nil {
		return nil, fmt.Errorf("unpack module %s: %w", name, err)
	}
	if len(b) > maxModule {
		return nil, fmt.Errorf("unpack module %s: more than %d MiB", name, maxModule>>20)
	}
	return b, nil
}

// readFile reads a regular file of maxModule bytes at most. Who made the
// directory may have put a pipe or a device there, which would never end.
func readFile(p string) ([]byte, error) {
	f, err := os.OpenFile(p, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", p)
	}
	if st.Size() > maxModule {
		return nil, fmt.Errorf("%s has more than %d MiB", p, maxModule>>20)
	}
	return io.ReadAll(io.LimitReader(f, maxModule))
}
