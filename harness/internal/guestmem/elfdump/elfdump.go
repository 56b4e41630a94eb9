// Package elfdump reads the memory of a guest from a core file, as QEMU's
// dump-guest-memory writes it: an ELF file with a PT_LOAD segment for each piece
// of RAM, and the registers of each vCPU in its notes (QEMU, dump/dump.c). A
// dump of kdump's or libvirt's (virsh dump --memory-only) has the same form.
//
// The file may be anything: every read and allocation is bounded.
package elfdump

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Errors of Open and New.
var (
	// ErrNotDump says that a file is no memory dump of a guest.
	ErrNotDump = errors.New("not a memory dump: want an ELF core file from QEMU's dump-guest-memory")
	// ErrCompressed says that a dump is kdump-compressed, which is not read.
	ErrCompressed = errors.New("kdump-compressed dumps are not supported: make the dump without -z, -l, -s and -w (QMP: with \"format\": \"elf\", or none)")
	// ErrTruncated says that a dump ends before its memory does.
	ErrTruncated = errors.New("the dump is truncated: was the disk full, or is it still being written?")
)

// Dump is an opened dump. It may be used by many goroutines.
type Dump struct {
	// Arch is the guest's.
	Arch arch.Arch
	// VCPUs are the registers of its vCPUs, in the order of QEMU's numbers. nil
	// where the dump has none.
	VCPUs []model.VCPU
	// VMCoreInfo says that the dump has a VMCOREINFO note, which drgn needs.
	VMCoreInfo bool

	isa    *isa.ISA
	r      io.ReaderAt
	close  io.Closer
	ranges []physmem.Range // in order, without overlap, none empty
}

// Open opens a dump. Close closes it.
func Open(path string) (*Dump, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open dump: %w", err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
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

// Close closes the file that Open opened.
func (d *Dump) Close() error {
	if d.close == nil {
		return nil
	}
	return d.close.Close()
}

// formats are how files begin that people take for a dump that can be read.
var formats = []struct {
	magic string
	err   error
}{
	{"makedumpfile\x00", ErrCompressed}, // QEMU's are flattened (dump/dump.c, write_start_flat_header)
	{"KDUMP   ", ErrCompressed},
	{"PAGEDU64", errors.New("a Windows crash dump: make it without -w (QMP: with \"format\": \"elf\", or none)")},
	{"QEVM", errors.New("a saved state of QEMU, not a memory dump: use dump-guest-memory")},
	{"LibvirtQemudSave", errors.New("a saved state of libvirt, not a memory dump: use `virsh dump --memory-only`")},
	{"LibvirtQemudPart", errors.New("a saved state of libvirt, not a memory dump: use `virsh dump --memory-only`")},
}

// maxSegments bounds the program headers. With QEMU's paging option there is one
// for each piece of the guest's page tables.
const maxSegments = 1 << 16

// New reads the headers of a dump of size bytes. A file that is none gives an
// error that is ErrNotDump, ErrCompressed or ErrTruncated where it is one of these.
func New(r io.ReaderAt, size int64) (*Dump, error) {
	head := make([]byte, 16)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, f := range formats {
		if bytes.HasPrefix(head[:n], []byte(f.magic)) {
			return nil, f.err
		}
	}
	if !bytes.HasPrefix(head[:n], []byte(elf.ELFMAG)) {
		return nil, ErrNotDump
	}
	f, err := elf.NewFile(io.NewSectionReader(r, 0, size))
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w (it has %d bytes)", ErrTruncated, size)
		}
		return nil, fmt.Errorf("%w (%w)", ErrNotDump, err)
	}
	if f.Type != elf.ET_CORE || f.Data != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("%w (it is an ELF file of type %s)", ErrNotDump, f.Type)
	}
	if f.Machine == elf.EM_386 || f.Class != elf.ELFCLASS64 {
		return nil, errors.New("the guest was not in 64-bit mode: its kernel was not running yet")
	}
	i := isa.ByMachine(f.Machine)
	if i == nil {
		return nil, fmt.Errorf("unknown guest architecture %s", f.Machine)
	}
	d := &Dump{Arch: i.Arch, isa: i, r: r}
	if err := d.segments(f.Progs, uint64(size)); err != nil {
		return nil, err
	}
	if err := d.notes(f.Progs); err != nil {
		return nil, err
	}
	return d, nil
}

// segments makes the ranges of the PT_LOAD segments. Those of QEMU's paging
// option lie over each other: a page that is mapped twice is there twice.
func (d *Dump) segments(progs []*elf.Prog, size uint64) error {
	if len(progs) > maxSegments {
		return fmt.Errorf("%d segments: at most %d are read", len(progs), maxSegments)
	}
	var all []physmem.Range
	for _, p := range progs {
		if p.Type != elf.PT_LOAD || p.Filesz == 0 {
			continue
		}
		if p.Off > size || p.Filesz > size-p.Off {
			return fmt.Errorf("%w (it has %d bytes, and a segment that ends at %d)", ErrTruncated, size, p.Off+p.Filesz)
		}
		if p.Paddr+p.Filesz < p.Paddr {
			return fmt.Errorf("%w (a segment at %#x of %#x bytes)", ErrNotDump, p.Paddr, p.Filesz)
		}
		all = append(all, physmem.Range{Phys: p.Paddr, Offset: p.Off, Size: p.Filesz})
	}
	slices.SortStableFunc(all, func(a, b physmem.Range) int { return cmp.Compare(a.Phys, b.Phys) })
	end := uint64(0) // of what is there so far
	for _, r := range all {
		if last := r.Phys + r.Size; last <= end {
			continue
		}
		if r.Phys < end {
			cut := end - r.Phys
			r = physmem.Range{Phys: end, Offset: r.Offset + cut, Size: r.Size - cut}
		}
		end = r.Phys + r.Size
		d.ranges = append(d.ranges, r)
	}
	if len(d.ranges) == 0 {
		return fmt.Errorf("%w (it holds no memory)", ErrNotDump)
	}
	return nil
}

// Ranges implements physmem.Reader.
func (d *Dump) Ranges() []physmem.Range { return d.ranges }

// ReadPhys implements physmem.Reader. What is not in the dump gives an error
// that is physmem.ErrNoRAM.
func (d *Dump) ReadPhys(addr uint64, p []byte) error {
	i, _ := slices.BinarySearchFunc(d.ranges, addr, func(r physmem.Range, addr uint64) int {
		if r.Phys+r.Size-1 < addr {
			return -1
		}
		return 1
	})
	for at, rest := addr, p; len(rest) > 0; i++ {
		if i >= len(d.ranges) || at < d.ranges[i].Phys {
			return fmt.Errorf("read %d bytes of the dumped memory at %#x: %w", len(p), addr, physmem.ErrNoRAM)
		}
		r := d.ranges[i]
		n := min(uint64(len(rest)), r.Size-(at-r.Phys))
		if _, err := d.r.ReadAt(rest[:n], int64(r.Offset+(at-r.Phys))); err != nil {
			return fmt.Errorf("read %d bytes of the dumped memory at %#x: %w", len(p), addr, err)
		}
		at, rest = at+n, rest[n:]
	}
	return nil
}
