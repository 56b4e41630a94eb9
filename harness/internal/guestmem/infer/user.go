package infer

import (
	"maps"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user/procmem"
)

// userSpace finds what the memory of processes is read with: their mappings, the files
// that are mapped, page tables and the page cache. It is all or nothing, and proven by
// what it leads to: of each page of code that a process has mapped, the page tables and
// the page cache of the mapped file must name the same page of memory.
func (g *guess) userSpace() {
	kept := maps.Clone(g.out)
	if !g.processMemory() {
		g.out = kept
	}
}

func (g *guess) processMemory() bool {
	spaces, ok := g.spaces()
	if !ok || !g.mappings(spaces) {
		return false
	}
	mm, ok := first(spaces, 2*word, func(s *space, a *area, off uint64) bool { return a.at(off) == s.addr })
	if !ok {
		return false
	}
	// vm_mm, vm_page_prot, vm_flags (include/linux/mm_types.h, in this order since 2.6).
	flags := mm + 2*word
	if !areFlags(spaces, flags) {
		return false
	}
	g.set("vm_area_struct.vm_flags", flags, word)
	mapleTypes(g.out)
	cacheTypes(g.out)
	if !g.prove(spaces, flags) {
		return false
	}
	g.programs(spaces)
	g.paths(spaces)
	return true
}

// areFlags says that an offset holds the flags of every mapping: who may read, write or
// execute it has the right to (include/linux/mm.h, VM_READ and VM_MAYREAD), and in each
// process there is code, and memory to write.
func areFlags(spaces []*space, off uint64) bool {
	for _, s := range spaces {
		code, data := false, false
		for i := range s.areas {
			v := s.areas[i].at(off)
			if v>>48 != 0 || v&7&^(v>>4&7) != 0 {
				return false
			}
			code = code || v&procmem.Exec != 0
			data = data || v&procmem.Write != 0
		}
		if !code || !data {
			return false
		}
	}
	return true
}

// cacheTypes are what has been the same in all kernels since 5.10, on 64 bits and without
// the kernel's debugging of pages: the page cache (include/linux/xarray.h, mm_types.h). The
// proof fails where it is not so.
func cacheTypes(out map[string]field) {
	out["xa_node.shift"] = field{Off: 0, Size: 1}
	out["xa_node.slots"] = field{Off: 40, Size: 64 * word}
	out["page"] = field{Size: 64}
	out["page.index"] = field{Off: 32, Size: word}
	out["vm_special_mapping.name"] = field{Off: 0, Size: word}
}

// proof is what is to be proven: where a mm_struct has its page tables, a vm_area_struct
// its file, a file its pages, and these the head of their tree.
type proof struct{ pgd, file, mapping, head uint64 }

func (p proof) fields() map[string]field {
	return map[string]field{
		"mm_struct.pgd":                  {Off: p.pgd, Size: word},
		"vm_area_struct.vm_pgoff":        {Off: p.file - word, Size: word},
		"vm_area_struct.vm_file":         {Off: p.file, Size: word},
		"vm_area_struct.vm_private_data": {Off: p.file + word, Size: word},
		"file.f_mapping":                 {Off: p.mapping, Size: word},
		"address_space.i_pages.xa_head":  {Off: p.head, Size: word},
	}
}

// prove finds the only candidate that page tables and page cache agree with.
func (g *guess) prove(spaces []*space, flags uint64) bool {
	var found []proof
	for file := flags + 2*word; file+2*word <= maxArea; file += word {
		mapping, ok := g.filesAt(spaces, file)
		if !ok {
			continue
		}
		head, ok := g.headOf(spaces, file, mapping)
		if !ok {
			continue
		}
		for pgd := uint64(0); pgd < maxArea; pgd += word {
			p := proof{pgd, file, mapping, head}
			if arePages(spaces, pgd) && g.agrees(spaces, p) {
				found = append(found, p)
			}
		}
		if len(found) > 0 {
			break // what is behind may be the next structure's
		}
	}
	if len(found) != 1 {
		return false
	}
	maps.Copy(g.out, found[0].fields())
	return true
}

