package ehframe_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem/user/ehframe"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var le = binary.LittleEndian

// memory is bytes at base.
type memory struct {
	base uint64
	b    []byte
}

var errFault = errors.New("not mapped")

func (m memory) Read(addr uint64, p []byte) error {
	off := addr - m.base
	if off > uint64(len(m.b)) || uint64(len(p)) > uint64(len(m.b))-off {
		return errFault
	}
	copy(p, m.b[off:])
	return nil
}

// The fake object: code at text, .eh_frame_hdr at base, .eh_frame behind it, and
// a stack.
const (
	base  = 0x7f0000000000
	text  = base + 0x10000
	frame = base + 0x1000
	stack = base + 0x2000
)

type function struct {
	start, size uint64
	program     []byte
}

// object makes the sections of functions, which are in order. common is the
// CIE's program, letters follow the z and the R of its augmentation.
func object(common []byte, letters string, fns ...function) memory {
	m := memory{base, make([]byte, 0x3000)}
	put := func(at uint64, b []byte) uint64 { return at + uint64(copy(m.b[at-base:], b)) }
	at := uint64(frame)
	record := func(body []byte) uint64 {
		for len(body)%4 != 0 {
			body = append(body, 0) // DW_CFA_nop
		}
		begin := at
		at = put(at, le.AppendUint32(nil, uint32(len(body))))
		at = put(at, body)
		return begin
	}
	augmentation := []byte("zR" + letters + "\x00")
	// CIE: id, version 1, augmentation, code and data alignment, return
	// address, augmentation data: the encoding of pointers, pcrel|sdata4.
	cie := append([]byte{0, 0, 0, 0, 1}, augmentation...)
	cie = append(cie, 1, 0x78, 16, 1, 0x1b)
	cieAt := record(append(cie, common...))
	hdr := []byte{1, 0x1b, 0x03, 0x3b}
	hdr = le.AppendUint32(hdr, uint32(frame-(base+4)))
	hdr = le.AppendUint32(hdr, uint32(len(fns)))
	for _, f := range fns {
		body := le.AppendUint32(nil, uint32(at+4-cieAt))
		body = le.AppendUint32(body, uint32(f.start-(at+8)))
		body = le.AppendUint32(body, uint32(f.size))
		body = append(body, 0) // no augmentation data
		hdr = le.AppendUint32(hdr, uint32(f.start-base))
		hdr = le.AppendUint32(hdr, uint32(at-base))
		record(append(body, f.program...))
	}
	record(nil)
	put(base, hdr)
	return m
}

func (m memory) word(at, v uint64) { le.PutUint64(m.b[at-m.base:], v) }

// entry are the rules at every x86_64 function's first instruction: the CFA is
// rsp+8, the return address is below it.
var entry = []byte{0x0c, 7, 8, 0x80 | 16, 1}

// pushes is `push rbp; mov rbp, rsp`: advance 1, CFA offset 16, rbp at CFA-16,
// advance 3, CFA register rbp; and at 0x10, the leave, advance 12, CFA rsp+8.
var pushes = []byte{0x41, 0x0e, 16, 0x80 | 6, 2, 0x43, 0x0d, 6, 0x4c, 0x0c, 7, 8, 0xc0 | 6}

func TestStep(t *testing.T) {
	m := object(entry, "", function{text, 0x20, pushes})
	m.word(stack+0x00, 0x1111) // saved rbp
	m.word(stack+0x08, 0x2222) // return address
	table, err := ehframe.Open(m, isa.Of(arch.X86_64), base)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		pc     uint64
		sp, bp uint64
		wantSP uint64
		wantBP uint64
	}{
		{name: "first instruction", pc: text, sp: stack + 8, bp: 0x1111, wantSP: stack + 16, wantBP: 0x1111},
		{name: "behind the push", pc: text + 1, sp: stack, bp: 0x1111, wantSP: stack + 16, wantBP: 0x1111},
		{name: "in the body", pc: text + 8, sp: stack - 0x80, bp: stack, wantSP: stack + 16, wantBP: 0x1111},
		{name: "behind the leave", pc: text + 0x10, sp: stack + 8, bp: 0x1111, wantSP: stack + 16, wantBP: 0x1111},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := table.Find(c.pc)
			if err != nil {
				t.Fatal(err)
			}
			r := ehframe.Registers{PC: c.pc}
			r.Set(7, c.sp)
			r.Set(6, c.bp)
			next, err := f.Step(m, &r, c.pc)
			if err != nil {
				t.Fatal(err)
			}
			bp, _ := next.Get(6)
			if sp, _ := next.Get(7); next.PC != 0x2222 || sp != c.wantSP || bp != c.wantBP {
				t.Errorf("caller is at %#x, sp %#x, bp %#x; want 0x2222, %#x, %#x", next.PC, sp, bp, c.wantSP, c.wantBP)
			}
		})
	}
}

