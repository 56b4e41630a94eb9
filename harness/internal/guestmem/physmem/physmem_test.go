package physmem_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestRanges(t *testing.T) {
	const mib, gib = 1 << 20, 1 << 30
	for _, tc := range []struct {
		a    arch.Arch
		size uint64
		want []physmem.Range
	}{
		{arch.X86_64, 512 * mib, []physmem.Range{{Size: 512 * mib}}},
		{arch.X86_64, 2*gib + 512*mib, []physmem.Range{{Size: 2*gib + 512*mib}}},
		{arch.X86_64, 3 * gib, []physmem.Range{{Size: 2 * gib}, {Phys: 4 * gib, Offset: 2 * gib, Size: gib}}},
		{arch.AArch64, 768 * mib, []physmem.Range{{Phys: gib, Size: 768 * mib}}},
		{arch.AArch64, 8 * gib, []physmem.Range{{Phys: gib, Size: 8 * gib}}},
	} {
		if d := cmp.Diff(tc.want, physmem.Ranges(tc.a, tc.size)); d != "" {
			t.Errorf("%s with %d bytes (-want +got):\n%s", tc.a, tc.size, d)
		}
	}
	pc, _ := arch.X86_64.Facts().MachineType("pc")
	if d := cmp.Diff([]physmem.Range{{Size: 3 * gib}}, physmem.RangesOn(arch.X86_64, pc, 3*gib)); d != "" {
		t.Errorf("the older PC cuts its memory later (-want +got):\n%s", d)
	}
}

func TestRead(t *testing.T) {
	file := []byte("0123456789abcdef")
	m := physmem.New(bytes.NewReader(file), []physmem.Range{{Phys: 0x100, Size: 8}, {Phys: 0x200, Offset: 8, Size: 12}})
	for _, tc := range []struct {
		addr uint64
		n    int
		want string
		err  error
	}{
		{0x100, 8, "01234567", nil},
		{0x107, 1, "7", nil},
		{0x202, 4, "abcd", nil},
		{0xff, 1, "", physmem.ErrNoRAM},
		{0x108, 1, "", physmem.ErrNoRAM},
		{0x107, 2, "", physmem.ErrNoRAM},
		{0x20b, 1, "", io.EOF}, // the file is shorter than its range says
		{^uint64(0), 16, "", physmem.ErrNoRAM},
	} {
		p := make([]byte, tc.n)
		err := m.ReadPhys(tc.addr, p)
		if !errors.Is(err, tc.err) || err == nil && string(p) != tc.want {
			t.Errorf("ReadPhys(%#x, %d) = %q, %v; want %q, %v", tc.addr, tc.n, p, err, tc.want, tc.err)
		}
	}
}
