// Package kdump reads the memory of a guest, or of a machine, from a kdump-compressed
// dump: of makedumpfile, or of QEMU's dump-guest-memory with a kdump format, flattened
// or not (makedumpfile, diskdump_mod.h and makedumpfile.h; QEMU, include/sysemu/dump.h).
// Each page is compressed by itself.
//
// The file may be anything: every read and allocation is bounded.
package kdump

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"sync"

	"github.com/unwedge/unwedge/harness/internal/guestmem/elfdump"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// ErrNotDump says that a file begins like such a dump and is none.
var ErrNotDump = errors.New("a damaged kdump-compressed dump")

const (
	signature = "KDUMP   "
	flattened = "makedumpfile\x00"
)

// Is says whether a file that begins with head is one.
func Is(head []byte) bool {
	return bytes.HasPrefix(head, []byte(signature)) || bytes.HasPrefix(head, []byte(flattened))
}

// IsFile says whether a regular file is one.
func IsFile(path string) bool {
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, len(flattened))
	_, err = io.ReadFull(f, head)
	return err == nil && Is(head)
}

// Dump is an opened dump. It may be used by many goroutines.
type Dump struct {
	// Arch is the guest's.
	Arch arch.Arch
	// VCPUs are the registers of its vCPUs; nil where the dump has none.
	VCPUs []model.VCPU
	// VMCoreInfo says that the dump has the VMCOREINFO note.
	VMCoreInfo bool

	r      io.ReaderAt
	close  io.Closer
	block  uint64
	descs  uint64   // where the pages' descriptors begin
	dumped []byte   // a bit for each page that is there
	before []uint32 // how many are there before each stride of them
	ranges []physmem.Range

	mu    sync.Mutex
	pages map[uint64][]byte // unpacked ones
}

// The bounds of what is read: a bitmap for 4 TiB of memory in pages of 4 KiB, and the
// registers of many vCPUs. Pages are kept unpacked up to maxPages.
const (
	maxBitmap = 128 << 20
	maxNotes  = 16 << 20
	maxPages  = 1024
	maxRanges = 1 << 16
	minBlock  = 4 << 10
	maxBlock  = 64 << 10
	stride    = 512 // bits
)

// Open opens a dump. Close closes it.
func Open(path string) (*Dump, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open dump: %w", err)
	}
	st, err := f.Stat()
	var d *Dump
	if err == nil {
		d, err = New(f, st.Size())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open dump %s: %w", path, err)
	}
	d.close = f
	return d, nil
}

// Close closes the dump's file.
func (d *Dump) Close() error { return d.close.Close() }

// New reads the headers of a dump of size bytes.
func New(r io.ReaderAt, size int64) (*Dump, error) {
	head := make([]byte, len(flattened))
	if _, err := r.ReadAt(head, 0); err != nil {
		return nil, ErrNotDump
	}
	if string(head) == flattened {
		var err error
		if r, err = unflatten(r, size); err != nil {
			return nil, err
		}
	}
	d := &Dump{r: r, pages: map[uint64][]byte{}}
	if err := d.headers(); err != nil {
		return nil, err
	}
	return d, nil
}

// headers reads struct disk_dump_header and struct kdump_sub_header.
func (d *Dump) headers() error {
	const (
		machine, machineSize                       = 272, 65 // of struct new_utsname
		blockSize, subSize, bitmapBlocks, mapnr    = 428, 432, 436, 440
		noteAt, noteSize, infoSize, mapnr64, subSz = 48, 56, 40, 96, 104
	)
	le := binary.LittleEndian
	h := make([]byte, 464)
	if _, err := d.r.ReadAt(h, 0); err != nil || string(h[:len(signature)]) != signature {
		return ErrNotDump
	}
	name, _, _ := bytes.Cut(h[machine:machine+machineSize], []byte{0})
	a, err := arch.Parse(string(name))
	if err != nil {
		return fmt.Errorf("dump of %.20q: unwedge reads %s", name, arch.List())
	}
	d.Arch, d.block = a, uint64(le.Uint32(h[blockSize:]))
	if d.block < minBlock || d.block > maxBlock || bits.OnesCount64(d.block) != 1 {
		return fmt.Errorf("%w: blocks of %d bytes", ErrNotDump, d.block)
	}
	sub := make([]byte, subSz)
	if _, err := d.r.ReadAt(sub, int64(d.block)); err != nil {
		return ErrNotDump
	}
	if err := d.notes(le.Uint64(sub[noteAt:]), le.Uint64(sub[noteSize:])); err != nil {
		return err
	}
	d.VMCoreInfo = d.VMCoreInfo || le.Uint64(sub[infoSize:]) > 0
	pages := uint64(le.Uint32(h[mapnr:]))
	if le.Uint32(h[len(signature):]) >= 6 {
		pages = le.Uint64(sub[mapnr64:])
	}
	at := (1 + uint64(le.Uint32(h[subSize:]))) * d.block
	size := uint64(le.Uint32(h[bitmapBlocks:])) * d.block
	d.descs = at + size
	return d.bitmaps(at, size/2, pages)
}

