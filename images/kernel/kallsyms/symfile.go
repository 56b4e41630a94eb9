package kallsyms

import (
	"bufio"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/images/kernel/elf64"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// ErrOtherKernel says that symbols are of another kernel than a table.
var ErrOtherKernel = errors.New("the symbols belong to another kernel")

// The bounds of a file of symbols: a System.map has some 200,000 lines, an
// allyesconfig's some 2,000,000.
const (
	maxFileSymbols = 8 << 20
	maxSymLine     = 1024
)

// kernelHalf is where the kernel's half of the address space begins; what a file
// has below it are absolute values and offsets of per-CPU data.
const kernelHalf = 1 << 63

// ReadFile reads the symbols of a System.map, or of the .symtab of an ELF vmlinux,
// in order of their addresses. Absolute values, per-CPU offsets and the assembler's
// own labels are left out.
func ReadFile(path string) ([]Symbol, error) {
	f, err := elf.Open(path)
	var format *elf.FormatError
	switch {
	case err == nil:
		defer f.Close() // only read
		return readSymtab(path, f)
	case !errors.As(err, &format) && !errors.Is(err, os.ErrNotExist) && !strings.Contains(err.Error(), "EOF"):
		return nil, fmt.Errorf("read symbols: %w", err)
	}
	return readMap(path)
}

func readSymtab(path string, f *elf.File) ([]Symbol, error) {
	syms, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("read symbols of %s: %w: name an unstripped vmlinux, or a System.map", path, err)
	}
	var out []Symbol
	for _, s := range syms {
		letter := byte('D')
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			letter = 'T'
		} else if n := int(s.Section); n < len(f.Sections) && f.Sections[n].Flags&elf.SHF_EXECINSTR != 0 {
			letter = 't'
		}
		if elf.ST_TYPE(s.Info) != elf.STT_SECTION && elf.ST_TYPE(s.Info) != elf.STT_FILE && s.Section != elf.SHN_UNDEF && s.Section != elf.SHN_ABS {
			out = add(out, Symbol{s.Value, s.Name, letter})
		}
	}
	return finish(path, out)
}

// readMap reads what nm prints: address, letter, name.
func readMap(path string) ([]Symbol, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read symbols: %w", err)
	}
	defer f.Close() // only read
	var out []Symbol
	s := bufio.NewScanner(f)
	s.Buffer(nil, maxSymLine)
	for n := 1; s.Scan(); n++ {
		w := strings.Fields(s.Text())
		if len(w) < 3 || len(w[1]) != 1 {
			return nil, fmt.Errorf("read symbols: %s: line %d is not a line of a System.map", path, n)
		}
		addr, err := strconv.ParseUint(w[0], 16, 64)
		if err != nil || len(out) == maxFileSymbols {
			return nil, fmt.Errorf("read symbols: %s: line %d is not a line of a System.map", path, n)
		}
		if w[1] != "A" && w[1] != "a" && w[1] != "U" {
			out = add(out, Symbol{addr, w[2], w[1][0]})
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read symbols: %s: %w", path, err)
	}
	return finish(path, out)
}

func add(out []Symbol, s Symbol) []Symbol {
	if s.Addr < kernelHalf || s.Name == "" || s.Name[0] == '$' || strings.HasPrefix(s.Name, ".L") {
		return out
	}
	return append(out, s)
}

func finish(path string, out []Symbol) ([]Symbol, error) {
	if len(out) == 0 {
		return nil, fmt.Errorf("read symbols: %s has no kernel symbols: distributions ship a stub System.map", path)
	}
	slices.SortStableFunc(out, func(a, b Symbol) int { return cmp.Compare(a.Addr, b.Addr) })
	return out, nil
}

// FromFile makes a table of symbols that were read, for a kernel without kallsyms.
func FromFile(syms []Symbol, payload []byte, a arch.Arch) (*Table, error) {
	f, err := elf64.Parse(payload)
	if err != nil {
		f = nil // a raw Image
	}
	i := slices.IndexFunc(syms, func(s Symbol) bool { return s.Name == "_text" })
	if i < 0 {
		return nil, fmt.Errorf("symbols for %s: _text is missing", a)
	}
	return newTable(syms, syms[i].Addr, f, len(payload)), nil
}

// With returns a table that also has the data of these symbols: a kernel without
// CONFIG_KALLSYMS_ALL names its functions only. What it names it names best, so
// nothing else is taken. The error is ErrOtherKernel where the two do not agree on
// the functions that both have.
func (t *Table) With(syms []Symbol) (*Table, error) {
	same, differ := 0, 0
	out := slices.Clone(t.syms)
	for _, s := range syms {
		addr, known := t.Lookup(s.Name)
		switch {
		case !known && !s.IsText():
			out = append(out, s)
		case known && s.IsText() && addr == s.Addr:
			same++
		case known && s.IsText() && len(t.LookupAll(s.Name)) == 1:
			differ++
		}
		if differ > 100 && differ > same {
			break
		}
	}
	if same == 0 || differ*100 > same {
		return nil, fmt.Errorf("%w: %d functions are at the same address, %d are not", ErrOtherKernel, same, differ)
	}
	slices.SortStableFunc(out, func(a, b Symbol) int { return cmp.Compare(a.Addr, b.Addr) })
	return newTable(out, t.base, t.elf, int(t.size)), nil
}
