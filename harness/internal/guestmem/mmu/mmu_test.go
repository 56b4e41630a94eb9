package mmu_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem/mmu"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/isa"
)

// ram is sparse physical memory of 64-bit words; a word that was never written
// is 0 below the limit and no RAM above.
type ram map[uint64]uint64

const limit = 1 << 40

func (r ram) Ranges() []physmem.Range { return []physmem.Range{{Size: limit}} }

func (r ram) ReadPhys(addr uint64, p []byte) error {
	if addr >= limit || uint64(len(p)) > limit-addr {
		return physmem.ErrNoRAM
	}
	for i := range p {
		a := addr + uint64(i)
		p[i] = byte(r[a&^7] >> (8 * (a & 7)))
	}
	return nil
}

// set writes entry i of the table.
func (r ram) set(table uint64, i int, v uint64) { r[table+8*uint64(i)] = v }

type want struct {
	va, pa, page uint64
	err          error
}

func check(t *testing.T, r ram, tables isa.Tables, wants []want) {
	t.Helper()
	for _, w := range wants {
		pa, page, err := tables.Walk(r, w.va)
		if !errors.Is(err, w.err) || err == nil && (pa != w.pa || page != w.page) {
			t.Errorf("Walk(%#x) = %#x, page %#x, %v; want %#x, %#x, %v", w.va, pa, page, err, w.pa, w.page, w.err)
		}
	}
}

// The layout of Linux: the direct map at ffff888000000000 by 1 GiB pages, the
// kernel at ffffffff80000000 by 2 MiB pages, vmalloc by 4 KiB pages.
func x86RAM() ram {
	r := ram{}
	const p4, p3d, p3k, p2k, p3v, p2v, p1v = 0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000
	r.set(p4, 273, p3d|0x63) // ffff888000000000
	r.set(p3d, 0, 0x0|0x8000000000000000|0xe3)
	r.set(p3d, 1, 0x40000000|0xe3)
	r.set(p4, 511, p3k|0x67)
	r.set(p3k, 510, p2k|0x63)
	r.set(p2k, 8, 0x3000000|0x1e3)
	r.set(p4, 402, p3v|0x63) // ffffc90000000000
	r.set(p3v, 0, p2v|0x63)
	r.set(p2v, 0, p1v|0x63)
	r.set(p1v, 5, 0x8000000012345063)
	r.set(p1v, 6, 0x12346062)         // not present
	r.set(p1v, 7, 0x000fffffff000063) // far outside of RAM
	r.set(p4, 1, 0x1000|0x7)          // a table that is its own entry
	r.set(p4, 2, 0x000fffffff000007)  // a table outside of RAM
	return r
}

func TestX86(t *testing.T) {
	r := x86RAM()
	check(t, r, isa.X86Tables{Root: 0x1000 | 0xfff}, []want{
		{va: 0xffff888000001234, pa: 0x1234, page: 1 << 30},
		{va: 0xffff88807fffffff, pa: 0x7fffffff, page: 1 << 30},
		{va: 0xffff888080000000, err: isa.ErrNotMapped},
		{va: 0xffffffff81000042, pa: 0x3000042, page: 2 << 20},
		{va: 0xffffc90000005678, pa: 0x12345678, page: 4096},
		{va: 0xffffc90000006000, err: isa.ErrNotMapped},
		{va: 0xffffc90000007000, pa: 0x000fffffff000000, page: 4096},
		{va: 0x0000800000000000, err: isa.ErrNotMapped}, // not canonical
		{va: 0x0000010000000000, err: physmem.ErrNoRAM}, // its table is nowhere
	})
	// A cycle ends with the last level.
	if _, _, err := (isa.X86Tables{Root: 0x1000}).Walk(r, 0x0000008040201000); err != nil {
		t.Errorf("a table that is its own entry: %v", err)
	}
	if _, _, err := (isa.X86Tables{Root: 0x1000, Users: true}).Walk(r, 0xffff888000001234); !errors.Is(err, isa.ErrNotMapped) {
		t.Errorf("a kernel's page was given to user space: %v", err)
	}
}

