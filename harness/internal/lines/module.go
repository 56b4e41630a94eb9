package lines

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// modules finds the files of a kernel's modules, and keeps their tables.
type modules struct {
	files  map[string]string // by the module's name
	tables map[string]*Table // nil: it has no lines
}

// maxModules bounds how many modules are known, maxModule the length of a file.
const (
	maxModules = 1 << 14
	maxModule  = 256 << 20
)

// AddModules makes the modules of a folder known: those that its modules.order lists,
// as in a build tree of the kernel or of a module, and all below lib/modules and root,
// where modules_install puts them. A file is a module itself. What comes first counts.
func (t *Table) AddModules(arg string) error {
	st, err := os.Stat(arg)
	if err != nil {
		return err
	}
	if !st.IsDir() {
		t.addModule(arg)
		return nil
	}
	if f, err := os.Open(filepath.Join(arg, "modules.order")); err == nil {
		for s := bufio.NewScanner(f); s.Scan(); {
			name := strings.TrimSuffix(strings.TrimSuffix(s.Text(), ".o"), ".ko") + ".ko" // .o since 6.4
			if !filepath.IsAbs(name) {
				name = filepath.Join(arg, name)
			}
			t.addModule(name)
		}
		f.Close() // read only
	}
	for _, dir := range []string{"lib/modules", "root/lib/modules"} {
		err := filepath.WalkDir(filepath.Join(arg, dir), func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				t.addModule(path)
			}
			return nil // what cannot be read has no modules
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// addModule makes one file known, if its name is that of a module.
func (t *Table) addModule(file string) {
	name, ok := strings.CutSuffix(filepath.Base(file), ".ko")
	if name = strings.ReplaceAll(name, "-", "_"); !ok || t.modules.files[name] != "" || len(t.modules.files) >= maxModules {
		return
	}
	t.modules.files[name] = file
}

// module is the table of a module, nil where its file or its lines are not known.
func (t *Table) module(name string) *Table {
	m, ok := t.modules.tables[name]
	if !ok {
		if file := t.modules.files[name]; file != "" {
			m, _ = openModule(file) // without lines its frames stay as they are
		}
		t.modules.tables[name] = m
	}
	return m
}

// openModule reads a module: a relocatable file, in which each section begins at
// address 0. The sections of code are put one behind the other first, so that an
// address says which section it is in.
func openModule(file string) (*Table, error) {
	if st, err := os.Stat(file); err != nil || st.Size() > maxModule {
		return nil, fmt.Errorf("read %s: more than %d MiB, or gone: %w", file, maxModule>>20, err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("read %s: not an ELF file: %w", file, err)
	}
	spread(f, b)
	if f, err = elf.NewFile(bytes.NewReader(b)); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return read(f, file)
}

// spread adds to each symbol of a 64-bit relocatable file the place of its section,
// in the bytes of the file: relocations are then made with it.
func spread(f *elf.File, b []byte) {
	tab := f.SectionByType(elf.SHT_SYMTAB)
	if f.Type != elf.ET_REL || f.Class != elf.ELFCLASS64 || tab == nil {
		return
	}
	base := make([]uint64, len(f.Sections))
	next := uint64(0)
	for i, s := range f.Sections {
		if s.Flags&elf.SHF_EXECINSTR != 0 && s.Size < maxModule {
			base[i] = next
			next += (s.Size + 0xfff) &^ 0xfff
		}
	}
	const size, shndx, value = elf.Sym64Size, 6, 8 // Elf64_Sym
	for at := tab.Offset; tab.Size <= uint64(len(b)) && at+size <= min(tab.Offset+tab.Size, uint64(len(b))); at += size {
		i := int(f.ByteOrder.Uint16(b[at+shndx:]))
		if i < len(base) {
			v := b[at+value : at+size]
			f.ByteOrder.PutUint64(v, f.ByteOrder.Uint64(v)+base[i])
		}
	}
}