func TestFind(t *testing.T) {
	m := object(entry, "", function{text, 0x20, nil}, function{text + 0x20, 0x10, nil}, function{text + 0x100, 8, nil})
	table, err := ehframe.Open(m, isa.Of(arch.X86_64), base)
	if err != nil {
		t.Fatal(err)
	}
	scanned, err := ehframe.Scan(m, isa.Of(arch.X86_64), frame, 0x200)
	if err != nil {
		t.Fatal(err)
	}
	for pc, want := range map[uint64]uint64{
		text: text, text + 0x1f: text, text + 0x20: text + 0x20, text + 0x107: text + 0x100,
		text - 1: 0, text + 0x30: 0, text + 0x108: 0,
	} {
		for name, tab := range map[string]*ehframe.Table{"search table": table, "scan": scanned} {
			f, err := tab.Find(pc)
			if want == 0 && !errors.Is(err, ehframe.ErrNoEntry) || want != 0 && (err != nil || f.Start != want) {
				t.Errorf("%s: %#x is in the function at %#x (%v), want %#x", name, pc, f.Start, err, want)
			}
		}
	}
}

func TestOutermost(t *testing.T) {
	m := object(entry, "", function{text, 0x20, []byte{0x07, 16}}) // DW_CFA_undefined rip
	table, err := ehframe.Open(m, isa.Of(arch.X86_64), base)
	if err != nil {
		t.Fatal(err)
	}
	f, err := table.Find(text)
	if err != nil {
		t.Fatal(err)
	}
	r := ehframe.Registers{PC: text}
	r.Set(7, stack)
	if _, err := f.Step(m, &r, text); !errors.Is(err, ehframe.ErrOutermost) {
		t.Errorf("got %v, want ErrOutermost", err)
	}
}

// TestExpression has the CFA that the linker writes for an x86_64 PLT:
// rsp + 8 + (((rip & 15) >= 11) << 3).
func TestExpression(t *testing.T) {
	plt := []byte{0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22}
	m := object(entry, "S", function{text, 0x20, plt})
	m.word(stack, 0xaaaa)
	m.word(stack+8, 0xbbbb)
	table, err := ehframe.Open(m, isa.Of(arch.X86_64), base)
	if err != nil {
		t.Fatal(err)
	}
	for pc, want := range map[uint64]uint64{text + 3: 0xaaaa, text + 0xb: 0xbbbb} {
		f, err := table.Find(pc)
		if err != nil {
			t.Fatal(err)
		}
		if !f.Signal {
			t.Error("the S of the augmentation was not seen")
		}
		r := ehframe.Registers{PC: pc}
		r.Set(7, stack)
		if next, err := f.Step(m, &r, pc); err != nil || next.PC != want {
			t.Errorf("the caller of %#x is at %#x (%v), want %#x", pc, next.PC, err, want)
		}
	}
}

func TestMissingMemory(t *testing.T) {
	m := object(entry, "", function{text, 0x20, pushes})
	table, err := ehframe.Open(m, isa.Of(arch.X86_64), base)
	if err != nil {
		t.Fatal(err)
	}
	f, err := table.Find(text + 8)
	if err != nil {
		t.Fatal(err)
	}
	r := ehframe.Registers{PC: text + 8}
	if _, err := f.Step(m, &r, text+8); err == nil {
		t.Error("a frame without a frame pointer was unwound")
	}
	r.Set(6, 0x1000)
	if _, err := f.Step(m, &r, text+8); !errors.Is(err, errFault) {
		t.Errorf("got %v, want the error of memory", err)
	}
	m.b = m.b[:8]
	if _, err := ehframe.Open(m, isa.Of(arch.X86_64), base); !errors.Is(err, errFault) {
		t.Errorf("got %v, want the error of memory", err)
	}
}

// FuzzStep wants an end, and nothing of an error's.
func FuzzStep(f *testing.F) {
	f.Add(object(entry, "", function{text, 0x20, pushes}).b, uint64(8))
	f.Add(object(entry, "S", function{text, 0x20, []byte{0x0f, 3, 0x77, 8, 0x06}}).b, uint64(3))
	f.Add(object(entry, "", function{text, 0x20, []byte{0x0f, 3, 0x2f, 0xfd, 0xff}}).b, uint64(3)) // skip back for ever
	f.Fuzz(func(t *testing.T, b []byte, off uint64) {
		if len(b) > 1<<16 {
			return
		}
		m := memory{base, b}
		pc := text + off%0x1000
		for _, a := range []arch.Arch{arch.X86_64, arch.AArch64} {
			var tables []*ehframe.Table
			if table, err := ehframe.Open(m, isa.Of(a), base); err == nil {
				tables = append(tables, table)
			}
			if table, err := ehframe.Scan(m, isa.Of(a), frame, uint64(len(b))); err == nil {
				tables = append(tables, table)
			}
			for _, table := range tables {
				fn, err := table.Find(pc)
				if err != nil {
					continue
				}
				if pc < fn.Start || pc >= fn.End {
					t.Fatalf("%#x is not in %#x-%#x", pc, fn.Start, fn.End)
				}
				r := ehframe.Registers{PC: pc}
				for i := range 32 {
					r.Set(i, stack)
				}
				if next, err := fn.Step(m, &r, pc); err != nil && next != (ehframe.Registers{}) {
					t.Fatalf("registers beside the error %v", err)
				}
			}
		}
	})
}
