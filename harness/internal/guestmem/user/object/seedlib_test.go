package object_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem/user/ehframe"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user/object"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/images/seedlib"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// loaded is memory: a library as ld.so maps it, or a stack.
type loaded struct {
	base  uint64
	bytes []byte
}

func (m loaded) Read(addr uint64, p []byte) error {
	if addr < m.base || addr-m.base+uint64(len(p)) > uint64(len(m.bytes)) {
		return os.ErrInvalid
	}
	copy(p, m.bytes[addr-m.base:])
	return nil
}

// The oracle for the file is debug/elf; for the unwinding, what the code does.
func TestALibraryThatNoCompilerMade(t *testing.T) {
	for _, c := range []struct {
		arch    arch.Arch
		machine elf.Machine
		// sp is the stack pointer's number, call where in the constructor the call
		// returns to, caller where above the stack pointer its own return address is.
		sp           int
		call, caller uint64
	}{
		{arch.X86_64, elf.EM_X86_64, 7, 29, 24},
		{arch.AArch64, elf.EM_AARCH64, 31, 36, 8},
	} {
		t.Run(string(c.arch), func(t *testing.T) {
			b, err := seedlib.Build(c.arch)
			if err != nil {
				t.Fatal(err)
			}
			f, err := elf.NewFile(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			if f.Machine != c.machine || f.Type != elf.ET_DYN {
				t.Errorf("%v %v", f.Machine, f.Type)
			}
			m := loaded{0x7f0000000000, make([]byte, 0x11000)}
			for _, p := range f.Progs {
				if p.Type != elf.PT_LOAD {
					continue
				}
				if p.Off%p.Align != p.Vaddr%p.Align {
					t.Errorf("the segment at %#x cannot be loaded from %#x", p.Vaddr, p.Off)
				}
				if _, err := p.ReadAt(m.bytes[p.Vaddr:p.Vaddr+p.Filesz], 0); err != nil {
					t.Fatal(err)
				}
			}
			constructor := relocate(t, f, m)
			o, err := object.Load(m, nil, "/x/other-name", m.base, isa.Of(c.arch))
			if err != nil {
				t.Fatal(err)
			}
			if o.Name != seedlib.Name || len(o.BuildID) != 40 || !o.Constructor(constructor) {
				t.Errorf("name %q, build ID %q, constructor %v", o.Name, o.BuildID, o.Constructor(constructor))
			}
			symbols := o.Symbols()
			if len(symbols) != 1 || symbols[0].Name != seedlib.Function || m.base+symbols[0].Addr+symbols[0].Size != constructor {
				t.Errorf("symbols %+v, and then the constructor at %#x", symbols, constructor)
			}
			frames, err := o.Frames()
			if err != nil {
				t.Fatal(err)
			}
			for _, pc := range []uint64{constructor - 1, constructor, constructor + c.call} {
				fn, err := frames.Find(pc)
				if err != nil || (fn.Start == constructor) != (pc >= constructor) || fn.Start > pc || fn.End <= pc {
					t.Errorf("%#x is in %#x to %#x, %v", pc, fn.Start, fn.End, err)
				}
			}
			stack := loaded{0x7ffe00000000, make([]byte, 64)}
			binary.LittleEndian.PutUint64(stack.bytes[c.caller:], 0x7f1111111111)
			regs := ehframe.Registers{PC: constructor + c.call}
			regs.Set(c.sp, stack.base)
			fn, err := frames.Find(regs.PC)
			if err != nil {
				t.Fatal(err)
			}
			up, err := fn.Step(stack, &regs, regs.PC)
			if sp, _ := up.Get(c.sp); err != nil || up.PC != 0x7f1111111111 || sp != stack.base+32 {
				t.Errorf("the constructor's caller is %#x, its stack pointer %#x, %v", up.PC, sp, err)
			}
		})
	}
}

// relocate does what ld.so does, and returns where the constructor is.
func relocate(t *testing.T, f *elf.File, m loaded) uint64 {
	t.Helper()
	at := func(tag elf.DynTag) uint64 {
		v, err := f.DynValue(tag)
		if err != nil || len(v) != 1 {
			t.Fatalf("%v: %v, %v", tag, v, err)
		}
		return v[0]
	}
	var r elf.Rela64
	if _, err := binary.Decode(m.bytes[at(elf.DT_RELA):], binary.LittleEndian, &r); err != nil {
		t.Fatal(err)
	}
	if r.Off != at(elf.DT_INIT_ARRAY) {
		t.Fatalf("a relocation at %#x, and init_array at %#x", r.Off, at(elf.DT_INIT_ARRAY))
	}
	binary.LittleEndian.PutUint64(m.bytes[r.Off:], m.base+uint64(r.Addend))
	return m.base + uint64(r.Addend)
}
