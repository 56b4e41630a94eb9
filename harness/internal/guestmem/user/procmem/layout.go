// Package procmem reads the memory of a user process of a guest from outside:
// its mappings, by what the kernel keeps of them, and its pages, by its page
// tables and the page cache.
//
// The guest is hostile, and it may run meanwhile: every loop and allocation is
// bounded, and a page that is not in memory is an error, never zeros.
package procmem

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
)

type field = kimage.Field

// Layout is how one kernel lays out what is read here. Made once per image; it
// may be used by many goroutines. A field whose Size is 0 is one that this
// kernel lacks.
type Layout struct {
	pageShift uint

	mm                                      field // of task_struct
	pgd, exe, brkStart, brkEnd, stack, vdso field // of mm_struct
	// Where the mappings are: a maple tree since 6.1, a list before.
	mapleRoot, list field
	next            field // of vm_area_struct
	maple           [4]node

	start, end, flags, pgoff, vmFile field // of vm_area_struct
	private, specialName             field // of vm_area_struct, and name of vm_special_mapping
	vmaSize                          uint64

	dentry, mount, mapping, inode   field // of file
	size                            field // of inode
	dParent, dName                  field // of dentry
	mnt, mntParent, mntPoint, mRoot field // of mount, and mnt_root of vfsmount
	pages                           field // xa_head of address_space
	shift, slots                    field // of xa_node
	pageSize                        uint64
	index                           field // of page
}

// node is how one type of maple node is laid out.
type node struct{ pivots, slots field }

// The types of maple nodes (include/linux/maple_tree.h, enum maple_type).
const (
	mapleLeaf64   = 1
	mapleRange64  = 2
	mapleARange64 = 3
)

// NewLayout reads the image's types. A kernel without what no process can be
// read without gives an error.
func NewLayout(img *kimage.Image) (*Layout, error) {
	l := &Layout{pageShift: img.PageShift}
	t := img.Types
	for _, w := range []struct {
		dst  *field
		path []string
	}{
		{&l.mm, []string{"task_struct", "mm"}}, {&l.pgd, []string{"mm_struct", "pgd"}},
		{&l.start, []string{"vm_area_struct", "vm_start"}}, {&l.end, []string{"vm_area_struct", "vm_end"}},
		{&l.flags, []string{"vm_area_struct", "vm_flags"}}, {&l.pgoff, []string{"vm_area_struct", "vm_pgoff"}},
		{&l.vmFile, []string{"vm_area_struct", "vm_file"}},
	} {
		var err error
		if *w.dst, err = t.Field(w.path[0], w.path[1:]...); err != nil {
			return nil, fmt.Errorf("read user space: %w", err)
		}
		if w.dst.Size != 8 {
			return nil, fmt.Errorf("read user space: %v has %d bytes", w.path, w.dst.Size)
		}
	}
	l.optional(t)
	if l.mapleRoot.Size != 8 && (l.list.Size != 8 || l.next.Size != 8) {
		return nil, fmt.Errorf("read user space: neither a maple tree nor a list of mappings: %w", kimage.ErrNoType)
	}
	for _, f := range []field{l.start, l.end, l.flags, l.pgoff, l.vmFile, l.next, l.private} {
		l.vmaSize = max(l.vmaSize, f.Off+f.Size)
	}
	if l.vmaSize > maxVMASize {
		return nil, fmt.Errorf("read user space: a vm_area_struct of %d bytes", l.vmaSize)
	}
	return l, nil
}

// maxVMASize bounds struct vm_area_struct, which has some 200 bytes.
const maxVMASize = 4 << 10

// optional finds what a part of the answers can do without.
func (l *Layout) optional(t *kimage.Types) {
	get := func(typ string, path ...string) field {
		f, err := t.Field(typ, path...)
		if err != nil {
			return field{}
		}
		return f
	}
	l.exe, l.vdso = get("mm_struct", "exe_file"), get("mm_struct", "context", "vdso")
	l.brkStart, l.brkEnd, l.stack = get("mm_struct", "start_brk"), get("mm_struct", "brk"), get("mm_struct", "start_stack")
	l.mapleRoot = get("mm_struct", "mm_mt", "ma_root")
	l.private, l.specialName = get("vm_area_struct", "vm_private_data"), get("vm_special_mapping", "name")
	l.list, l.next = get("mm_struct", "mmap"), get("vm_area_struct", "vm_next")
	leaf := node{get("maple_range_64", "pivot"), get("maple_range_64", "slot")}
	l.maple[mapleLeaf64], l.maple[mapleRange64] = leaf, leaf
	l.maple[mapleARange64] = node{get("maple_arange_64", "pivot"), get("maple_arange_64", "slot")}

	l.dentry, l.mount = get("file", "f_path", "dentry"), get("file", "f_path", "mnt")
	l.mapping, l.inode = get("file", "f_mapping"), get("file", "f_inode")
	l.size = get("inode", "i_size")
	l.dParent, l.dName = get("dentry", "d_parent"), get("dentry", "d_name", "name")
	l.mnt, l.mntParent, l.mntPoint = get("mount", "mnt"), get("mount", "mnt_parent"), get("mount", "mnt_mountpoint")
	l.mRoot = get("vfsmount", "mnt_root")

	l.pages = get("address_space", "i_pages", "xa_head")
	l.shift, l.slots = get("xa_node", "shift"), get("xa_node", "slots")
	l.pageSize, _ = t.Size("page")
	for _, f := range []field{get("page", "index"), get("folio", "index"), get("page", "__folio_index")} {
		if l.index.Size == 0 {
			l.index = f
		}
	}
}
