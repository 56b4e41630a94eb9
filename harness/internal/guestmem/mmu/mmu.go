// Package mmu reads a guest's virtual memory through its page tables.
package mmu

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/isa"
)

// Linear is a piece of the address space that is known to be contiguous, such
// as the kernel's image. It counts where the page tables map nothing.
type Linear struct{ Virt, Phys, Size uint64 }

// Space reads virtual memory. It remembers translations: make a new one when
// the guest has run. It is not safe for concurrent use.
type Space struct {
	mem    physmem.Reader
	linear []Linear
	tables isa.Tables
	pages  map[uint64]uint64 // page frame number to physical address
}

// pageShift is the unit of Space's memory of translations, the smallest page.
const pageShift = 12

// maxPages bounds it: 64 Ki pages of 4 KiB are 256 MiB.
const maxPages = 1 << 16

// NewSpace makes an address space of the linear pieces, which are asked first,
// and the tables, which may be nil.
func NewSpace(m physmem.Reader, t isa.Tables, linear ...Linear) *Space {
	return &Space{mem: m, linear: linear, tables: t, pages: map[uint64]uint64{}}
}

// Tables returns the page tables, nil where there are none.
func (s *Space) Tables() isa.Tables { return s.tables }

// Phys returns the physical address of a virtual one.
func (s *Space) Phys(va uint64) (uint64, error) {
	if s.tables == nil {
		return s.straight(va)
	}
	const mask = 1<<pageShift - 1
	if pa, ok := s.pages[va>>pageShift]; ok {
		return pa | va&mask, nil
	}
	pa, _, err := s.tables.Walk(s.mem, va)
	if errors.Is(err, isa.ErrNotMapped) {
		return s.straight(va)
	}
	if err != nil {
		return 0, err
	}
	if len(s.pages) >= maxPages {
		clear(s.pages)
	}
	s.pages[va>>pageShift] = pa &^ mask
	return pa, nil
}

// straight translates without page tables. They come first: arm64 maps its image
// from _stext on only, and gives what lies before to vmalloc
// (arch/arm64/mm/mmu.c, map_kernel).
func (s *Space) straight(va uint64) (uint64, error) {
	for _, l := range s.linear {
		if va >= l.Virt && va-l.Virt < l.Size {
			return l.Phys + (va - l.Virt), nil
		}
	}
	return 0, isa.ErrNotMapped
}

// Read fills p from a virtual address. It reads all of p or gives an error.
func (s *Space) Read(va uint64, p []byte) error {
	for len(p) > 0 {
		pa, err := s.Phys(va)
		if err != nil {
			return fmt.Errorf("read guest memory at virtual address %#x: %w", va, err)
		}
		n := min(len(p), 1<<pageShift-int(va&(1<<pageShift-1)))
		if err := s.mem.ReadPhys(pa, p[:n]); err != nil {
			return fmt.Errorf("virtual address %#x: %w", va, err)
		}
		p, va = p[n:], va+uint64(n)
		if va == 0 && len(p) > 0 { // over the end of the address space
			return fmt.Errorf("read guest memory at virtual address 0x0: %w", isa.ErrNotMapped)
		}
	}
	return nil
}

// Uint64 reads a 64-bit word.
func (s *Space) Uint64(va uint64) (uint64, error) {
	var b [8]byte
	if err := s.Read(va, b[:]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// Uint reads a word of 1, 2, 4 or 8 bytes.
func (s *Space) Uint(va uint64, size int) (uint64, error) {
	var b [8]byte
	if size < 1 || size > 8 {
		return 0, fmt.Errorf("read a word of %d bytes: only 1 to 8 can be read", size)
	}
	if err := s.Read(va, b[:size]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}