// notes reads the vCPUs' registers.
func (d *Dump) notes(at, size uint64) error {
	if size == 0 {
		return nil
	}
	b := make([]byte, min(size, maxNotes))
	if _, err := d.r.ReadAt(b, int64(at)); err != nil {
		return fmt.Errorf("%w: read its notes: %w", ErrNotDump, err)
	}
	d.VCPUs, d.VMCoreInfo = elfdump.Notes(isa.Of(d.Arch), b)
	return nil
}

// bitmaps reads which pages the machine has, and which are in the dump: the first and
// the second half.
func (d *Dump) bitmaps(at, size, pages uint64) error {
	if size == 0 || size > maxBitmap {
		return fmt.Errorf("%w: a bitmap of %d bytes", ErrNotDump, size)
	}
	ram := make([]byte, size)
	d.dumped = make([]byte, size)
	for i, b := range [][]byte{ram, d.dumped} {
		if _, err := d.r.ReadAt(b, int64(at+uint64(i)*size)); err != nil {
			return fmt.Errorf("%w: read its bitmaps: %w", ErrNotDump, err)
		}
	}
	count := uint32(0)
	for i, b := range d.dumped {
		if i%(stride/8) == 0 {
			d.before = append(d.before, count)
		}
		count += uint32(bits.OnesCount8(b))
	}
	d.findRanges(ram, min(pages, 8*size))
	if len(d.ranges) == 0 {
		return fmt.Errorf("%w: it holds no memory", ErrNotDump)
	}
	return nil
}

// findRanges makes the ranges of the pages that the machine has.
func (d *Dump) findRanges(ram []byte, pages uint64) {
	for p := uint64(0); p < pages; p++ {
		if ram[p/8] == 0 && p%8 == 0 {
			p += 7
			continue
		}
		if !bit(ram, p) {
			continue
		}
		if n := len(d.ranges) - 1; n >= 0 && d.ranges[n].Phys+d.ranges[n].Size == p*d.block {
			d.ranges[n].Size += d.block
		} else if n+1 < maxRanges {
			d.ranges = append(d.ranges, physmem.Range{Phys: p * d.block, Size: d.block})
		}
	}
}

func bit(b []byte, i uint64) bool { return i/8 < uint64(len(b)) && b[i/8]>>(i%8)&1 == 1 }

// Ranges implements physmem.Reader. Not all of their pages have to be in the dump.
func (d *Dump) Ranges() []physmem.Range { return d.ranges }

// ReadPhys implements physmem.Reader. A page that was left out of the dump gives an
// error that is physmem.ErrNoRAM.
func (d *Dump) ReadPhys(addr uint64, p []byte) error {
	for at, rest := addr, p; len(rest) > 0; {
		b, err := d.page(at / d.block)
		if err != nil {
			return fmt.Errorf("read %d bytes of the dumped memory at %#x: %w", len(p), addr, err)
		}
		n := copy(rest, b[at%d.block:])
		if rest = rest[n:]; at+uint64(n) < at {
			return physmem.ErrNoRAM
		}
		at += uint64(n)
	}
	return nil
}

// page returns a page, unpacked.
func (d *Dump) page(n uint64) ([]byte, error) {
	if !bit(d.dumped, n) {
		return nil, physmem.ErrNoRAM
	}
	d.mu.Lock()
	b, ok := d.pages[n]
	d.mu.Unlock()
	if ok {
		return b, nil
	}
	b, err := d.read(d.rank(n))
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pages) >= maxPages {
		clear(d.pages)
	}
	d.pages[n] = b
	return b, nil
}

// rank is how many pages are in the dump before a page.
func (d *Dump) rank(n uint64) uint64 {
	from := n / stride
	count := uint64(d.before[from])
	for i := from * stride / 8; i < n/8; i++ {
		count += uint64(bits.OnesCount8(d.dumped[i]))
	}
	return count + uint64(bits.OnesCount8(d.dumped[n/8]&(1<<(n%8)-1)))
}

// read reads the page with a struct page_desc.
func (d *Dump) read(index uint64) ([]byte, error) {
	const descSize = 24
	var desc [descSize]byte
	if _, err := d.r.ReadAt(desc[:], int64(d.descs+index*descSize)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotDump, err)
	}
	le := binary.LittleEndian
	at, size, flags := le.Uint64(desc[:]), uint64(le.Uint32(desc[8:])), le.Uint32(desc[12:])
	if size > 2*d.block {
		return nil, fmt.Errorf("%w: a page of %d bytes", ErrNotDump, size)
	}
	raw := make([]byte, size)
	if _, err := d.r.ReadAt(raw, int64(at)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotDump, err)
	}
	b, err := unpack(flags, raw, int(d.block))
	if err != nil {
		return nil, fmt.Errorf("%w: unpack a page: %w", ErrNotDump, err)
	}
	if uint64(len(b)) != d.block {
		return nil, fmt.Errorf("%w: a page of %d bytes", ErrNotDump, len(b))
	}
	return b, nil
}