// headOf finds address_space.i_pages.xa_head: the only place of every file's address_space
// that has nothing, one page or, in some, a node (include/linux/xarray.h). How long the
// lock before it is depends on the configuration.
func (g *guess) headOf(spaces []*space, file, mapping uint64) (uint64, bool) {
	const maxMapping = 160
	files, _ := distinct(spaces, file)
	holds, nodes := map[uint64]bool{}, map[uint64]bool{}
	for off := uint64(2 * word); off < maxMapping; off += word {
		holds[off] = true
	}
	for _, f := range files {
		b := make([]byte, maxMapping)
		at, err := g.k.Space.Uint64(f + mapping)
		if err != nil || g.k.Space.Read(at, b) != nil {
			return 0, false
		}
		a := area{b: b}
		for off := range holds {
			v := a.at(off)
			node := v>>63 != 0 && v&7 == 2
			nodes[off] = nodes[off] || node
			if v != 0 && !node && !isPointer(v) {
				delete(holds, off)
			}
		}
	}
	maps.DeleteFunc(holds, func(off uint64, _ bool) bool { return !nodes[off] })
	for off := range holds {
		return off, len(holds) == 1
	}
	return 0, false
}

// arePages says that an offset of every mm_struct points to a page of its own.
func arePages(spaces []*space, off uint64) bool {
	seen := map[uint64]bool{}
	for _, s := range spaces {
		v := s.at(off)
		if v>>63 == 0 || v&0x1f != 0 || seen[v] {
			return false
		}
		seen[v] = true
	}
	return true
}

// minAgree is how many pages must agree: some by accident agree nowhere.
const minAgree = 4

// agrees opens every process with a candidate's layout. None may contradict it.
func (g *guess) agrees(spaces []*space, p proof) bool {
	types := kimage.Known(kimage.Inferred, p.fields()).Or(kimage.Known(kimage.Inferred, g.out))
	l, err := procmem.NewLayout(g.k.Image.WithTypes(types))
	if err != nil {
		return false
	}
	guest := l.Guest(g.k.Space, g.mem)
	pages := 0
	for _, s := range spaces {
		process, err := guest.Open(s.task)
		if err != nil || process.Problem != "" || g.ctx.Err() != nil {
			return false
		}
		n, ok := guest.Agree(process)
		if !ok {
			return false
		}
		pages += n
	}
	return pages >= minAgree
}

// maxFile is how much of a struct file is looked at, in bytes: the locks in it are long in
// a PREEMPT_RT kernel.
const maxFile = 384

// filesAt finds file.f_mapping where an offset of each mapping holds its file, or nothing:
// what it points to has an inode that points back (inode.i_mapping), in every file at the
// same offsets.
func (g *guess) filesAt(spaces []*space, off uint64) (uint64, bool) {
	files, ok := distinct(spaces, off)
	if !ok {
		return 0, false
	}
	var found []uint64
	for mapping := uint64(0); mapping < maxFile; mapping += word {
		backs := map[uint64]bool{}
		for i, file := range files {
			here := g.backs(file + mapping)
			if i > 0 {
				maps.DeleteFunc(here, func(off uint64, _ bool) bool { return !backs[off] })
			}
			if backs = here; len(backs) == 0 {
				break
			}
		}
		if len(backs) > 0 {
			found = append(found, mapping)
		}
	}
	if len(found) == 0 {
		return 0, false
	}
	return found[0], true
}

// distinct are the files at an offset of every mapping. There is memory without a file in
// every process, and a process without a file has none.
func distinct(spaces []*space, off uint64) (files []uint64, ok bool) {
	seen := map[uint64]bool{}
	for _, s := range spaces {
		with, without := false, false
		for i := range s.areas {
			a := &s.areas[i]
			if off+2*word > uint64(len(a.b)) {
				return nil, false
			}
			v := a.at(off)
			switch {
			case v == 0:
				without = true
				continue
			case !isPointer(v):
				return nil, false
			}
			with = true
			if !seen[v] {
				files = append(files, v)
			}
			seen[v] = true
		}
		if !with || !without {
			return nil, false
		}
	}
	return files, true
}

