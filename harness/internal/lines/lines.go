// Package lines says which line of the source a place in a kernel's code comes from,
// by the debug information of an unstripped vmlinux: what the kernel's
// scripts/decode_stacktrace.sh does with addr2line.
package lines

import (
	"debug/dwarf"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/console"
)

// ErrNone says that a file has no line numbers.
var ErrNone = errors.New("it has no debug information: build the kernel with CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT=y")

// Table knows the lines of one file, and of the modules that are made known to it. It is
// not safe for concurrent use.
type Table struct {
	modules modules
	data    *dwarf.Data
	symbols map[string][]elf.Symbol
	units   []unit // by address
	rows    map[dwarf.Offset][]dwarf.LineEntry
}

// unit is a stretch of code of one compilation unit.
type unit struct {
	low, high uint64
	entry     *dwarf.Entry
}

// Open reads an ELF file with symbols and debug information. A file that is no such
// thing gives an error of one line; ErrNone if only the lines are missing.
func Open(name string) (*Table, error) {
	f, err := elf.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: not an ELF file with symbols, such as a vmlinux: %w", name, err)
	}
	defer f.Close() // read only
	return read(f, name)
}

// read reads the symbols and the debug information.
func read(f *elf.File, name string) (*Table, error) {
	if f.Section(".debug_line") == nil && f.Section(".zdebug_line") == nil {
		return nil, fmt.Errorf("read %s: %w", name, ErrNone)
	}
	t := &Table{
		modules: modules{files: map[string]string{}, tables: map[string]*Table{}},
		symbols: map[string][]elf.Symbol{}, rows: map[dwarf.Offset][]dwarf.LineEntry{},
	}
	var err error
	if t.data, err = f.DWARF(); err != nil {
		return nil, fmt.Errorf("read debug information of %s: %w", name, err)
	}
	all, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("read symbols of %s: %w", name, err)
	}
	for _, s := range all {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC || elf.ST_TYPE(s.Info) == elf.STT_NOTYPE {
			t.symbols[s.Name] = append(t.symbols[s.Name], s)
		}
	}
	if err := t.index(); err != nil {
		return nil, fmt.Errorf("read debug information of %s: %w", name, err)
	}
	return t, nil
}

// index finds what code each unit has.
func (t *Table) index() error {
	r := t.data.Reader()
	for {
		e, err := r.Next()
		if err != nil {
			return err
		}
		if e == nil {
			break
		}
		r.SkipChildren()
		if e.Tag != dwarf.TagCompileUnit {
			continue
		}
		ranges, err := t.data.Ranges(e)
		if err != nil {
			continue // a unit that is damaged has no lines
		}
		for _, x := range ranges {
			t.units = append(t.units, unit{x[0], x[1], e})
		}
	}
	sort.Slice(t.units, func(i, j int) bool { return t.units[i].low < t.units[j].low })
	return nil
}

// At is the file and line of the byte at an offset in a function of a size, such as
// "kernel/sched/core.c:6555"; "" where it is not known, or several functions of that
// name and size are.
func (t *Table) At(function string, offset, size uint64) string {
	var found []elf.Symbol
	for _, s := range t.symbols[function] {
		// The kernel's size reaches to the next symbol, so it may be larger.
		if s.Size <= size && size-s.Size < 64 || s.Size == 0 {
			found = append(found, s)
		}
	}
	if len(found) != 1 || offset >= size {
		return ""
	}
	return t.line(found[0].Value + offset)
}

// line is the file and line of an address.
func (t *Table) line(pc uint64) string {
	i := sort.Search(len(t.units), func(i int) bool { return t.units[i].low > pc }) - 1
	if i < 0 || pc >= t.units[i].high {
		return ""
	}
	e := t.units[i].entry
	rows, ok := t.rows[e.Offset]
	if !ok {
		rows = t.read(e)
		t.rows[e.Offset] = rows
	}
	// Each sequence of rows ends with one of its own; sequences are in no order.
	best := ""
	for k := 0; k+1 < len(rows); k++ {
		if rows[k].EndSequence || pc < rows[k].Address || pc >= rows[k+1].Address || rows[k].File == nil {
			continue
		}
		dir, _ := e.Val(dwarf.AttrCompDir).(string)
		name := strings.TrimPrefix(path.Clean(rows[k].File.Name), path.Clean(dir)+"/")
		best = fmt.Sprintf("%s:%d", console.SanitizeMax(name, maxName), rows[k].Line)
	}
	return best
}

// The bounds of the rows of one unit, and of a file's name in characters.
const (
	maxRows = 1 << 22
	maxName = 200
)

func (t *Table) read(e *dwarf.Entry) (rows []dwarf.LineEntry) {
	r, err := t.data.LineReader(e)
	if err != nil || r == nil {
		return nil
	}
	for len(rows) < maxRows {
		var row dwarf.LineEntry
		if err := r.Next(&row); err != nil {
			if !errors.Is(err, io.EOF) {
				return nil
			}
			return rows
		}
		rows = append(rows, row)
	}
	return rows
}

// place is a place in the kernel's code as the kernel prints it. One in a module is
// followed by its name, and by its build ID where the kernel prints that.
var place = regexp.MustCompile(`\b([A-Za-z_][\w.]*)\+0x([0-9a-f]+)/0x([0-9a-f]+)(?: \[(\w+)(?: [0-9a-f]+)?\])?`)

// now are the words before the place where a CPU is. All others are return addresses,
// and the call is what stands before them.
var now = regexp.MustCompile(`(RIP: |EIP: |pc : |PC is at |NIP |epc : )\S*$|RIP: [0-9a-f]+:$`)

// Decode adds the file and line to each place in a line of the kernel's that is known.
func (t *Table) Decode(line string) string {
	var b strings.Builder
	last := 0
	for _, m := range place.FindAllStringSubmatchIndex(line, -1) {
		offset, err1 := strconv.ParseUint(line[m[4]:m[5]], 16, 64)
		size, err2 := strconv.ParseUint(line[m[6]:m[7]], 16, 64)
		of := t
		if m[8] >= 0 {
			of = t.module(line[m[8]:m[9]])
		}
		if err1 != nil || err2 != nil || of == nil {
			continue
		}
		if offset > 0 && !now.MatchString(line[:m[2]]) {
			offset--
		}
		if at := of.At(line[m[2]:m[3]], offset, size); at != "" {
			b.WriteString(line[last:m[1]] + " (" + at + ")")
			last = m[1]
		}
	}
	return b.String() + line[last:]
}

// Find is the vmlinux of a kernel argument: the file itself, that of a build tree, or
// the one that an image in a build tree was made from.
func Find(arg string) (string, error) {
	st, err := os.Stat(arg)
	if err != nil {
		return "", err
	}
	if st.IsDir() {
		return oneOf(arg, filepath.Join(arg, "vmlinux"))
	}
	if f, err := elf.Open(arg); err == nil {
		return arg, f.Close()
	}
	dir := filepath.Dir(arg)
	return oneOf(arg, filepath.Join(dir, "vmlinux"), filepath.Join(dir, "../../../vmlinux"))
}

// oneOf is the first file that is there.
func oneOf(arg string, files ...string) (string, error) {
	for _, f := range files {
		if st, err := os.Stat(f); err == nil && st.Mode().IsRegular() {
			return f, nil
		}
	}
	return "", fmt.Errorf("find the vmlinux of %s: no %s: name the unstripped vmlinux", arg, strings.Join(files, ", no "))
}
