// Package locate finds the kernel in a guest's memory: where in RAM it was
// loaded, how far KASLR moved it, and its page tables. It works from the first
// instruction of start_kernel on, with nothing but the image.
package locate

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/mmu"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/isa"
)

// Errors of Find.
var (
	// ErrNotLoaded says that the kernel's banner is nowhere in RAM: it is not
	// yet unpacked, or the guest runs another kernel.
	ErrNotLoaded = errors.New("the kernel is not in the guest's memory: it is not unpacked yet, or the guest runs another one")
	// ErrEarly says that the kernel is in RAM and has not relocated itself,
	// which it does just before start_kernel.
	ErrEarly = errors.New("the guest has not reached start_kernel yet")
)

// EarlyError is ErrEarly of a kernel whose place in RAM is known. arm64 runs there with
// its MMU off (arch/arm64/kernel/head.S), so that its addresses are physical ones.
type EarlyError struct {
	// Moved is how far they are from where the kernel is linked, modulo 2^64.
	Moved uint64
}

// Error is that of ErrEarly.
func (*EarlyError) Error() string { return ErrEarly.Error() }

// Unwrap makes it an ErrEarly.
func (*EarlyError) Unwrap() error { return ErrEarly }

// Kernel is a kernel that was found. It is not safe for concurrent use.
type Kernel struct {
	Image *kimage.Image
	// Space is its address space. Tables says whether the page tables were
	// found: before they are set up, only the image itself can be read.
	Space  *mmu.Space
	Tables bool
	// Phys is the physical address of the image's first byte, Offset how far
	// the kernel runs from its link-time address.
	Phys, Offset uint64
}

// Finder is what the image says about finding its kernel. Made once per image;
// it may be used by many goroutines.
type Finder struct {
	img    *kimage.Image
	banner []byte
	at     uint64 // of the banner, from the image's first byte
	task   uint64 // of init_task
	comm   uint64 // of init_task.comm
	anchor uint64 // of init_task.stack, or real_parent: a pointer into the image that never changes
	link   uint64 // what it holds in the image
	root   uint64 // of the kernel's top page table, 0 where not known
	pgd    uint64 // of init_mm.pgd, 0 where not known
	mapped uint64 // what the page tables must have where it was found

	voffset uint64 // of kimage_voffset, for an image without types; else 0
}

// New reads the image.
func New(img *kimage.Image) (*Finder, error) {
	addr, text, ok := img.Banner()
	if !ok {
		return nil, errors.New("find the kernel: the image has no banner")
	}
	if img.Types == nil {
		return untyped(img, text, addr-img.Start)
	}
	task, ok := img.Lookup("init_task")
	if !ok {
		return nil, errors.New("find the kernel: the image does not name init_task")
	}
	comm, err := img.Types.Field("task_struct", "comm")
	if err != nil {
		return nil, fmt.Errorf("find the kernel: %w", err)
	}
	anchor, err := img.Types.Field("task_struct", "stack")
	if err != nil { // where types are inferred, that comes later
		if anchor, err = img.Types.Field("task_struct", "real_parent"); err != nil {
			return nil, fmt.Errorf("find the kernel: %w", err)
		}
	}
	link, ok := img.Pointer(task + anchor.Off)
	if !ok {
		return nil, errors.New("find the kernel: the image does not hold init_task's stack")
	}
	f := &Finder{img: img, banner: text, at: addr - img.Start, task: task - img.Start, link: link}
	f.comm, f.anchor, f.mapped = f.task+comm.Off, f.task+anchor.Off, f.task
	f.findRoot(task)
	return f, nil
}

// untyped makes the Finder of an image without types, whose kernel says itself where
// it was loaded.
func untyped(img *kimage.Image, banner []byte, at uint64) (*Finder, error) {
	v, ok := voffset(img)
	if !ok {
		return nil, fmt.Errorf("find the kernel: %w", kimage.ErrNoBTF)
	}
	f := &Finder{img: img, banner: banner, at: at, mapped: at, voffset: v - img.Start}
	if root, ok := img.Symbols.Lookup("swapper_pg_dir"); ok {
		f.root = root - img.Start
	}
	return f, nil
}

// voffset is the link-time address of the variable that says how far the kernel's
// physical addresses are from its virtual ones; false where there is none.
func voffset(img *kimage.Image) (uint64, bool) {
	if img.ISA.Voffset == "" {
		return 0, false
	}
	return img.Lookup(img.ISA.Voffset)
}

// Find locates the kernel. The context bounds the search.
func (p *Finder) Find(ctx context.Context, m physmem.Reader) (*Kernel, error) {
	phys, err := p.scan(ctx, m)
	if err != nil {
		return nil, fmt.Errorf("find the kernel in memory: %w", err)
	}
	k := &Kernel{Image: p.img, Phys: phys}
	if k.Offset, err = p.offset(m, phys); errors.Is(err, ErrEarly) {
		err = &EarlyError{Moved: phys - p.img.Start}
	}
	if err != nil {
		return nil, fmt.Errorf("find the kernel in memory: %w", err)
	}
	linear := mmu.Linear{Virt: p.img.Start + k.Offset, Phys: phys, Size: p.img.End - p.img.Start}
	tables := p.tables(m, k)
	k.Tables = tables != nil
	k.Space = mmu.NewSpace(m, tables, linear)
	return k, nil
}

