package kbuild

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"path/filepath"
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
	seen := map[string]bool{}
	for _, s := range a.Sections {
		seen[s.Name] = true
		o := b.Section(s.Name)
		switch {
		case o == nil:
			differ(s.Name, "only the first build has it")
			continue
		case s.Size != o.Size:
			differ(s.Name, "%d bytes in the first build, %d in the second", s.Size, o.Size)
			continue
		case s.Addr != o.Addr:
			differ(s.Name, "at %#x in the first build, at %#x in the second", s.Addr, o.Addr)
		}
		if s.Type == elf.SHT_NOBITS || s.Type == elf.SHT_NULL {
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
		if !seen[s.Name] {
			differ(s.Name, "only the second build has it")
		}
	}
	return out, nil
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
	for _, y := range symbols {
		if s.Addr != 0 && y.Value <= where && where < y.Value+y.Size && y.Section < elf.SHN_LORESERVE {
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
