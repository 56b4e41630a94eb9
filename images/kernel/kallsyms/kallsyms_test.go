package kallsyms_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

const text = kerneltest.TextAddr

// want is the symbol table that every layout below encodes. The long name
// needs a length of two bytes.
func want() []kallsyms.Symbol {
	syms := []kallsyms.Symbol{
		{Addr: text, Name: "_text", Type: 'T'}, {Addr: text, Name: "_stext", Type: 'T'},
		{Addr: text + 0x40, Name: "start_kernel", Type: 't'}, {Addr: text + 0x80, Name: "foo.isra.0", Type: 't'},
	}
	for i := range 300 {
		syms = append(syms, kallsyms.Symbol{Addr: text + 0x100 + uint64(i)*8, Name: fmt.Sprintf("fn_%0*d", 2+i/2, i), Type: 'T'})
	}
	// A small kernel has symbols of whose section nm knows nothing.
	syms = append(syms, kallsyms.Symbol{Addr: text + 0x1f00, Name: "__orc_lookup", Type: '?'})
	return append(syms, kallsyms.Symbol{Addr: text + 0x2000, Name: "_end", Type: 'B'})
}

type encoding struct {
	offsetsLast, seqs bool
	align             int
	mode              string // "relative", "percpu", "pc"
}

var encodings = map[string]encoding{
	"5.10 arm64":  {align: 8, mode: "relative"},
	"5.10 x86":    {align: 8, mode: "percpu"},
	"6.2 x86":     {align: 8, mode: "percpu", seqs: true},
	"6.12 x86":    {align: 8, mode: "percpu", seqs: true, offsetsLast: true},
	"6.16":        {align: 8, mode: "relative", seqs: true, offsetsLast: true},
	"7.0":         {align: 4, mode: "pc", seqs: true, offsetsLast: true},
	"unaligned 4": {align: 4, mode: "pc", offsetsLast: true},
}

// encode writes the tables as scripts/kallsyms.c does, to be placed at addr.
func encode(e encoding, syms []kallsyms.Symbol, addr uint64) []byte {
	le := binary.LittleEndian
	var b []byte
	align := func() {
		for len(b)%e.align != 0 {
			b = append(b, 0)
		}
	}
	offsets := func() {
		align()
		for _, s := range syms {
			v := s.Addr - text
			switch {
			case e.mode == "pc":
				v = s.Addr - (addr + uint64(len(b)))
			case e.mode == "percpu" && s.Addr < text:
				v = s.Addr
			case e.mode == "percpu":
				v = ^v
			}
			b = le.AppendUint32(b, uint32(v))
		}
		align()
		if e.mode != "pc" {
			b = le.AppendUint64(b, text)
		}
	}
	if !e.offsetsLast {
		offsets()
	}
	align()
	b = le.AppendUint32(b, uint32(len(syms)))
	align()
	start := len(b)
	var marks []int
	for i, s := range syms {
		if i%256 == 0 {
			marks = append(marks, len(b)-start)
		}
		name := string(s.Type) + s.Name
		n := len(name)
		if n > 0x7f {
			b = append(b, byte(n)|0x80, byte(n>>7))
		} else {
			b = append(b, byte(n))
		}
		b = append(b, name...)
	}
	align()
	for _, m := range marks {
		b = le.AppendUint32(b, uint32(m))
	}
	if e.seqs {
		align()
		b = append(b, make([]byte, 3*len(syms))...)
	}
	align()
	index, start := []byte{}, len(b)
	for c := range 256 {
		index = le.AppendUint16(index, uint16(len(b)-start))
		if c >= ' ' && c < 0x7f {
			b = append(b, byte(c))
		} else {
			b = append(b, "xy"...)
		}
		b = append(b, 0)
	}
	align()
	b = append(b, index...)
	if e.offsetsLast {
		offsets()
	}
	return b
}

func vmlinux(e encoding, syms []kallsyms.Symbol) []byte {
	const at = text + 0x100000
	return kerneltest.ELF(2, 62,
		kerneltest.Section{Name: ".text", Type: 1, Flags: 6, Addr: text, Data: make([]byte, 0x2000)},
		kerneltest.Section{Name: ".rodata", Type: 1, Flags: 2, Addr: at, Data: encode(e, syms, at)})
}