// maxProbes bounds the search: 64 KiB steps over 64 GiB.
const maxProbes = 1 << 20

func (p *Finder) scan(ctx context.Context, m physmem.Reader) (uint64, error) {
	got := make([]byte, len(p.banner))
	left := maxProbes
	for _, step := range p.img.ISA.Align {
		for _, r := range m.Ranges() {
			for base := (r.Phys + step - 1) &^ (step - 1); base-r.Phys < r.Size && left > 0; base += step {
				if left--; left&0xff == 0 && ctx.Err() != nil {
					return 0, ctx.Err()
				}
				if m.ReadPhys(base+p.at, got) == nil && bytes.Equal(got, p.banner) && (p.voffset != 0 || p.swapper(m, base)) {
					return base, nil
				}
			}
		}
	}
	return 0, ErrNotLoaded
}

// swapper says whether init_task is at its place below base: it is named
// "swapper", later "swapper/0" (init/init_task.c, init_idle).
func (p *Finder) swapper(m physmem.Reader, base uint64) bool {
	var comm [7]byte
	return m.ReadPhys(base+p.comm, comm[:]) == nil && string(comm[:]) == "swapper"
}

// offset finds how far the kernel was moved: a pointer of init_task's points into the
// image, never changes, and is relocated with the rest.
func (p *Finder) offset(m physmem.Reader, phys uint64) (uint64, error) {
	img := p.img
	if p.voffset != 0 {
		voffset, err := word(m, phys+p.voffset)
		if err != nil || voffset == 0 {
			return 0, ErrEarly
		}
		return moved(img, phys+voffset-img.Start)
	}
	now, err := word(m, phys+p.anchor)
	if err != nil {
		return 0, err
	}
	if now == 0 { // .rela.dyn is not applied yet
		return 0, ErrEarly
	}
	if v, ok := voffset(img); ok {
		if voffset, err := word(m, phys+v-img.Start); err != nil || voffset == 0 {
			return 0, ErrEarly
		}
	}
	return moved(img, now-p.link)
}

// moved checks how far a kernel was moved.
func moved(img *kimage.Image, off uint64) (uint64, error) {
	if start := img.Start + off; start&0xffff != 0 || start>>47 != 1<<17-1 || start+(img.End-img.Start) < start {
		return 0, fmt.Errorf("implausible kernel address %#x", start)
	}
	return off, nil
}

// tables finds the kernel's page tables: those of the right shape by which
// init_task is where it was found. nil: they are not set up yet.
func (p *Finder) tables(m physmem.Reader, k *Kernel) isa.Tables {
	var roots []uint64
	if p.pgd != 0 {
		if v, err := word(m, k.Phys+p.pgd); err == nil {
			roots = append(roots, v-k.Offset-p.img.Start+k.Phys)
		}
	}
	if p.root != 0 {
		roots = append(roots, k.Phys+p.root)
	}
	if len(roots) == 0 {
		return p.search(m, k)
	}
	for _, root := range roots {
		if t := p.maps(m, k, root); t != nil {
			return t
		}
	}
	return nil
}

// maps returns the page tables with this root that have the kernel where it was
// found; nil for none.
func (p *Finder) maps(m physmem.Reader, k *Kernel, root uint64) isa.Tables {
	for _, t := range p.img.ISA.Tables(root, p.img.PageShift) {
		if pa, _, err := t.Walk(m, p.img.Start+p.mapped+k.Offset); err == nil && pa == k.Phys+p.mapped {
			return t
		}
	}
	return nil
}

// search finds the page tables among the pages of the image, where arm64 has its
// top table. Of several that have the kernel where it was found, the fullest is it:
// the first of the boot has the kernel and nothing else (arch/arm64/mm/mmu.c).
func (p *Finder) search(m physmem.Reader, k *Kernel) (best isa.Tables) {
	most := 0
	page := make([]byte, 1<<p.img.PageShift)
	for at := k.Phys; at-k.Phys < p.img.End-p.img.Start; at += uint64(len(page)) {
		if m.ReadPhys(at, page) != nil {
			continue
		}
		n := 0
		for i := 0; i < len(page); i += 8 {
			if p.img.ISA.TableEntry(binary.LittleEndian.Uint64(page[i:])) {
				n++
			}
		}
		if n <= most {
			continue
		}
		if t := p.maps(m, k, at); t != nil {
			best, most = t, n
		}
	}
	return best
}

// findRoot finds the kernel's top page table: init_mm.pgd, which arm64 moves
// from init_pg_dir to swapper_pg_dir in paging_init, and by name. init_mm is
// init_task's first active_mm.
func (p *Finder) findRoot(task uint64) {
	for _, name := range []string{"init_top_pgt", "swapper_pg_dir"} {
		if a, ok := p.img.Symbols.Lookup(name); ok {
			p.root = a - p.img.Start
		}
	}
	active, err1 := p.img.Types.Field("task_struct", "active_mm")
	pgd, err2 := p.img.Types.Field("mm_struct", "pgd")
	if err1 != nil || err2 != nil {
		return
	}
	if mm, ok := p.img.Pointer(task + active.Off); ok {
		p.pgd = mm + pgd.Off - p.img.Start
	}
}

func word(m physmem.Reader, addr uint64) (uint64, error) {
	var b [8]byte
	if err := m.ReadPhys(addr, b[:]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}
