package user

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/internal/guestmem/user/object"
	"github.com/unwedge/unwedge/harness/internal/guestmem/user/procmem"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// fake is a process with a program at text and a stack.
type fake struct {
	maps []procmem.Mapping
	mem  map[uint64][]byte // by the start of a mapping
}

const (
	text     = 0x400000
	textSize = 0x2000
	stack    = 0x7fff0000
)

var errFault = errors.New("not mapped")

func (f *fake) Find(addr uint64) *procmem.Mapping {
	for i := range f.maps {
		if f.maps[i].Contains(addr) {
			return &f.maps[i]
		}
	}
	return nil
}

func (f *fake) Read(addr uint64, p []byte) error {
	m := f.Find(addr)
	if m == nil || uint64(len(p)) > m.End-addr {
		return errFault
	}
	copy(p, f.mem[m.Start][addr-m.Start:])
	return nil
}

func (f *fake) put(addr uint64, words ...uint64) {
	m := f.Find(addr)
	for i, w := range words {
		binary.LittleEndian.PutUint64(f.mem[m.Start][addr-m.Start+8*uint64(i):], w)
	}
}

// fakeProcess is a process whose program is a Go one, or no ELF at all.
func fakeProcess(a arch.Arch, isGo bool) *fake {
	f := &fake{
		maps: []procmem.Mapping{
			{Start: text, End: text + textSize, Flags: procmem.Read | procmem.Exec, Name: "/prog"},
			{Start: stack, End: stack + 0x1000, Flags: procmem.Read | procmem.Write, Name: "[stack]"},
		},
		mem: map[uint64][]byte{text: make([]byte, textSize), stack: make([]byte, 0x1000)},
	}
	if !isGo {
		return f
	}
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Phoff: 64, Phentsize: 56, Phnum: 2}
	if a == arch.AArch64 {
		h.Machine = uint16(elf.EM_AARCH64)
	}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	var b bytes.Buffer
	for _, v := range []any{
		h, elf.Prog64{Type: uint32(elf.PT_LOAD), Vaddr: text, Memsz: textSize, Filesz: textSize},
		elf.Prog64{Type: uint32(elf.PT_NOTE), Vaddr: text + 0x200, Memsz: 20},
		make([]byte, 0x200-64-2*56), []uint32{4, 4, 4}, []byte("Go\x00\x00wxyz"),
	} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	copy(f.mem[text], b.Bytes())
	return f
}

func (f *fake) walk(a arch.Arch, u *model.UserRegs) *Stack {
	r := &Reader{layout: &Layout{isa: isa.Of(a)}, symbols: map[uint64]object.Symbols{}, left: maxSymbols}
	bits := uint(47)
	if a == arch.AArch64 {
		bits = 48
	}
	w := r.newWalk(context.Background(), f, f.maps, bits)
	w.run(u)
	return w.out
}

func lines(s *Stack) string { return strings.Join(s.Lines(), "\n") }

// chain puts frame records on the stack, from at on.
func (f *fake) chain(at uint64, returns ...uint64) {
	for i, r := range returns {
		next := at + 0x20
		if i == len(returns)-1 {
			next = 0
		}
		f.put(at, next, r)
		at = next
	}
}

// call puts a direct call of text+0x1000 before text+0x1100.
func (f *fake) call(a arch.Arch) {
	code := f.mem[text][0x1000:]
	if a == arch.X86_64 {
		code[0xfb] = 0xe8
		binary.LittleEndian.PutUint32(code[0xfc:], 0xffffff00)
		return
	}
	binary.LittleEndian.PutUint32(code[0xfc:], 0x25<<26|-0xfc/4&0x3ffffff)
}

// signature is a pointer authentication code, in the bits above an address.
const signature = 0x0031 << 48

// entry are registers in a system call of text+0x1000.
func entry(a arch.Arch) *model.UserRegs {
	if a == arch.X86_64 {
		return &model.UserRegs{PC: text + 0x1010, SP: stack + 0x100, FP: stack + 0x120}
	}
	return &model.UserRegs{PC: text + 0x1010, SP: stack + 0x128, FP: stack + 0x120, LR: signature | text + 0x1100}
}

