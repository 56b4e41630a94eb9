package procmem

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem/mmu"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/isa"
)

// Guest is a guest whose processes are read. It remembers files: make a new one
// when the guest has run. Not safe for concurrent use.
type Guest struct {
	layout  *Layout
	mem     physmem.Reader
	space   *mmu.Space // the kernel's
	vmemmap uint64     // 0: not known yet
	files   map[uint64]*File
}

// Guest prepares the reading of one guest, whose kernel's address space and
// physical memory these are.
func (l *Layout) Guest(kernel *mmu.Space, m physmem.Reader) *Guest {
	return &Guest{layout: l, mem: m, space: kernel, files: map[uint64]*File{}}
}

// Process is the address space of one process. Not safe for concurrent use.
type Process struct {
	Mappings []Mapping // in order of addresses
	// Exe is the program, nil where it is not known.
	Exe *File
	// Bits is how many bits a user address has.
	Bits uint
	// Problem says why Mappings are not all, "" where they are.
	Problem string

	guest  *Guest
	tables *mmu.Space
}

// ErrNoMemory says that a task has no address space of its own.
var ErrNoMemory = errors.New("the task has no user memory")

// Open reads the mappings of the task whose task_struct is at an address.
func (g *Guest) Open(task uint64) (*Process, error) {
	l := g.layout
	mm, err := g.space.Uint64(task + l.mm.Off)
	if err != nil {
		return nil, fmt.Errorf("read user space: %w", err)
	}
	if mm == 0 {
		return nil, ErrNoMemory
	}
	pgd, err := g.space.Uint64(mm + l.pgd.Off)
	if err != nil {
		return nil, fmt.Errorf("read user space: %w", err)
	}
	root, err := g.space.Phys(pgd)
	if err != nil {
		return nil, fmt.Errorf("read user space: page table: %w", err)
	}
	p := &Process{guest: g}
	kernel := g.space.Tables()
	if kernel == nil {
		return nil, errors.New("read user space: the kernel's page tables are not known")
	}
	tables, bits := kernel.User(root)
	p.Bits = bits
	p.tables = mmu.NewSpace(g.mem, tables)
	if err := p.readMappings(mm); err != nil {
		p.Problem = err.Error()
	}
	if l.exe.Size == 8 {
		if f, err := g.space.Uint64(mm + l.exe.Off); err == nil && f != 0 {
			p.Exe = g.file(f)
		}
	}
	g.calibrate(p)
	return p, nil
}

func (p *Process) readMappings(mm uint64) error {
	g, l := p.guest, p.guest.layout
	v := &vmas{l: l, space: g.space}
	var err error
	if l.mapleRoot.Size == 8 {
		var root uint64
		if root, err = g.space.Uint64(mm + l.mapleRoot.Off); err == nil {
			err = v.readMaple(root)
		}
	} else {
		var first uint64
		if first, err = g.space.Uint64(mm + l.list.Off); err == nil {
			err = v.readList(first)
		}
	}
	names := p.anonymous(mm)
	b := make([]byte, l.vmaSize)
	for _, at := range v.out {
		if rerr := g.space.Read(at, b); rerr != nil {
			err = errors.Join(err, fmt.Errorf("read mappings: %w", rerr))
			break
		}
		m := Mapping{Start: word(b, l.start), End: word(b, l.end), Flags: word(b, l.flags), Offset: word(b, l.pgoff) << l.pageShift}
		if m.Start >= m.End || m.End > 1<<p.Bits {
			return fmt.Errorf("read mappings: invalid mapping %#x-%#x", m.Start, m.End)
		}
		if f := word(b, l.vmFile); f != 0 {
			if m.File = g.file(f); m.File != nil {
				m.Name = m.File.Path
			}
		} else {
			m.Offset = 0
			m.Name = cmp.Or(names(m), g.special(b))
		}
		p.Mappings = append(p.Mappings, m)
	}
	slices.SortFunc(p.Mappings, func(a, b Mapping) int { return cmp.Compare(a.Start, b.Start) })
	return err
}

