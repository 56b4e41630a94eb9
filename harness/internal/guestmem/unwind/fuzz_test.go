package unwind_test

import (
	"encoding/binary"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem/unwind"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// counted counts what is read.
type counted struct {
	fakeMemory
	bytes *int
}

func (c counted) Read(a uint64, p []byte) error {
	*c.bytes += len(p) + 1
	return c.fakeMemory.Read(a, p)
}

// FuzzStacks gives the unwinder stacks and registers that an enemy wrote: it
// must end, within bounds, without a panic, and say how it ended.
func FuzzStacks(f *testing.F) {
	m := fakeMemory{}
	s := sleepingInSyscall(m, 1)
	b := make([]byte, 0x1000)
	if m.Read(s.SP, b) == nil {
		f.Add(s.SP, s.SP, ret("leaf"), b)
	}
	f.Add(uint64(stack), uint64(stack+8), aret("leaf"), binary.LittleEndian.AppendUint64(nil, stack))
	f.Add(uint64(irqs), uint64(irqs), ret("swizzle"), []byte{1, 2, 3})
	type kernel struct {
		a   arch.Arch
		mem fakeMemory
		sym fakeSymbols
	}
	var kernels []kernel
	for _, form := range orcForms[1:] {
		m, s := x86Kernel(form.lines())
		kernels = append(kernels, kernel{arch.X86_64, m, s})
	}
	m, sym := arm64Kernel()
	kernels = append(kernels, kernel{arch.AArch64, m, sym})
	f.Fuzz(func(t *testing.T, sp, fp, pc uint64, data []byte) {
		if len(data) > 0x4000 {
			return
		}
		for _, k := range kernels {
			for a := uint64(stack); a < top; a += 4096 {
				k.mem[a>>12] = new([4096]byte)
			}
			k.mem.write(stack, data...)
			n := 0
			u, err := unwind.New(unwind.Config{Arch: k.a, Memory: counted{k.mem, &n}, Symbols: k.sym})
			if err != nil {
				t.Fatal(err)
			}
			rs := unwind.Range{Start: stack, End: top}
			for _, tr := range []unwind.Trace{
				u.Sleeping(unwind.Saved{SP: sp, FP: fp, PC: pc, Stack: rs}),
				u.Sleeping(unwind.Saved{SP: stack, FP: stack, PC: pc}),
				u.Running(model.Registers{PC: pc, SP: sp, FP: fp, LR: sp, General: []uint64{10: fp, 15: 0}}, rs),
			} {
				if tr.End.Kind == "" || tr.End.Kind == unwind.Stopped && tr.End.Why == "" || len(tr.Frames) > 1024 {
					t.Fatalf("%d frames, %+v", len(tr.Frames), tr.End)
				}
			}
			if n > 16<<20 {
				t.Fatalf("%d bytes read", n)
			}
		}
	})
}

// FuzzTables gives it ORC tables that an enemy wrote.
func FuzzTables(f *testing.F) {
	for _, form := range orcForms {
		m, s := x86Kernel(form.lines())
		n, _ := s.Lookup("__stop_orc_unwind")
		b := make([]byte, n-(text+2*data))
		if m.Read(text+2*data, b) == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, table []byte) {
		m, s := x86Kernel(orcForms[0].lines())
		if len(table) > 6*len(orcForms[0].lines()) {
			return
		}
		m.write(text+2*data, table...)
		u, err := unwind.New(unwind.Config{Arch: arch.X86_64, Memory: m, Symbols: s})
		if err != nil {
			t.Fatal(err)
		}
		tr := u.Sleeping(sleepingInSyscall(m, 3))
		if tr.End.Kind == "" || len(tr.Frames) > 1024 {
			t.Fatalf("%d frames, %+v", len(tr.Frames), tr.End)
		}
	})
}
