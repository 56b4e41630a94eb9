package procmem

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem/mmu"
)

// File is a file that is mapped.
type File struct {
	// Path is its path in the guest, below whatever root its mounts have.
	Path string
	// Key tells files apart: the address of its struct address_space.
	Key uint64
	// Size is i_size in bytes.
	Size uint64

	guest *Guest
	// backing is the same file from outside, nil where there is none.
	backing io.ReaderAt
}

// SetBacking gives the file's content from outside the guest, which is read
// where the guest has it not in memory. The caller makes sure that it is the
// same file.
func (f *File) SetBacking(r io.ReaderAt) { f.backing = r }

// ErrAbsent says that a page is not in the guest's memory.
var ErrAbsent = errors.New("not in memory")

// ReadAt implements io.ReaderAt from the page cache, and from the backing where
// there is one.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || uint64(off) >= f.Size {
		return 0, io.EOF
	}
	short := uint64(len(p)) > f.Size-uint64(off)
	if short {
		p = p[:f.Size-uint64(off)]
	}
	size := uint64(1) << f.guest.layout.pageShift
	for n := 0; n < len(p); {
		at := uint64(off) + uint64(n)
		chunk := p[n:min(uint64(len(p)), uint64(n)+size-at%size)]
		pa, err := f.page(at / size)
		if err == nil {
			err = f.guest.mem.ReadPhys(pa+at%size, chunk)
		} else if f.backing != nil {
			_, err = f.backing.ReadAt(chunk, int64(at))
		}
		if err != nil {
			return n, fmt.Errorf("read %s at %#x: %w", f.Path, at, err)
		}
		n += len(chunk)
	}
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

// page returns the physical address of a page of the file, by the page cache.
func (f *File) page(index uint64) (uint64, error) {
	if f.guest.vmemmap == 0 {
		return 0, ErrAbsent
	}
	head, err := f.guest.cached(f.Key, index)
	if err != nil {
		return 0, err
	}
	l := f.guest.layout
	return (head - f.guest.vmemmap) / l.pageSize << l.pageShift, nil
}

// maxLevels bounds an xarray: 64 bits of index in steps of 6, or 4 in a kernel
// built for small memory. maxFolio bounds the pages of a folio.
const (
	maxLevels = 16
	maxFolio  = 1 << 13
)

// cached finds a page of a file in the page cache (lib/xarray.c) and returns the
// address of its struct page.
func (g *Guest) cached(mapping, index uint64) (uint64, error) {
	l := g.layout
	if l.pages.Size != 8 || l.slots.Size < 16 || l.shift.Size != 1 || l.pageSize == 0 || l.index.Size != 8 {
		return 0, ErrAbsent
	}
	e, err := g.space.Uint64(mapping + l.pages.Off)
	if err != nil {
		return 0, err
	}
	chunk := l.slots.Size / 8 // 64 slots, or 16
	e, err = g.descend(e, index, chunk)
	if err != nil {
		return 0, err
	}
	if e&3 != 0 || e>>63 == 0 { // none, or a shadow of one that was there
		return 0, ErrAbsent
	}
	first, err := g.space.Uint64(e + l.index.Off)
	if err != nil {
		return 0, err
	}
	if index < first || index-first >= maxFolio {
		return 0, ErrAbsent
	}
	return e + (index-first)*l.pageSize, nil
}

// descend follows an xarray from its head to the entry at index.
func (g *Guest) descend(e, index, chunk uint64) (uint64, error) {
	l := g.layout
	isNode := func(e uint64) bool { return e&3 == 2 && e > 4096 }
	if !isNode(e) && index != 0 {
		return 0, ErrAbsent
	}
	for level := 0; isNode(e); level++ {
		at := e - 2
		shift, err := g.space.Uint(at+l.shift.Off, 1)
		if err != nil {
			return 0, err
		}
		slot := index >> shift
		if level >= maxLevels || shift > 60 || level == 0 && slot >= chunk {
			return 0, ErrAbsent
		}
		slot &= chunk - 1
		if e, err = g.space.Uint64(at + l.slots.Off + 8*slot); err != nil {
			return 0, err
		}
		if e&3 == 2 && e < chunk<<2 { // a sibling: the entry is in another slot
			if e, err = g.space.Uint64(at + l.slots.Off + 8*(e>>2)); err != nil {
				return 0, err
			}
		}
	}
	return e, nil
}

// Path returns the path of the struct file at an address, "" where it has none
// or cannot be read.
func (g *Guest) Path(file uint64) string { return g.path(file) }

