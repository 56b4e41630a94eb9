package foreign

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
)

// Memory is the guest's memory, read in the memory of its QEMU: the monitor says which
// guest address lies where (HMP's info mtree and gpa2hva), and some of what is there is
// held against what the monitor shows (HMP's xp).
func (g *Guest) Memory(ctx context.Context) (physmem.Reader, error) {
	if g.PID == 0 {
		return nil, errors.New("find its QEMU: no process here has the threads of its vCPUs")
	}
	regions, err := g.regions(ctx)
	if err != nil {
		return nil, err
	}
	maps, err := mappings(g.PID)
	if err != nil {
		return nil, g.denied(err)
	}
	var ranges []physmem.Range
	for _, r := range regions {
		host, err := g.hostAddress(ctx, r.Phys)
		if err != nil {
			return nil, err
		}
		if !holds(maps, host, r.Size) {
			return nil, fmt.Errorf("find the guest's memory: QEMU (pid %d) has no %d bytes at %#x", g.PID, r.Size, host)
		}
		ranges = append(ranges, physmem.Range{Phys: r.Phys, Offset: host, Size: r.Size})
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", g.PID))
	if err != nil {
		return nil, g.denied(err)
	}
	ram := physmem.New(f, ranges)
	if err := g.compare(ctx, ram); err != nil {
		f.Close()
		return nil, err
	}
	g.files = append(g.files, f)
	return ram, nil
}

// denied says what to do where the kernel does not let the memory of a process be read
// (ptrace(2), ptrace access mode checking).
func (g *Guest) denied(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("read the memory of QEMU (pid %d): permission denied: run as root", g.PID)
	case errors.Is(err, fs.ErrNotExist):
		return ErrGone
	}
	return fmt.Errorf("read the memory of QEMU (pid %d): %w", g.PID, err)
}

// region is a piece of guest RAM: where it begins in its block, and its size.
type region struct {
	Phys, Size, offset uint64
	block              string
}

// flatRange is a line of `info mtree -f` (softmmu/memory.c, mtree_print_flatview):
// "  0000000000100000-000000001fffffff (prio 0, ram): pc.ram @0000000000100000 KVM".
var flatRange = regexp.MustCompile(`^ +([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, ([a-z/-]+)\): (\S+)(?: @([0-9a-f]{16}))?`)

// maxRegions bounds how many pieces of RAM a guest may have.
const maxRegions = 4096

// regions asks where the guest has RAM.
func (g *Guest) regions(ctx context.Context) ([]region, error) {
	text, err := g.QMP.HMP(ctx, "info mtree -f")
	if err != nil {
		return nil, err
	}
	out := parseFlat(text)
	if len(out) == 0 {
		return nil, errors.New("find the guest's memory: QEMU's `info mtree -f` shows no RAM")
	}
	return out, nil
}

// parseFlat finds the RAM in the view that is the CPUs' own. Of a block that is RAM
// somewhere, the parts that the guest may not write are RAM too: x86's shadowed
// BIOS.
func parseFlat(text string) []region {
	var all []region
	ram, system := map[string]bool{}, false
	for l := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(l, "FlatView"):
			if system && len(all) > 0 {
				return only(all, ram)
			}
			system, all, ram = false, nil, map[string]bool{}
		case strings.HasPrefix(l, ` AS "memory"`):
			system = true
		}
		m := flatRange.FindStringSubmatch(l)
		if m == nil || m[3] != "ram" && m[3] != "rom" || len(all) >= maxRegions {
			continue
		}
		from, last := hex(m[1]), hex(m[2])
		if last < from || last-from+1 == 0 {
			continue
		}
		all = append(all, region{Phys: from, Size: last - from + 1, offset: hex(m[5]), block: m[4]})
		if m[3] == "ram" {
			ram[m[4]] = true
		}
	}
	if !system {
		return nil
	}
	return only(all, ram)
}

