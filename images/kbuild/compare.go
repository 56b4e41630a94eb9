package kbuild

import (
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

func fields(b []byte) []string { return strings.Fields(string(b)) }

// compareELF compares an ELF file of two directories section by section.
func compareELF(first, second, name string) ([]Difference, error) {
	a, err := elf.Open(filepath.Join(first, name))
	if err != nil {
		return nil, fmt.Errorf("compare builds: %w", err)
	}
	defer a.Close()
	b, err := elf.Open(filepath.Join(second, name))
	if err != nil {
		return nil, fmt.Errorf("compare builds: %w", err)
	}
	defer b.Close()
	var out []Difference
	differ := func(section, format string, args ...any) {
		out = append(out, Difference{File: name, Section: section, What: fmt.Sprintf(format, args...)})
	}
	others := map[string][]*elf.Section{} // by name, of which an object may have several
	for _, s := range b.Sections {
		others[s.Name] = append(others[s.Name], s)
	}
	for _, s := range a.Sections {
		var o *elf.Section
		if same := others[s.Name]; len(same) > 0 {
			o, others[s.Name] = same[0], same[1:]
		}
		switch {
		case o == nil:
			differ(s.Name, "only the first build has it")
			continue
		case s.Size != o.Size:
			differ(s.Name, "%d bytes in the first build, %d in the second%s", s.Size, o.Size, symbolOfOne(a, s, b, o))
			continue
		case s.Addr != o.Addr:
			differ(s.Name, "at %#x in the first build, at %#x in the second", s.Addr, o.Addr)
		}
		if s.Type == elf.SHT_NOBITS || s.Type == elf.SHT_NULL || o.Type == elf.SHT_NOBITS {
			continue
		}
		at, same, err := compareReaders(s.Open(), o.Open())
		if err != nil {
			return nil, fmt.Errorf("compare builds: section %s of %s: %w", s.Name, name, err)
		}
		if !same {
			differ(s.Name, "from byte %#x on%s", at, symbolAt(a, s, uint64(at)))
		}
	}
	for _, s := range b.Sections {
		if slices.Contains(others[s.Name], s) {
			differ(s.Name, "only the second build has it")
		}
	}
	return out, nil
}

// maxObjects bounds the list of objects: one header may change them all.
const maxObjects = 10

// bootCode is where the objects are that unpack the kernel: they hold it, its
// addresses and its size.
const bootCode = "arch/x86/boot/"

// compareObjects finds the object files that differ between two builds. Programs that
// the build makes for this host are left out. Objects that differ only in tables and
// debug information, and boot code, are reported only if there are no others: boot
// code is compiled without the options that hide its directory, and stripped.
func compareObjects(ctx context.Context, first, second string) ([]Difference, error) {
	var out, tables []Difference
	objects := 0
	err := filepath.WalkDir(first, func(path string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		name, err := filepath.Rel(first, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == "scripts" || name == "tools"):
			return fs.SkipDir
		case !d.Type().IsRegular() || filepath.Ext(name) != ".o" || name == "vmlinux.o" || strings.HasPrefix(d.Name(), ".tmp_"):
			return nil
		}
		if _, same, err := compareFiles(path, filepath.Join(second, name)); same || errors.Is(err, fs.ErrNotExist) {
			return nil // what one build only has shows in what it makes
		} else if err != nil {
			return err
		}
		found, err := compareELF(first, second, name)
		if err != nil { // not ELF: LLVM's bitcode, with CONFIG_LTO_CLANG
			found = []Difference{{File: name, What: "the objects differ"}}
		}
		telling := slices.DeleteFunc(slices.Clone(found), follows)
		if len(telling) == 0 || strings.HasPrefix(name, bootCode) {
			if len(tables) < maxObjects {
				tables = append(tables, found...)
			}
			return nil
		}
		if objects++; objects > maxObjects {
			out = append(out, Difference{File: "…", What: "more objects differ"})
			return fs.SkipAll
		}
		out = append(out, telling...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("compare builds: %w", err)
	}
	if len(out) == 0 {
		return tables, nil
	}
	return out, nil
}

// follows says that a section only follows what else differs in its file, or does
// not get into the kernel.
func follows(d Difference) bool {
	return strings.HasPrefix(d.Section, ".rel") || strings.HasPrefix(d.Section, ".debug") ||
		slices.Contains([]string{".symtab", ".strtab", ".shstrtab", ".orc_unwind", ".orc_unwind_ip", ".comment"}, d.Section)
}

// symbolOfOne names the first symbol of a section that the other file's does not have,
// or that has another size there.
func symbolOfOne(a *elf.File, s *elf.Section, b *elf.File, o *elf.Section) string {
	first, second := symbolsIn(a, s), symbolsIn(b, o)
	for i, one := range [][]elf.Symbol{first, second} {
		other := [][]elf.Symbol{second, first}[i]
		sizes := map[string]uint64{}
		for _, y := range other {
			sizes[y.Name] = y.Size
		}
		for _, y := range one {
			switch size, ok := sizes[y.Name]; {
			case !ok:
				return fmt.Sprintf(", %s in the %s only", y.Name, [...]string{"first", "second"}[i])
			case size != y.Size && i == 0:
				return fmt.Sprintf(", %s has %d and %d", y.Name, y.Size, size)
			}
		}
	}
	return ""
}

// symbolsIn are the functions and objects of a section, by address.
func symbolsIn(f *elf.File, s *elf.Section) []elf.Symbol {
	symbols, err := f.Symbols()
	if err != nil {
		return nil
	}
	index := elf.SectionIndex(slices.Index(f.Sections, s)) //nolint:gosec // an ELF file has fewer
	symbols = slices.DeleteFunc(symbols, func(y elf.Symbol) bool {
		kind := elf.ST_TYPE(y.Info)
		return y.Section != index || kind != elf.STT_FUNC && kind != elf.STT_OBJECT
	})
	slices.SortStableFunc(symbols, func(x, y elf.Symbol) int { return cmp.Compare(x.Value, y.Value) })
	return symbols
}

// symbolAt names the symbol that an offset of a section is in, and shows the text
// there where it is text.
func symbolAt(f *elf.File, s *elf.Section, at uint64) string {
	var out string
	symbols, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return ""
	}
	where := s.Addr + at
	index := elf.SectionIndex(slices.Index(f.Sections, s)) //nolint:gosec // an ELF file has fewer
	for _, y := range symbols {
		if y.Section == index && y.Value <= where && where < y.Value+y.Size {
			out = fmt.Sprintf(", in %s+%#x", y.Name, where-y.Value)
			break
		}
	}
	if text := textAt(s, at); text != "" {
		out += fmt.Sprintf(", %q in the first build", text)
	}
	return out
}

// textAt is the printable text around an offset, "" where there is hardly any.
func textAt(s *elf.Section, at uint64) string {
	const around, least = 40, 8
	from := at - min(at, around)
	buf := make([]byte, 2*around)
	n, err := s.ReadAt(buf, int64(from))
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	buf = buf[:n]
	here := int(at - from)
	if here >= len(buf) {
		return ""
	}
	low, high := here, here
	for low > 0 && printable(buf[low-1]) {
		low--
	}
	for high < len(buf) && printable(buf[high]) {
		high++
	}
	if high-low < least {
		return ""
	}
	return string(buf[low:high])
}

func printable(c byte) bool { return c >= ' ' && c < 0x7f }