// special names what the kernel maps itself, such as [vvar]: a struct
// vm_special_mapping says how. Other mappings may have something else there.
func (g *Guest) special(vma []byte) string {
	l := g.layout
	if l.private.Size != 8 || l.specialName.Size != 8 || word(vma, l.private) == 0 {
		return ""
	}
	at, err := g.space.Uint64(word(vma, l.private) + l.specialName.Off)
	if err != nil {
		return ""
	}
	if s, ok := printable(g.space, at, 32); ok && strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		return s
	}
	return ""
}

// anonymous names the mappings that have no file by where they are.
func (p *Process) anonymous(mm uint64) func(Mapping) string {
	get := func(f field) uint64 {
		if f.Size != 8 {
			return 0
		}
		v, _ := p.guest.space.Uint64(mm + f.Off) // 0 names nothing
		return v
	}
	l := p.guest.layout
	vdso, stack := get(l.vdso), get(l.stack)
	start, end := get(l.brkStart), get(l.brkEnd)
	return func(m Mapping) string {
		switch {
		case vdso != 0 && m.Start == vdso:
			return "[vdso]"
		case stack != 0 && m.Contains(stack):
			return "[stack]"
		case m.Start <= end && m.End >= start && start != 0:
			return "[heap]"
		}
		return ""
	}
}

// file returns the mapped file of a struct file; nil where it cannot be read.
func (g *Guest) file(addr uint64) *File {
	l := g.layout
	if l.mapping.Size != 8 {
		return nil
	}
	key, err := g.space.Uint64(addr + l.mapping.Off)
	if err != nil || key == 0 {
		return nil
	}
	if f, ok := g.files[key]; ok {
		return f
	}
	f := &File{Key: key, Path: g.path(addr), Size: g.size(addr), guest: g}
	if len(g.files) < maxFiles {
		g.files[key] = f
	}
	return f
}

// unknownSize is the size of a file whose i_size cannot be read: no page behind its end
// is in the page cache.
const unknownSize = 1<<63 - 1

// size is the i_size of a struct file.
func (g *Guest) size(file uint64) uint64 {
	l := g.layout
	if l.inode.Size != 8 || l.size.Size != 8 {
		return unknownSize
	}
	inode, err1 := g.space.Uint64(file + l.inode.Off)
	size, err2 := g.space.Uint64(inode + l.size.Off)
	if err1 != nil || err2 != nil {
		return 0
	}
	return size
}

// maxFiles bounds how many files are remembered.
const maxFiles = 1 << 12

// Find returns the mapping that an address lies in, nil for none.
func (p *Process) Find(addr uint64) *Mapping {
	i, ok := slices.BinarySearchFunc(p.Mappings, addr, func(m Mapping, a uint64) int {
		switch {
		case m.End <= a:
			return -1
		case m.Start > a:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &p.Mappings[i]
}

// Read fills b from an address of the process: from its pages, and for a file
// that is mapped without being writable, from the page cache or the file's
// backing. Where a page is nowhere, the error is ErrAbsent or isa.ErrNotMapped.
func (p *Process) Read(addr uint64, b []byte) error {
	const page = 4096
	for len(b) > 0 {
		n := min(len(b), page-int(addr%page))
		err := p.tables.Read(addr, b[:n])
		if errors.Is(err, isa.ErrNotMapped) {
			m := p.Find(addr)
			if m == nil || m.File == nil || m.Flags&Write != 0 {
				return err
			}
			_, err = m.File.ReadAt(b[:n], int64(addr-m.Start+m.Offset))
		}
		if err != nil {
			return fmt.Errorf("user address %#x: %w", addr, err)
		}
		b, addr = b[n:], addr+uint64(n)
		if addr == 0 && len(b) > 0 {
			return isa.ErrNotMapped
		}
	}
	return nil
}
