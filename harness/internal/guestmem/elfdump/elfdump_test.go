package elfdump_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/elfdump"
	fake "github.com/unwedge/unwedge/harness/internal/guestmem/guestmemtest"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func open(t *testing.T, b []byte) *elfdump.Dump {
	t.Helper()
	d, err := elfdump.New(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// sparse is a file of which only the beginning is there.
type sparse struct {
	head []byte
	size int64
}

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), s.size-off))
	clear(p[:n])
	if off < int64(len(s.head)) {
		copy(p[:n], s.head[off:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// The heads are of dumps that QEMU 7.2 wrote, the registers what its monitor
// printed of the same paused guest.
func TestRealHeads(t *testing.T) {
	const strtab = 11 // bytes of the section names, which QEMU writes last
	for _, tt := range []struct {
		arch   arch.Arch
		size   int64
		ranges []physmem.Range
	}{
		{arch.X86_64, 0x20000498 + 0x40000 + strtab, []physmem.Range{{Phys: 0, Offset: 0x498, Size: 512 << 20}, {Phys: 0xfffc0000, Offset: 0x20000498, Size: 256 << 10}}},
		{arch.AArch64, 0x4f0 + 512<<20 + strtab, []physmem.Range{{Phys: 1 << 30, Offset: 0x4f0, Size: 512 << 20}}},
	} {
		t.Run(string(tt.arch), func(t *testing.T) {
			name := filepath.Join("testdata", "qemu-7.2-"+string(tt.arch))
			head, err := os.ReadFile(name + ".head")
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(name + ".registers")
			if err != nil {
				t.Fatal(err)
			}
			d, err := elfdump.New(sparse{head, tt.size}, tt.size)
			if err != nil {
				t.Fatal(err)
			}
			if d.Arch != tt.arch || d.VMCoreInfo {
				t.Errorf("arch %s, VMCOREINFO %v", d.Arch, d.VMCoreInfo)
			}
			if diff := cmp.Diff(tt.ranges, d.Ranges()); diff != "" {
				t.Errorf("ranges (-want +got):\n%s", diff)
			}
			want := guestmem.ParseRegisters(string(text))
			if len(want) != 1 {
				t.Fatalf("%d vCPUs in the text", len(want))
			}
			want[0].Halted = false // which no note tells
			if diff := cmp.Diff(want, d.VCPUs); diff != "" {
				t.Errorf("registers (-monitor +notes):\n%s", diff)
			}
			short := tt.size - 1
			if d, err := elfdump.New(sparse{head, short}, short); !errors.Is(err, elfdump.ErrTruncated) || d != nil {
				t.Errorf("a byte less: %v", err)
			}
		})
	}
}

// A look at a dump shows what a look at the memory shows.
func TestLook(t *testing.T) {
	d := open(t, fake.Booted().Dump())
	got, err := fake.Kernel().LookAt(t.Context(), d, d.VCPUs)
	if err != nil {
		t.Fatal(err)
	}
	want, err := fake.Kernel().Look(t.Context(), fake.Booted().Reader(), fake.IdleRegisters())
	if err != nil {
		t.Fatal(err)
	}
	want.CPUs[0].Halted = false
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-memory +dump):\n%s", diff)
	}
}

func text(phys uint64, s string) fake.Segment { return fake.Segment{Phys: phys, Data: []byte(s)} }

func TestReadPhys(t *testing.T) {
	// Not in order, side by side, over each other, and with a hole.
	d := open(t, fake.Core(elf.EM_X86_64, nil, text(0x200, "ghij"), text(0x100, "abcd"), text(0x104, "ef"), text(0x102, "XXXXXX"), text(0x1fe, "YZ")))
	var ranges [][2]uint64
	for _, r := range d.Ranges() {
		ranges = append(ranges, [2]uint64{r.Phys, r.Size})
	}
	if diff := cmp.Diff([][2]uint64{{0x100, 4}, {0x104, 4}, {0x1fe, 2}, {0x200, 4}}, ranges); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		addr uint64
		n    int
		want string
	}{
		{0x100, 4, "abcd"}, {0x101, 1, "b"}, {0x103, 5, "dXXXX"}, {0x107, 1, "X"}, {0x1fe, 6, "YZghij"}, {0x203, 1, "j"}, {0x100, 0, ""},
		{0x0, 1, "-"}, {0xff, 2, "-"}, {0x107, 2, "-"}, {0x108, 1, "-"}, {0x203, 2, "-"}, {0x204, 1, "-"}, {1<<64 - 1, 1, "-"}, {1<<64 - 1, 2, "-"},
	} {
		p := make([]byte, tt.n)
		err := d.ReadPhys(tt.addr, p)
		if tt.want == "-" {
			if !errors.Is(err, physmem.ErrNoRAM) {
				t.Errorf("%d bytes at %#x: %q, %v", tt.n, tt.addr, p, err)
			}
		} else if err != nil || string(p) != tt.want {
			t.Errorf("%d bytes at %#x: %q, %v, want %q", tt.n, tt.addr, p, err, tt.want)
		}
	}
}

