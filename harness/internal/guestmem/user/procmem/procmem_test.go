package procmem

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/unwedge/unwedge/harness/internal/isa"
)

const wantMaps = `400000-401000 r--p 00000000 /usr/lib/libx.so.1
401000-404000 r-xp 00001000 /usr/lib/libx.so.1
404000-405000 rw-p 00004000 /usr/lib/libx.so.1
500000-502000 rw-p 00000000 [heap]
7ff0000-8000000 rw-p 00000000 [stack]
8001000-8002000 r--p 00000000 [vvar]`

func maps(p *Process) string {
	var lines []string
	for _, m := range p.Mappings {
		lines = append(lines, m.String())
	}
	return strings.Join(lines, "\n")
}

func open(t *testing.T, r ram, l *Layout) *Process {
	t.Helper()
	p, err := r.guest(l).Open(direct + task)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMappings(t *testing.T) {
	list := fakeLayout()
	list.mapleRoot = field{}
	for name, l := range map[string]*Layout{"maple tree": fakeLayout(), "list": list} {
		t.Run(name, func(t *testing.T) {
			p := open(t, booted(), l)
			if diff := cmp.Diff(wantMaps, maps(p)); diff != "" || p.Problem != "" {
				t.Errorf("problem %q, mappings (- want, + got):\n%s", p.Problem, diff)
			}
			if p.Exe == nil || p.Exe.Path != "/usr/lib/libx.so.1" || p.Bits != 47 {
				t.Errorf("the program is %+v, addresses have %d bits", p.Exe, p.Bits)
			}
		})
	}
}

func TestRead(t *testing.T) {
	p := open(t, booted(), fakeLayout())
	for _, c := range []struct {
		name string
		addr uint64
		want byte
		err  error
	}{
		{name: "mapped", addr: 0x401800, want: '1'},
		{name: "in the page cache alone", addr: 0x400010, want: '0'},
		{name: "read ahead of the page tables", addr: 0x402fff, want: '2'},
		{name: "a page that is nowhere", addr: 0x403000, err: ErrAbsent},
		{name: "writable: the file may not be what was there", addr: 0x404000, err: isa.ErrNotMapped},
		{name: "no file", addr: 0x500000, err: isa.ErrNotMapped},
		{name: "nothing mapped", addr: 0x600000, err: isa.ErrNotMapped},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b [1]byte
			if err := p.Read(c.addr, b[:]); !errors.Is(err, c.err) || err == nil && b[0] != c.want {
				t.Errorf("read %q, %v; want %q, %v", b[0], err, c.want, c.err)
			}
		})
	}
	b := make([]byte, 0x1800)
	if err := p.Read(0x400f00, b); err != nil || !bytes.Equal(b, append(append(bytes.Repeat([]byte("0"), 0x100), bytes.Repeat([]byte("1"), 0x1000)...), bytes.Repeat([]byte("2"), 0x700)...)) {
		t.Errorf("a read over three pages: %v", err)
	}
}

func TestFile(t *testing.T) {
	f := open(t, booted(), fakeLayout()).Exe
	b := make([]byte, 0x100)
	if n, err := f.ReadAt(b, 0x4f80); n != 0x90 || !errors.Is(err, io.EOF) || b[0] != '4' || b[0x8f] != '5' {
		t.Errorf("the end of the file: %d bytes, %v", n, err)
	}
	if _, err := f.ReadAt(b, 0x2f80); !errors.Is(err, ErrAbsent) {
		t.Errorf("a page that is not in memory: %v", err)
	}
	f.SetBacking(bytes.NewReader(bytes.Repeat([]byte("x"), 0x5010)))
	if n, err := f.ReadAt(b, 0x2f80); n != 0x100 || err != nil || b[0] != '2' || b[0x80] != 'x' {
		t.Errorf("with a backing: %d bytes, %v", n, err)
	}
}