func TestX86FiveLevels(t *testing.T) {
	r := x86RAM()
	const p5 = 0x100000
	r.set(p5, 511, 0x1000|0x67)
	check(t, r, isa.X86Tables{Root: p5, Five: true}, []want{
		{va: 0xffffffff81000042, pa: 0x3000042, page: 2 << 20},
		{va: 0xff11000000000000, err: isa.ErrNotMapped},
	})
}

func TestARM64(t *testing.T) {
	const table, page, block = 3, 3, 1
	r := ram{}
	// 4 KiB granule, 48 bits: ffff800008000000 by 2 MiB blocks, ffff800008200000
	// by pages.
	r.set(0x1000, 256, 0x2000|table)
	r.set(0x2000, 0, 0x3000|table)
	r.set(0x3000, 64, 0x0060000040200000|0x700|block)
	r.set(0x3000, 65, 0x4000|table)
	r.set(0x4000, 1, 0x0060000041234000|0x700|page)
	r.set(0x4000, 2, 0x0060000041235000|0x700|1) // reserved at this level
	r.set(0x1000, 1, 0x41000000|block)           // no blocks of 512 GiB
	k48 := isa.ARM64Tables{Root: 0x1000, Page: 12, VA: 48}
	check(t, r, k48, []want{
		{va: 0xffff800008000123, pa: 0x40200123, page: 2 << 20},
		{va: 0xffff800008201fff, pa: 0x41234fff, page: 4096},
		{va: 0xffff800008202000, err: isa.ErrNotMapped},
		{va: 0xffff008000000000, err: isa.ErrNotMapped},
		{va: 0x0000800008000000, err: isa.ErrNotMapped}, // the other half
		{va: 0xffff7fff00000000, err: isa.ErrNotMapped},
	})
	// The same tables, seen as 39 bits from the second level.
	check(t, r, isa.ARM64Tables{Root: 0x2000, Page: 12, VA: 39}, []want{
		{va: 0xffffff8008000123, pa: 0x40200123, page: 2 << 20},
		{va: 0xffff800008000123, err: isa.ErrNotMapped},
	})
	// And of user space, with a tag in the top byte.
	check(t, r, isa.ARM64Tables{Root: 0x1000, Page: 12, VA: 48, Lower: true}, []want{
		{va: 0x5a00800008000123, pa: 0x40200123, page: 2 << 20},
		{va: 0xffff800008000123, err: isa.ErrNotMapped},
	})
}