func TestNotes(t *testing.T) {
	status := func(n int) []byte { return fake.Note("CORE", 1, bytes.Repeat([]byte{3}, n)) }
	ram := text(0, "x")
	for name, tt := range map[string]struct {
		notes []byte
		vcpus int
		info  bool
	}{
		"none":        {nil, 0, false},
		"one":         {status(336), 1, false},
		"others":      {append(append(fake.Note("QEMU", 0, make([]byte, 440)), status(336)...), fake.Note("VMCOREINFO", 0, []byte("OSRELEASE=6.1"))...), 1, true},
		"a short one": {append(status(200), status(336)...), 1, false},
		"torn":        {append(status(336), status(336)[:300]...), 1, false},
		"too many":    {bytes.Repeat(status(336), 600), 512, false},
		"a huge size": {append(status(336), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 'C'), 1, false},
	} {
		d := open(t, fake.Core(elf.EM_X86_64, tt.notes, ram))
		if len(d.VCPUs) != tt.vcpus || d.VMCoreInfo != tt.info {
			t.Errorf("%s: %d vCPUs, VMCOREINFO %v", name, len(d.VCPUs), d.VMCoreInfo)
		}
		for i, v := range d.VCPUs {
			if v.Index != i || !v.User || v.PC != 0x0303030303030303 {
				t.Errorf("%s: vCPU %d: %+v", name, i, v)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	kdump, err := os.ReadFile(filepath.Join("testdata", "qemu-7.2-kdump-zlib.head"))
	if err != nil {
		t.Fatal(err)
	}
	good := fake.Booted().Dump()
	edit := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	for _, tt := range []struct {
		name string
		file []byte
		is   error
		word string
	}{
		{"empty", nil, elfdump.ErrNotDump, "dump-guest-memory"},
		{"text", []byte("this is no dump"), elfdump.ErrNotDump, "not a memory dump"},
		{"kdump", kdump, elfdump.ErrCompressed, `"format": "elf"`},
		{"raw kdump", []byte("KDUMP   \x06\x00\x00\x00"), elfdump.ErrCompressed, "without -z"},
		{"Windows", []byte("PAGEDU64 and more"), nil, "without -w"},
		{"saved state", []byte("QEVM\x00\x00\x00\x03"), nil, "dump-guest-memory"},
		{"libvirt", []byte("LibvirtQemudSave\x02"), nil, "virsh dump --memory-only"},
		{"no core", edit(16, byte(elf.ET_DYN)), elfdump.ErrNotDump, "ET_DYN"},
		{"big endian", edit(elf.EI_DATA, byte(elf.ELFDATA2MSB)), nil, "memory dump"},
		{"32 bits", edit(18, byte(elf.EM_386)), nil, "not in 64-bit mode"},
		{"another arch", edit(18, byte(elf.EM_RISCV)), nil, "EM_RISCV"},
		{"no memory", fake.Core(elf.EM_X86_64, nil), elfdump.ErrNotDump, "holds no memory"},
		{"only a header", good[:64], elfdump.ErrTruncated, "64 bytes"},
		{"half", good[:len(good)/2], elfdump.ErrTruncated, "disk full"},
		{"over the end of the address space", fake.Core(elf.EM_X86_64, nil, text(1<<64-1, "xy")), elfdump.ErrNotDump, "0xffffffffffffffff"},
	} {
		d, err := elfdump.New(bytes.NewReader(tt.file), int64(len(tt.file)))
		if d != nil || err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.word) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "memory.elf")
	if err := os.WriteFile(path, fake.Booted().Dump(), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := elfdump.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.ReadPhys(fake.PhysBase, make([]byte, 8)); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := d.ReadPhys(fake.PhysBase, make([]byte, 8)); err == nil {
		t.Error("a closed dump was read")
	}
	for _, bad := range []string{dir, filepath.Join(dir, "nowhere")} {
		if d, err := elfdump.Open(bad); err == nil || d != nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// FuzzNew opens anything. Its ranges are in order and can be read.
func FuzzNew(f *testing.F) {
	status := fake.Note("CORE", 1, make([]byte, 336))
	f.Add(fake.Core(elf.EM_X86_64, status, text(0x100, "abcd"), text(0x102, "efghij")))
	f.Add(fake.Core(elf.EM_AARCH64, append(fake.Note("VMCOREINFO", 0, nil), fake.Note("CORE", 1, make([]byte, 392))...), text(1<<30, "x")))
	f.Add([]byte("makedumpfile\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := elfdump.New(bytes.NewReader(b), int64(len(b)))
		if (err == nil) == (d == nil) {
			t.Fatal("a dump and an error, or neither")
		}
		if err != nil {
			return
		}
		end := uint64(0)
		for i, r := range d.Ranges() {
			if r.Size == 0 || i > 0 && r.Phys < end || r.Phys+r.Size < r.Phys || r.Offset+r.Size > uint64(len(b)) {
				t.Fatalf("range %+v of %+v", r, d.Ranges())
			}
			end = r.Phys + r.Size
			if err := d.ReadPhys(r.Phys, make([]byte, r.Size)); err != nil {
				t.Errorf("range %+v: %v", r, err)
			}
		}
		if len(d.VCPUs) > 512 {
			t.Errorf("%d vCPUs", len(d.VCPUs))
		}
	})
}