// only leaves the regions of the blocks, and joins those that are one in their block.
func only(all []region, blocks map[string]bool) []region {
	var out []region
	for _, r := range all {
		if !blocks[r.block] {
			continue
		}
		if n := len(out) - 1; n >= 0 && out[n].block == r.block && out[n].Phys+out[n].Size == r.Phys && out[n].offset+out[n].Size == r.offset {
			out[n].Size += r.Size
		} else {
			out = append(out, r)
		}
	}
	return out
}

func hex(s string) uint64 {
	n, _ := strconv.ParseUint(s, 16, 64) // 16 digits, or none, by the expression
	return n
}

// hostWords are QEMU's answer to gpa2hva (monitor/hmp-cmds-target.c).
var hostWords = regexp.MustCompile(`^Host virtual address for 0x[0-9a-f]+ \(.*\) is 0x([0-9a-f]{1,16})\s*$`)

func (g *Guest) hostAddress(ctx context.Context, phys uint64) (uint64, error) {
	said, err := g.QMP.HMP(ctx, fmt.Sprintf("gpa2hva %#x", phys))
	if err != nil {
		return 0, err
	}
	m := hostWords.FindStringSubmatch(said)
	if m == nil {
		return 0, fmt.Errorf("find the guest's memory: QEMU says of %#x: %.100q", phys, said)
	}
	return hex(m[1]), nil
}

// The words of memory that are held against the monitor's: so many, of the first in
// each step that are not zero.
const (
	samples = 8
	step    = 8 << 20 // bytes
	word    = 8       // bytes
)

// compare holds the memory against what the monitor shows. The guest may run, so that
// a word may change between the two: it is read before and after.
func (g *Guest) compare(ctx context.Context, ram physmem.Reader) error {
	left := samples
	for _, r := range ram.Ranges() {
		for off := uint64(0); off < r.Size && left > 0; off += step {
			addr, ok := notZero(ram, r.Phys+off, min(r.Size-off, 64<<10))
			if !ok {
				continue
			}
			left--
			if same, err := g.sees(ctx, ram, addr); err != nil {
				return err
			} else if !same {
				return fmt.Errorf("the memory of QEMU (pid %d) is not the guest's: it differs at %#x from what the monitor shows", g.PID, addr)
			}
		}
	}
	if _, err := readWord(ram, ram.Ranges()[0].Phys); err != nil {
		return g.denied(err)
	}
	return nil
}

// notZero finds a word that is not zero.
func notZero(ram physmem.Reader, addr, size uint64) (uint64, bool) {
	b := make([]byte, size)
	if ram.ReadPhys(addr, b) != nil {
		return 0, false
	}
	for i := 0; i+word <= len(b); i += word {
		if !bytes.Equal(b[i:i+word], make([]byte, word)) {
			return addr + uint64(i), true
		}
	}
	return 0, false
}

// tries is how often a word of a guest that runs is compared.
const tries = 5

func (g *Guest) sees(ctx context.Context, ram physmem.Reader, addr uint64) (bool, error) {
	for range tries {
		before, err1 := readWord(ram, addr)
		said, err := g.QMP.HMP(ctx, fmt.Sprintf("xp /1gx %#x", addr))
		if err != nil {
			return false, err
		}
		after, err2 := readWord(ram, addr)
		if err := errors.Join(err1, err2); err != nil {
			return false, g.denied(err)
		}
		_, value, ok := strings.Cut(strings.TrimSpace(said), ": 0x")
		shown, err := strconv.ParseUint(value, 16, 64)
		if !ok || err != nil {
			return false, fmt.Errorf("compare the guest's memory: QEMU says of %#x: %.100q", addr, said)
		}
		if shown == before || shown == after {
			return true, nil
		}
	}
	return false, nil
}

func readWord(ram physmem.Reader, addr uint64) (uint64, error) {
	var b [word]byte
	if err := ram.ReadPhys(addr, b[:]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}