func TestARM64Wide(t *testing.T) {
	r := ram{}
	// 64 KiB granule, 52 bits: three levels, the top one of 1024 entries.
	r.set(0x10000, 0x3e0, 0x20000|3)
	r.set(0x20000, 0, 0x30000|3)
	r.set(0x30000, 1, 0x40010000|0x5000|3) // bits 15:12 are 51:48
	check(t, r, isa.ARM64Tables{Root: 0x10000, Page: 16, VA: 52, Wide: true}, []want{
		{va: 0xffff800000010042, pa: 5<<48 | 0x40010042, page: 64 << 10},
	})
	// LPA2, 4 KiB granule, 52 bits: five levels, the top one of 16 entries.
	r = ram{}
	r.set(0x1000, 15, 0x2000|3)
	r.set(0x2000, 256, 0x3000|3)
	r.set(0x3000, 0, 0x4000|3)
	r.set(0x4000, 0, 1<<48|0x200|0x40200000|1)
	check(t, r, isa.ARM64Tables{Root: 0x1000, Page: 12, VA: 52, Wide: true}, []want{
		{va: 0xffff800000000042, pa: 1<<48 | 2<<50 | 0x40200042, page: 2 << 20},
	})
	// 16 KiB granule, 47 bits: three levels.
	r = ram{}
	r.set(0x4000, 0x400, 0x8000|3)
	r.set(0x8000, 0, 0xc000|3)
	r.set(0xc000, 3, 0x40004000|3)
	check(t, r, isa.ARM64Tables{Root: 0x4000, Page: 14, VA: 47}, []want{
		{va: 0xffffc0000000c001, pa: 0x40004001, page: 16 << 10},
	})
	for _, bad := range []isa.ARM64Tables{{}, {Page: 12}, {Page: 12, VA: 64}, {Page: 20, VA: 48}, {Page: 16, VA: 16}} {
		if _, _, err := bad.Walk(r, ^uint64(0)); !errors.Is(err, isa.ErrNotMapped) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestSpace(t *testing.T) {
	r := x86RAM()
	r[0x12345ff8] = 0x1122334455667788
	r[0x12340000] = 0xaabb
	r.set(0x7000, 6, 0x12340063) // the page behind, elsewhere in RAM
	s := mmu.NewSpace(r, isa.X86Tables{Root: 0x1000},
		mmu.Linear{Virt: 0xffff900000000000, Phys: 0x12340000, Size: 0x1000}, mmu.Linear{Virt: 0xffffffff81000000, Phys: 0x12340000, Size: 0x1000})
	if v, err := s.Uint64(0xffffc90000005ffc); err != nil || v != 0x0000aabb11223344 {
		t.Errorf("a word over two pages: %#x, %v", v, err)
	}
	if v, err := s.Uint(0xffff900000000000, 2); err != nil || v != 0xaabb {
		t.Errorf("the linear piece: %#x, %v", v, err)
	}
	if v, err := s.Uint(0xffffffff81000000, 2); err != nil || v != 0 {
		t.Errorf("what the tables map, in a linear piece: %#x, %v; want that of the tables", v, err)
	}
	if v, err := s.Uint64(0xffffc90000005ffc); err != nil || v != 0x0000aabb11223344 {
		t.Errorf("again: %#x, %v", v, err)
	}
	if _, err := s.Uint64(0xffffc90000007000); !errors.Is(err, physmem.ErrNoRAM) {
		t.Errorf("a page outside of RAM: %v", err)
	}
	if _, err := s.Uint64(^uint64(0) - 3); err == nil {
		t.Error("a read over the end of the address space succeeded")
	}
	if _, err := s.Uint(0, 9); err == nil {
		t.Error("a word of 9 bytes was read")
	}
	if _, err := mmu.NewSpace(r, nil).Uint64(0x1000); !errors.Is(err, isa.ErrNotMapped) {
		t.Errorf("without tables: %v", err)
	}
}

// Whatever the tables hold, a walk ends.
func FuzzWalk(f *testing.F) {
	le := binary.LittleEndian
	seed := make([]byte, 0, 4096)
	for i := range 512 {
		seed = le.AppendUint64(seed, uint64(i)<<12|3)
	}
	f.Add(seed, uint64(0xffff800008000123), uint64(0))
	f.Fuzz(func(t *testing.T, mem []byte, va, root uint64) {
		m := bytesRAM(mem)
		for _, tables := range []isa.Tables{
			isa.X86Tables{Root: root}, isa.X86Tables{Root: root, Five: true},
			isa.ARM64Tables{Root: root, Page: 12, VA: 48}, isa.ARM64Tables{Root: root, Page: 12, VA: 52, Wide: true},
			isa.ARM64Tables{Root: root, Page: 14, VA: 47}, isa.ARM64Tables{Root: root, Page: 16, VA: 52, Wide: true},
		} {
			if _, page, err := tables.Walk(m, va); err == nil && (page < 4096 || page&(page-1) != 0) {
				t.Errorf("%#v: page of %#x bytes", tables, page)
			}
			s := mmu.NewSpace(m, tables)
			s.Read(va, make([]byte, 8192))
		}
	})
}

type bytesRAM []byte

func (b bytesRAM) Ranges() []physmem.Range { return []physmem.Range{{Size: uint64(len(b))}} }

func (b bytesRAM) ReadPhys(addr uint64, p []byte) error {
	if addr >= uint64(len(b)) || uint64(len(p)) > uint64(len(b))-addr {
		return physmem.ErrNoRAM
	}
	copy(p, b[addr:])
	return nil
}
