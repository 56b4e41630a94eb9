// Package physmem reads the physical memory of a guest from outside, through
// the file that backs it.
package physmem

import (
	"errors"
	"fmt"
	"io"

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

// QEMU's memory maps.
const (
	gib = 1 << 30
	// q35Low is where q35's hole below 4 GiB may begin, and q35Split where
	// RAM is cut once there is more than that (hw/i386/pc_q35.c, pc_q35_init).
	q35Low   = 0xb0000000
	q35Split = 2 * gib
	high     = 4 * gib
	// virtRAM is where virt's RAM begins (hw/arm/virt.c, base_memmap).
	virtRAM = gib
)

// Ranges returns where QEMU puts size bytes of RAM: on machine q35 for x86_64,
// on machine virt for aarch64, in the order of the backing file.
func Ranges(a arch.Arch, size uint64) []Range {
	switch {
	case a == arch.AArch64:
		return []Range{{Phys: virtRAM, Size: size}}
	case size < q35Low:
		return []Range{{Size: size}}
	default:
		return []Range{{Size: q35Split}, {Phys: high, Offset: q35Split, Size: size - q35Split}}
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
