// Package ehframe finds the caller of a function by the .eh_frame of the ELF
// object it is in (LSB 5.0, "Exception Frames"; DWARF 5, 6.4).
//
// debug/dwarf does not read it, and the libraries that do take a whole section
// that they trust. Here the section is in the memory of a guest: parts of it may
// be missing and all of it may be hostile. So the one entry that is needed is
// found by the search table of .eh_frame_hdr, and every length and every count
// of steps is bounded.
package ehframe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/unwedge/unwedge/harness/internal/isa"
)

// Errors of Find and Step.
var (
	// ErrNoEntry says that no entry covers the address.
	ErrNoEntry = errors.New("no .eh_frame entry covers it")
	// ErrOutermost says that the function has no caller, by its entry's word.
	ErrOutermost = errors.New("the outermost function")
	// ErrDamaged says that the section cannot be what it is said to be.
	ErrDamaged = errors.New("damaged .eh_frame")
)

// Memory reads the memory that the object is mapped in. Read fills p or returns
// an error.
type Memory interface {
	Read(addr uint64, p []byte) error
}

// Table is the .eh_frame of one object. It is as safe for concurrent use as its
// Memory is.
type Table struct {
	mem Memory
	isa *isa.ISA
	hdr uint64 // of .eh_frame_hdr
	// table is the address of the search table, count its length.
	table, count uint64
	// all are the entries of an object without a search table, by address;
	// cies and left, in bytes, bound what it takes to read them.
	all  []Function
	cies map[uint64]cie
	left uint64
}

// Bounds: of one entry in bytes, of a search table and of a section that is
// read from end to end.
const (
	maxEntry   = 64 << 10
	maxTable   = 1 << 20
	maxSection = 4 << 20
)

// Open reads the header of .eh_frame_hdr, which PT_GNU_EH_FRAME gives the
// address of. Only the search table that all linkers write is understood: of
// 32-bit distances from the header.
func Open(m Memory, i *isa.ISA, hdr uint64) (*Table, error) {
	b := make([]byte, 24)
	if err := m.Read(hdr, b[:12]); err != nil {
		return nil, fmt.Errorf("read .eh_frame_hdr: %w", err)
	}
	if b[0] != 1 || b[3] != encDataRel|encSData4 {
		return nil, fmt.Errorf("read .eh_frame_hdr: %w: version %d, table encoding %#x", ErrDamaged, b[0], b[3])
	}
	n := copyUpTo(m, hdr, b)
	c := cursor{b: b[4:n], addr: hdr + 4}
	c.pointer(b[1], hdr)
	count := c.pointer(b[2], hdr)
	if c.bad || count > maxTable {
		return nil, fmt.Errorf("read .eh_frame_hdr: %w: %d entries", ErrDamaged, count)
	}
	return &Table{mem: m, isa: i, hdr: hdr, table: c.here(), count: count}, nil
}

// copyUpTo reads as much of p as can be, in halves.
func copyUpTo(m Memory, addr uint64, p []byte) int {
	for n := len(p); n > 0; n /= 2 {
		if m.Read(addr, p[:n]) == nil {
			return n
		}
	}
	return 0
}

// Scan reads a whole .eh_frame section: that of an object without a search
// table, such as a static program.
func Scan(m Memory, i *isa.ISA, addr, size uint64) (*Table, error) {
	if size > maxSection {
		return nil, fmt.Errorf("read .eh_frame: %w: %d bytes", ErrDamaged, size)
	}
	t := &Table{mem: m, isa: i, cies: map[uint64]cie{}, left: 4 * maxSection}
	for at := addr; at-addr+4 <= size; {
		f, next, err := t.entry(at)
		if err != nil {
			return nil, err
		}
		if next == 0 { // the terminator; crtend.o's need not be the last
			next = at + 4
		}
		if f.End > f.Start {
			t.all = append(t.all, f)
		}
		at = next
	}
	t.cies = nil
	sort.Slice(t.all, func(i, j int) bool { return t.all[i].Start < t.all[j].Start })
	return t, nil
}

// Find returns the entry of the function that an address is in.
func (t *Table) Find(pc uint64) (Function, error) {
	if t.all != nil || t.table == 0 {
		i := sort.Search(len(t.all), func(i int) bool { return t.all[i].Start > pc })
		if i == 0 || pc >= t.all[i-1].End {
			return Function{}, ErrNoEntry
		}
		return t.all[i-1], nil
	}
	low, high := uint64(0), t.count
	var at uint64
	for low < high {
		mid := low + (high-low)/2
		start, entry, err := t.row(mid)
		if err != nil {
			return Function{}, err
		}
		if start > pc {
			high = mid
		} else {
			low, at = mid+1, entry
		}
	}
	if at == 0 {
		return Function{}, ErrNoEntry
	}
	f, _, err := t.entry(at)
	if err != nil {
		return Function{}, err
	}
	if pc < f.Start || pc >= f.End {
		return Function{}, ErrNoEntry
	}
	return f, nil
}