// backs are the offsets of an inode that points back to the mapping at an address.
func (g *guess) backs(at uint64) map[uint64]bool {
	const from, to = 24, 96
	out := map[uint64]bool{}
	mapping, err1 := g.k.Space.Uint64(at)
	if err1 != nil || !isPointer(mapping) {
		return out
	}
	host, err2 := g.k.Space.Uint64(mapping)
	if err2 != nil || !isPointer(host) || host == mapping {
		return out
	}
	for off := uint64(from); off < to; off += word {
		if v, err := g.k.Space.Uint64(host + off); err == nil && v == mapping {
			out[off] = true
		}
	}
	return out
}

// programs finds mm_struct.exe_file: the first place of every mm_struct with a file that
// the process has mapped. There is none where a program lies on an overlayfs, which maps
// another file (fs/overlayfs/file.c, ovl_mmap).
func (g *guess) programs(spaces []*space) {
	file := g.out["vm_area_struct.vm_file"].Off
	var own []map[uint64]bool
	for _, s := range spaces {
		files := map[uint64]bool{}
		for i := range s.areas {
			files[s.areas[i].at(file)] = s.areas[i].at(file) != 0
		}
		own = append(own, files)
	}
	for off := uint64(0); off+word <= maxMM; off += word {
		holds := true
		for i, s := range spaces {
			holds = holds && off+word <= uint64(len(s.b)) && own[i][s.at(off)]
		}
		if holds {
			g.set("mm_struct.exe_file", off, word)
			return
		}
	}
}

// paths finds the names of files: a struct file's path, whose dentry is of the file's
// inode and has a name as long as it says (include/linux/dcache.h). Without, files have no
// names.
func (g *guess) paths(spaces []*space) {
	files, _ := distinct(spaces, g.out["vm_area_struct.vm_file"].Off)
	mapping := g.out["file.f_mapping"].Off
	type place struct{ path, inode uint64 }
	var found []place
	for path := uint64(0); path < maxFile; path += word {
		for inode := uint64(32); inode <= 128; inode += word {
			holds := len(files) > 0
			for _, f := range files {
				holds = holds && g.isNamed(f+path+word, f+mapping, inode)
			}
			if holds {
				found = append(found, place{path, inode})
			}
		}
	}
	if len(found) != 1 {
		return
	}
	p := found[0]
	g.set("file.f_path.mnt", p.path, word)
	g.set("file.f_path.dentry", p.path+word, word)
	g.set("dentry.d_parent", p.inode-3*word, word)
	g.set("dentry.d_name.name", p.inode-word, word)
	// The first fields of struct mount are the same since 3.3 (fs/mount.h).
	g.set("mount.mnt_parent", 16, word)
	g.set("mount.mnt_mountpoint", 24, word)
	g.set("mount.mnt", 32, word)
	g.set("vfsmount.mnt_root", 0, word)
}

// maxName is NAME_MAX.
const maxName = 255

// isNamed says that a dentry has the inode of a mapping at an offset, and its name before
// that: d_parent, d_name.len, d_name.name, d_inode.
func (g *guess) isNamed(dentryAt, mappingAt, inode uint64) bool {
	read := func(at uint64) uint64 {
		v, err := g.k.Space.Uint64(at)
		if err != nil {
			return 0
		}
		return v
	}
	dentry, mapping := read(dentryAt), read(mappingAt)
	if !isPointer(dentry) || !isPointer(mapping) {
		return false
	}
	b := make([]byte, 4*word)
	if g.k.Space.Read(dentry+inode-3*word, b) != nil {
		return false
	}
	d := area{b: b}
	size := d.at(word) >> 32
	if d.at(3*word) != read(mapping) || !isPointer(d.at(0)) || size == 0 || size > maxName {
		return false
	}
	name := make([]byte, size+1)
	if g.k.Space.Read(d.at(2*word), name) != nil {
		return false
	}
	for i, c := range name {
		if (c == 0) != (i == int(size)) {
			return false
		}
	}
	return true
}