// TestFolio has pages 2 to 5 of the file in one folio, as the slots of an
// xarray have it: the others are siblings of the first.
func TestFolio(t *testing.T) {
	r := booted()
	r.put(nodeLeaf+8+8*3, 2<<2|2, 2<<2|2, 2<<2|2)
	f := open(t, r, fakeLayout()).Exe
	b := make([]byte, 3)
	for i, want := range []string{"222", "333", "444", "555"} {
		n, err := f.ReadAt(b, int64(0x2000+0x1000*i))
		if n != 3 || string(b) != want || err != nil {
			t.Errorf("page %d: %q, %v", i+2, b[:n], err)
		}
	}
}

func TestHostile(t *testing.T) {
	for name, damage := range map[string]func(ram, *Layout){
		"maple tree of itself":  func(r ram, _ *Layout) { r.put(maple+80, direct+maple|mapleARange64<<3|2) },
		"maple type":            func(r ram, _ *Layout) { r.put(mm+8, direct+maple|7<<3|2) },
		"maple root":            func(r ram, _ *Layout) { r.put(mm+8, 0) },
		"wild node":             func(r ram, _ *Layout) { r.put(maple+88, 0xdeadbeef00|mapleLeaf64<<3) },
		"wild mapping":          func(r ram, _ *Layout) { r.put(leafA+136, 0xdeadbeef00) },
		"mapping backwards":     func(r ram, _ *Layout) { r.put(vmas0, 0x500000, 0x400000) },
		"mapping in the kernel": func(r ram, _ *Layout) { r.put(vmas0+8, direct) },
		"list in a circle": func(r ram, l *Layout) {
			l.mapleRoot = field{}
			r.put(vmas0+40, direct+vmas0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, l := booted(), fakeLayout()
			damage(r, l)
			if p := open(t, r, l); p.Problem == "" {
				t.Errorf("nothing is said, and the mappings are\n%s", maps(p))
			}
		})
	}
	t.Run("path in a circle", func(t *testing.T) {
		r := booted()
		r.put(dentryDir, direct+dentryLib)
		if p := open(t, r, fakeLayout()); p.Exe.Path != "" {
			t.Errorf("the path is %q", p.Exe.Path)
		}
	})
	t.Run("kernel thread", func(t *testing.T) {
		r := booted()
		r.put(task, 0)
		if _, err := r.guest(fakeLayout()).Open(direct + task); !errors.Is(err, ErrNoMemory) {
			t.Errorf("got %v, want ErrNoMemory", err)
		}
	})
}

// FuzzOpen changes words of the fake guest: an end, and no more than the bounds.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add(binary.LittleEndian.AppendUint64([]byte{0x50, 0x0e}, direct+maple|mapleARange64<<3|2), false)
	f.Add(binary.LittleEndian.AppendUint64([]byte{0x05, 0x10}, direct+vmas0), true)
	f.Fuzz(func(t *testing.T, changes []byte, list bool) {
		r, l := booted(), fakeLayout()
		if list {
			l.mapleRoot = field{}
		}
		for n := 0; len(changes) >= 10 && n < 64; n++ {
			at := int(binary.LittleEndian.Uint16(changes)) * 8 % (ramSize - 8)
			copy(r[at:at+8], changes[2:10])
			changes = changes[10:]
		}
		p, err := r.guest(l).Open(direct + task)
		if err != nil {
			if p != nil {
				t.Fatal("a process beside an error")
			}
			return
		}
		if len(p.Mappings) > maxMappings || len(p.guest.files) > maxFiles {
			t.Fatalf("%d mappings, %d files", len(p.Mappings), len(p.guest.files))
		}
		b := make([]byte, 64)
		for i := range p.Mappings[:min(len(p.Mappings), 16)] {
			m := &p.Mappings[i]
			if got := p.Find(m.Start); got == nil || !got.Contains(m.Start) {
				t.Fatalf("the mapping at %#x is not found", m.Start)
			}
			if err := p.Read(m.Start, b); err == nil && m.File != nil {
				_, _ = m.File.ReadAt(b, int64(m.Offset)) // bounded is all that is asked
			}
		}
	})
}