func (t *Table) row(i uint64) (start, entry uint64, err error) {
	var b [8]byte
	if err := t.mem.Read(t.table+8*i, b[:]); err != nil {
		return 0, 0, fmt.Errorf("read .eh_frame_hdr: %w", err)
	}
	rel := func(p []byte) uint64 { return t.hdr + uint64(int64(int32(binary.LittleEndian.Uint32(p)))) }
	return rel(b[:4]), rel(b[4:]), nil
}

// Function is the entry of one function.
type Function struct {
	Start, End uint64
	// Signal says that it is the frame of a signal handler's return: the
	// caller's address is that of an interrupted instruction.
	Signal bool

	isa     *isa.ISA
	cie     cie
	program []byte
	addr    uint64 // of program
}

// cie is what functions have in common.
type cie struct {
	codeAlign uint64
	dataAlign int64
	ra        uint64 // the column of the return address
	enc       byte   // of pointers
	sized     bool   // entries have augmentation data
	signal    bool
	program   []byte
	addr      uint64
}

// entry reads the entry at an address. next is where the one behind it is, 0 at
// the terminator. A CIE gives a Function without addresses.
func (t *Table) entry(at uint64) (f Function, next uint64, err error) {
	body, id, err := t.record(at)
	if err != nil || body == nil {
		return f, 0, err
	}
	next = at + 8 + uint64(len(body))
	if id == 0 {
		return f, next, nil
	}
	f.isa = t.isa
	if f.cie, err = t.common(at + 4 - uint64(id)); err != nil {
		return Function{}, 0, err
	}
	c := cursor{b: body, addr: at + 8}
	f.Start = c.pointer(f.cie.enc, t.hdr)
	f.End = f.Start + c.pointer(f.cie.enc&0x0f, t.hdr)
	if f.cie.sized {
		c.skip(c.uleb())
	}
	if c.bad || f.End < f.Start {
		return Function{}, 0, fmt.Errorf("read .eh_frame at %#x: %w", at, ErrDamaged)
	}
	f.Signal, f.program, f.addr = f.cie.signal, c.b[c.at:], c.here()
	return f, next, nil
}

// common reads the CIE at an address.
func (t *Table) common(at uint64) (cie, error) {
	if c, ok := t.cies[at]; ok {
		return c, nil
	}
	body, id, err := t.record(at)
	if err != nil {
		return cie{}, err
	}
	if body == nil || id != 0 {
		return cie{}, fmt.Errorf("read .eh_frame: %w: no CIE at %#x", ErrDamaged, at)
	}
	c, err := readCIE(body, at+8)
	if err == nil && t.cies != nil {
		t.cies[at] = c
	}
	return c, err
}

// record reads what stands behind a length and an id. nil is the terminator.
func (t *Table) record(at uint64) (body []byte, id uint32, err error) {
	var h [8]byte
	if err := t.mem.Read(at, h[:4]); err != nil {
		return nil, 0, fmt.Errorf("read .eh_frame: %w", err)
	}
	n := binary.LittleEndian.Uint32(h[:])
	if n == 0 {
		return nil, 0, nil
	}
	if n < 4 || n > maxEntry {
		return nil, 0, fmt.Errorf("read .eh_frame at %#x: %w: %d bytes", at, ErrDamaged, n)
	}
	if t.cies != nil {
		if uint64(n) > t.left {
			return nil, 0, fmt.Errorf("read .eh_frame: %w: entries share too much", ErrDamaged)
		}
		t.left -= uint64(n)
	}
	b := make([]byte, n)
	if err := t.mem.Read(at+4, b); err != nil {
		return nil, 0, fmt.Errorf("read .eh_frame: %w", err)
	}
	return b[4:], binary.LittleEndian.Uint32(b), nil
}

func readCIE(b []byte, addr uint64) (cie, error) {
	c := cursor{b: b, addr: addr}
	version := c.byte()
	augmentation := c.string()
	if version == 4 {
		c.skip(2) // the sizes of addresses and of segments
	}
	out := cie{codeAlign: c.uleb(), dataAlign: c.sleb()}
	if version == 1 {
		out.ra = uint64(c.byte())
	} else {
		out.ra = c.uleb()
	}
	if version != 1 && version != 3 && version != 4 || augmentation != "" && augmentation[0] != 'z' {
		return cie{}, fmt.Errorf("read .eh_frame: %w: CIE version %d, augmentation %q", ErrDamaged, version, augmentation)
	}
	if augmentation != "" {
		n := c.uleb()
		end := uint64(c.at) + n
		out.sized = true
		for _, letter := range augmentation[1:] {
			switch letter {
			case 'R':
				out.enc = c.byte()
			case 'P':
				c.pointer(c.byte()&^encIndirect, 0)
			case 'L':
				c.byte()
			case 'S':
				out.signal = true
			}
		}
		if c.bad || end < uint64(c.at) || end > uint64(len(b)) {
			return cie{}, fmt.Errorf("read .eh_frame: %w: CIE at %#x", ErrDamaged, addr)
		}
		c.at = int(end)
	}
	if c.bad {
		return cie{}, fmt.Errorf("read .eh_frame: %w: CIE at %#x", ErrDamaged, addr)
	}
	out.program, out.addr = c.b[c.at:], c.here()
	return out, nil
}