func TestParse(t *testing.T) {
	for name, e := range encodings {
		t.Run(name, func(t *testing.T) {
			syms := want()
			if e.mode == "percpu" {
				syms = append([]kallsyms.Symbol{{Name: "fixed_percpu_data", Type: 'A'}, {Addr: 0x4000, Name: "cpu_tss", Type: 'A'}}, syms...)
			}
			tab, err := kallsyms.Parse(vmlinux(e, syms), arch.X86_64)
			if err != nil {
				t.Fatal(err)
			}
			var got []kallsyms.Symbol
			for s := range tab.All() {
				got = append(got, s)
			}
			if diff := cmp.Diff(syms, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseImage(t *testing.T) {
	// An Image whose relative base is 0 in place and filled by .rela.dyn.
	const image = 0xffff800080000000
	e := encodings["5.10 arm64"]
	tables := encode(e, want(), 0)
	b := append(make([]byte, 0x2000), tables...)
	base := 0x2000 + (4*len(want())+7)&^7
	binary.LittleEndian.PutUint64(b[base:], 0)
	for _, v := range []uint64{image + uint64(base), 0x403, image + 0x1000} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	tab, err := kallsyms.Parse(b, arch.AArch64)
	if err != nil {
		t.Fatal(err)
	}
	addr, ok := tab.Lookup("start_kernel")
	off, in := tab.FileOffset(addr)
	if addr != image+0x1000+0x40 || !ok || off != 0x1040 || !in {
		t.Errorf("start_kernel at %#x, offset %#x", addr, off)
	}
}

func TestTable(t *testing.T) {
	tab, err := kallsyms.Parse(vmlinux(encodings["6.16"], want()), arch.X86_64)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := tab.Lookup("foo"); ok {
		t.Error("Lookup found foo")
	}
	if v := tab.Variants("foo"); len(v) != 1 || v[0].Name != "foo.isra.0" {
		t.Errorf("Variants = %v", v)
	}
	for _, tc := range []struct {
		addr      uint64
		name      string
		off, size uint64
		ok        bool
	}{
		{text - 1, "", 0, 0, false},
		{text, "_text", 0, 0x40, true},
		{text + 3, "_text", 3, 0x40, true},
		{text + 0x7f, "start_kernel", 0x3f, 0x40, true},
		{text + 0x80, "foo.isra.0", 0, 0x80, true},
		{text + 0x2000, "", 0, 0, false}, // nothing behind the last symbol
	} {
		name, off, size, ok := tab.Nearest(tc.addr)
		if name != tc.name || off != tc.off || size != tc.size || ok != tc.ok {
			t.Errorf("Nearest(%#x) = %s+%d/%d %v, want %+v", tc.addr, name, off, size, ok, tc)
		}
	}
	if _, ok := tab.FileOffset(text + 0x2000); ok {
		t.Error("FileOffset of an address behind the segment")
	}
}

func TestParseErrors(t *testing.T) {
	good := vmlinux(encodings["6.16"], want())
	for name, b := range map[string][]byte{
		"no tables": kerneltest.Vmlinux(),
		"no start":  vmlinux(encodings["6.16"], want()[:2]),
		"cut":       append(good[:len(good)-4000:len(good)-4000], make([]byte, 4000)...),
	} {
		if tab, err := kallsyms.Parse(b, arch.X86_64); err == nil || tab != nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := kallsyms.Parse(make([]byte, 4096), arch.AArch64); !errors.Is(err, kallsyms.ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
}

func FuzzKallsyms(f *testing.F) {
	for _, e := range encodings {
		f.Add(vmlinux(e, want()), true)
		f.Add(append(make([]byte, 64), encode(e, want(), 64)...), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, x86 bool) {
		a := arch.AArch64
		if x86 {
			a = arch.X86_64
		}
		tab, err := kallsyms.Parse(b, a)
		if (err == nil) == (tab == nil) {
			t.Fatal("an error and a table, or neither")
		}
		if tab != nil {
			for s := range tab.All() {
				tab.Nearest(s.Addr)
				tab.FileOffset(s.Addr)
			}
		}
	})
}