// path returns the path of a struct file: its dentries up to the root of its
// file system, and on from where that is mounted.
func (g *Guest) path(file uint64) string {
	l := g.layout
	dentry, err1 := g.space.Uint64(file + l.dentry.Off)
	mnt, err2 := g.space.Uint64(file + l.mount.Off)
	if l.dentry.Size != 8 || l.dParent.Size != 8 || l.dName.Size != 8 || err1 != nil || err2 != nil {
		return ""
	}
	var parts []string
	for range maxParts {
		if up, in, ok := g.mountedOn(mnt, dentry); ok {
			mnt, dentry = up, in
			continue
		}
		parent, err := g.space.Uint64(dentry + l.dParent.Off)
		if err != nil {
			return ""
		}
		if parent == dentry {
			if len(parts) > 0 {
				return "/" + strings.Join(parts, "/")
			}
			name, _ := g.name(dentry) // a file without a directory, as of memfd_create
			return name
		}
		name, ok := g.name(dentry)
		if !ok {
			return ""
		}
		parts = append([]string{name}, parts...)
		dentry = parent
	}
	return ""
}

// maxParts bounds a path, its mounts included.
const maxParts = 64

// mountedOn says, for the root of a mount, which directory of which other mount
// it covers.
func (g *Guest) mountedOn(mnt, dentry uint64) (up, in uint64, ok bool) {
	l := g.layout
	if l.mnt.Size == 0 || l.mntParent.Size != 8 || l.mntPoint.Size != 8 || l.mRoot.Size != 8 {
		return 0, 0, false
	}
	root, err := g.space.Uint64(mnt + l.mRoot.Off)
	if err != nil || root != dentry {
		return 0, 0, false
	}
	mount := mnt - l.mnt.Off
	parent, err1 := g.space.Uint64(mount + l.mntParent.Off)
	in, err2 := g.space.Uint64(mount + l.mntPoint.Off)
	return parent + l.mnt.Off, in, err1 == nil && err2 == nil && parent != mount
}

// name returns a dentry's name. Anything may stand in it, so what cannot be
// printed becomes a question mark.
func (g *Guest) name(dentry uint64) (string, bool) {
	at, err := g.space.Uint64(dentry + g.layout.dName.Off)
	if err != nil {
		return "", false
	}
	return printable(g.space, at, maxName)
}

// maxName is NAME_MAX.
const maxName = 255

// printable reads a string that ends with a NUL.
func printable(s *mmu.Space, at uint64, limit int) (string, bool) {
	var out []byte
	for len(out) <= limit {
		var w [8]byte
		n := 8 - int(at&7)
		if s.Read(at, w[:n]) != nil {
			return "", false
		}
		for _, c := range w[:n] {
			switch {
			case c == 0:
				return string(out), true
			case c < ' ' || c > '~':
				c = '?'
			}
			out = append(out, c)
		}
		at += uint64(n)
	}
	return "", false
}

// calibrate finds where the kernel's array of struct page begins (vmemmap):
// from pages of code that a process has mapped, each of which is in the page
// cache, too. Two must agree.
func (g *Guest) calibrate(p *Process) {
	votes := map[uint64]int{}
	for base := range g.bases(p) {
		if g.vmemmap != 0 {
			return
		}
		if votes[base]++; votes[base] == 2 {
			g.vmemmap = base
		}
	}
}

// bases yields where the array of struct page begins, by each page of code that a
// process has mapped and that is in the page cache.
func (g *Guest) bases(p *Process) iter.Seq[uint64] {
	l := g.layout
	return func(yield func(uint64) bool) {
		tries := 0
		for i := range p.Mappings {
			m := &p.Mappings[i]
			if m.File == nil || m.Flags&Exec == 0 || m.Flags&Write != 0 || l.pageSize == 0 {
				continue
			}
			for va := m.Start; va < m.End && tries < maxTries; va += 1 << l.pageShift {
				tries++
				pa, err := p.tables.Phys(va)
				if err != nil {
					continue
				}
				page, err := g.cached(m.File.Key, (va-m.Start+m.Offset)>>l.pageShift)
				if err != nil {
					continue
				}
				if !yield(page - pa>>l.pageShift*l.pageSize) {
					return
				}
			}
		}
	}
}

// maxAgree is how many pages of a process Agree looks at.
const maxAgree = 64

// Agree counts the pages of code by which a process's page tables and the page cache say
// the same. ok is false where they contradict each other, in this process or with what
// others said.
func (g *Guest) Agree(p *Process) (pages int, ok bool) {
	for base := range g.bases(p) {
		if g.vmemmap != 0 && base != g.vmemmap {
			return 0, false
		}
		g.vmemmap = base
		if pages++; pages == maxAgree {
			break
		}
	}
	return pages, true
}

// maxTries bounds how many pages are looked at for that.
const maxTries = 1 << 10

// word reads a field of 8 bytes.
func word(b []byte, f field) uint64 { return binary.LittleEndian.Uint64(b[f.Off:]) }