func TestGo(t *testing.T) {
	for _, a := range []arch.Arch{arch.X86_64, arch.AArch64} {
		t.Run(string(a), func(t *testing.T) {
			f := fakeProcess(a, true)
			f.call(a)
			f.put(stack+0x100, text+0x1100)
			f.chain(stack+0x120, text+0x1200, text+0x1300)
			const want = "prog+0x401010\nprog+0x401100\nprog+0x401200\nprog+0x401300"
			if diff := cmp.Diff(want, lines(f.walk(a, entry(a)))); diff != "" {
				t.Errorf("(- want, + got)\n%s", diff)
			}
			// Without the call, the return address may be anything.
			clear(f.mem[text][0x1000:])
			const without = "prog+0x401010\nprog+0x401200\nprog+0x401300"
			if diff := cmp.Diff(without, lines(f.walk(a, entry(a)))); diff != "" {
				t.Errorf("without a call (- want, + got)\n%s", diff)
			}
		})
	}
}

func TestGuesses(t *testing.T) {
	for _, a := range []arch.Arch{arch.X86_64, arch.AArch64} {
		t.Run(string(a), func(t *testing.T) {
			f := fakeProcess(a, false)
			f.chain(stack+0x120, signature|text+0x1200, text+0x1300)
			if a == arch.X86_64 {
				f.put(stack+0x128, text+0x1200)
			}
			s := f.walk(a, entry(a))
			const want = "/prog+0x1010\n? /prog+0x1200\n? /prog+0x1300"
			if diff := cmp.Diff(want, lines(s)); diff != "" || len(s.Problems) == 0 {
				t.Errorf("problems %q (- want, + got)\n%s", s.Problems, diff)
			}
		})
	}
}

func TestEnds(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(*fake, *model.UserRegs)
		want   string
	}{
		"circle":         {func(f *fake, _ *model.UserRegs) { f.put(stack+0x140, stack+0x120) }, "leads nowhere"},
		"no code":        {func(f *fake, _ *model.UserRegs) { f.put(stack+0x148, stack) }, "is not code"},
		"nothing mapped": {func(f *fake, _ *model.UserRegs) { f.put(stack+0x148, 0x1234) }, "0x1234 is not code"},
		"jump to data":   {func(_ *fake, u *model.UserRegs) { u.PC = stack }, "is not code"},
		"many": {func(f *fake, _ *model.UserRegs) {
			for at := uint64(stack + 0x120); at < stack+0xff0; at += 16 {
				f.put(at, at+16, text+0x1200)
			}
		}, "stopped after"},
	} {
		t.Run(name, func(t *testing.T) {
			f, u := fakeProcess(arch.X86_64, true), entry(arch.X86_64)
			f.chain(stack+0x120, text+0x1200, text+0x1300)
			c.damage(f, u)
			if s := f.walk(arch.X86_64, u); !strings.Contains(s.End, c.want) || len(s.Frames) > maxFrames {
				t.Errorf("%d frames, the end is %q, want %q", len(s.Frames), s.End, c.want)
			}
		})
	}
}

// FuzzWalk wants an end.
func FuzzWalk(f *testing.F) {
	f.Add([]byte{}, []byte{}, uint64(text+0x1010), uint64(stack), uint64(stack+0x120))
	f.Fuzz(func(t *testing.T, code, words []byte, pc, sp, fp uint64) {
		for _, a := range []arch.Arch{arch.X86_64, arch.AArch64} {
			for _, isGo := range []bool{false, true} {
				p := fakeProcess(a, isGo)
				copy(p.mem[text][64:], code)
				copy(p.mem[stack], words)
				if s := p.walk(a, &model.UserRegs{PC: pc, SP: sp, FP: fp, LR: fp}); len(s.Frames) > maxFrames {
					t.Fatalf("%d frames", len(s.Frames))
				}
			}
		}
	})
}
