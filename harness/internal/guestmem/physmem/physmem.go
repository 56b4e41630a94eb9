// Package physmem reads the physical memory of a guest from outside, through
// the file that backs it.
package physmem

import (
	"errors"
	"fmt"
	"io"

	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// ErrNoRAM says that the guest has no RAM at an address.
var ErrNoRAM = errors.New("no RAM there")

// Reader reads guest-physical memory.
type Reader interface {
	// ReadPhys fills p from the physical address. It reads all of p or gives
	// an error; then p's content is undefined.
	ReadPhys(addr uint64, p []byte) error
	// Ranges are where the guest has RAM, in order of addresses.
	Ranges() []Range
}

// Range is one piece of guest RAM and where it is in the backing file.
type Range struct {
	Phys   uint64 // guest-physical address of the first byte
	Offset uint64 // of the first byte in the file
	Size   uint64 // bytes
}

// Ranges returns where QEMU's default machine for the architecture has size bytes of
// RAM, in the order of the backing file; nil for an unknown architecture.
func Ranges(a arch.Arch, size uint64) []Range {
	m, _ := a.Facts().MachineType("")
	return RangesOn(a, m, size)
}

// RangesOn is Ranges for another machine type.
func RangesOn(a arch.Arch, m arch.MachineType, size uint64) []Range {
	const high = 4 << 30
	i := isa.Of(a)
	switch {
	case i == nil:
		return nil
	case m.Limit == 0 || size < m.Limit:
		return []Range{{Phys: i.RAMBase, Size: size}}
	default:
		return []Range{{Phys: i.RAMBase, Size: m.Low}, {Phys: high, Offset: m.Low, Size: size - m.Low}}
	}
}

// File is guest RAM that is a file, such as QEMU's memory-backend-file with
// share=on. It reads with pread: a file that is cut short while it is read is
// an error, where a mapping would be a SIGBUS. It may be used by many
// goroutines.
type File struct {
	f      io.ReaderAt
	ranges []Range
}

// New reads the ranges, which must be in order of their addresses, from f.
func New(f io.ReaderAt, ranges []Range) *File { return &File{f: f, ranges: ranges} }

// Ranges implements Reader.
func (m *File) Ranges() []Range { return m.ranges }

// ReadPhys implements Reader. A read over the end of a range is an error that
// is ErrNoRAM.
func (m *File) ReadPhys(addr uint64, p []byte) error {
	for _, r := range m.ranges {
		if addr < r.Phys || addr-r.Phys >= r.Size {
			continue
		}
		off := addr - r.Phys
		if uint64(len(p)) > r.Size-off {
			break
		}
		if _, err := m.f.ReadAt(p, int64(r.Offset+off)); err != nil {
			return fmt.Errorf("read %d bytes of guest memory at %#x: %w", len(p), addr, err)
		}
		return nil
	}
	return fmt.Errorf("read %d bytes of guest memory at %#x: %w", len(p), addr, ErrNoRAM)
}
