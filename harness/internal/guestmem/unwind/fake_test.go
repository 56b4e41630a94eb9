package unwind_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem/unwind"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// fakeMemory is memory made of pages; reads of others fail.
type fakeMemory map[uint64]*[4096]byte

var errNoPage = errors.New("no page")

func (m fakeMemory) Read(a uint64, p []byte) error {
	for len(p) > 0 {
		page := m[a>>12]
		if page == nil {
			return errNoPage
		}
		n := copy(p, page[a&4095:])
		p, a = p[n:], a+uint64(n)
	}
	return nil
}

func (m fakeMemory) write(a uint64, b ...byte) {
	for _, c := range b {
		if m[a>>12] == nil {
			m[a>>12] = new([4096]byte)
		}
		m[a>>12][a&4095] = c
		a++
	}
}

func (m fakeMemory) words(a uint64, vs ...uint64) {
	for _, v := range vs {
		m.write(a, binary.LittleEndian.AppendUint64(nil, v)...)
		a += 8
	}
}

func (m fakeMemory) insns(a uint64, vs ...uint32) {
	for _, v := range vs {
		m.write(a, binary.LittleEndian.AppendUint32(nil, v)...)
		a += 4
	}
}

// fakeSymbols are symbols sorted by address.
type fakeSymbols []fakeSymbol

type fakeSymbol struct {
	addr uint64
	name string
}

func (s fakeSymbols) Lookup(name string) (uint64, bool) {
	for _, e := range s {
		if e.name == name {
			return e.addr, true
		}
	}
	return 0, false
}

func (s fakeSymbols) Nearest(a uint64) (string, uint64, uint64, bool) {
	for i, e := range s {
		if i+1 < len(s) && a >= e.addr && a < s[i+1].addr {
			return e.name, a - e.addr, s[i+1].addr - e.addr, true
		}
	}
	return "", 0, 0, false
}

// The functions of the fake kernels, 0x100 bytes each from text on.
const (
	text  = 0xffffffff81000000
	atext = 0xffff800008000000
	data  = 0x100000 // from text to the ORC tables
	stack = 0xffffc90000010000
	top   = stack + 0x4000
	irqs  = 0xffffc90000900000 // another stack
)

var functions = []string{"leaf", "middle", "outer", "entry_SYSCALL_64", "asm_interrupt", "on_irq",
	"undefined", "ret_from_fork", "realigned", "swizzle", "return_to_handler",
	"el0t_64_sync", "el1h_64_irq", "idle"}

func fn(base uint64, name string) uint64 {
	return base + 0x100*uint64(1+slices.Index(functions, name))
}

func symbols(base uint64) fakeSymbols {
	s := fakeSymbols{{base, "_stext"}}
	for _, f := range functions {
		s = append(s, fakeSymbol{fn(base, f), f})
	}
	end := base + 0x100*uint64(1+len(functions))
	return append(s, fakeSymbol{end, "_etext"}, fakeSymbol{end + 0x10, "_end"})
}

// orcForm writes entries in one of the layouts.
type orcForm struct {
	name                                           string
	sp, bp, prev, r10, spInd, bpInd                uint16
	call, regs, partial, endOfStack, undef, signal uint16
}

var orcForms = []orcForm{
	{name: "5.10", prev: 1, bp: 4, sp: 5, r10: 6, bpInd: 8, spInd: 9,
		call: 0, regs: 1 << 8, partial: 2 << 8, endOfStack: 1 << 10},
	{name: "6.3", prev: 1, bp: 4, sp: 5, r10: 6, bpInd: 8, spInd: 9,
		call: 0, regs: 1 << 8, partial: 2 << 8, endOfStack: 1 << 11, signal: 1 << 10},
	{name: "6.4", prev: 1, bp: 4, sp: 5, r10: 6, bpInd: 8, spInd: 9,
		call: 2 << 8, regs: 3 << 8, partial: 4 << 8, endOfStack: 1 << 8, signal: 1 << 11},
	{name: "7", prev: 8, bp: 4, sp: 3, r10: 6, bpInd: 10, spInd: 9,
		call: 2 << 8, regs: 3 << 8, partial: 4 << 8, endOfStack: 1 << 8, signal: 1 << 11},
}

type orcLine struct {
	ip           uint64
	spOff, bpOff int16
	flags        uint16
}

// lines are the fake kernel's tables: enough ordinary entries for the layout
// to be told, then one for each function.
func (f orcForm) lines() []orcLine {
	var out []orcLine
	for i := range uint64(64) { // inside _stext
		out = append(out, orcLine{text + i, 8, 0, f.sp | f.call})
	}
	for _, name := range functions {
		l := orcLine{fn(text, name), 16, 0, f.sp | f.call}
		switch name {
		case "middle": // a frame of its own
			l = orcLine{l.ip, 16, -16, f.bp | f.prev<<4 | f.call}
		case "entry_SYSCALL_64":
			l = orcLine{l.ip, 0, 0, f.sp | f.regs | f.signal}
		case "asm_interrupt":
			l = orcLine{l.ip, 0, 0, f.sp | f.partial | f.signal}
		case "undefined":
			l = orcLine{l.ip, 0, 0, f.undef}
		case "ret_from_fork", "idle":
			l = orcLine{l.ip, 0, 0, f.endOfStack}
		case "realigned":
			l = orcLine{l.ip, -8, -16, f.bpInd | f.prev<<4 | f.call}
		case "swizzle":
			l = orcLine{l.ip, 8, 0, f.spInd | f.call}
		}
		out = append(out, l)
	}
	return out
}

// x86Kernel writes the fake kernel's code and tables.
func x86Kernel(lines []orcLine) (fakeMemory, fakeSymbols) {
	m := fakeMemory{}
	for i := range 0x100 * (1 + len(functions)) / 8 { // call +0; nops
		m.write(text+uint64(8*i), 0x90, 0x90, 0x90, 0xe8, 0, 0, 0, 0)
	}
	ips, ents := uint64(text+data), uint64(text+2*data)
	for i, l := range lines {
		at := ips + uint64(4*i)
		m.insns(at, uint32(l.ip-at))
		b := binary.LittleEndian.AppendUint16(nil, uint16(l.spOff))
		b = binary.LittleEndian.AppendUint16(b, uint16(l.bpOff))
		m.write(ents+uint64(6*i), binary.LittleEndian.AppendUint16(b, l.flags)...)
	}
	n := uint64(len(lines))
	s := append(symbols(text),
		fakeSymbol{ips, "__start_orc_unwind_ip"}, fakeSymbol{ips + 4*n, "__stop_orc_unwind_ip"},
		fakeSymbol{ents, "__start_orc_unwind"}, fakeSymbol{ents + 6*n, "__stop_orc_unwind"})
	for a := uint64(stack); a < top; a += 4096 {
		m.words(a, 0)
	}
	for a := uint64(irqs); a < irqs+0x4000; a += 4096 {
		m.words(a, 0)
	}
	return m, s
}

func newUnwinder(t testing.TB, c unwind.Config) *unwind.Unwinder {
	t.Helper()
	u, err := unwind.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func x86Unwinder(t testing.TB, f orcForm) (*unwind.Unwinder, fakeMemory) {
	t.Helper()
	m, s := x86Kernel(f.lines())
	return newUnwinder(t, unwind.Config{Arch: arch.X86_64, Memory: m, Symbols: s}), m
}

// names are the frames in short: "?" before guesses, "!" before interrupted.
func names(tr unwind.Trace) []string {
	var out []string
	for _, f := range tr.Frames {
		n := f.Name
		if f.Interrupted {
			n = "!" + n
		}
		if !f.Reliable {
			n = "?" + n
		}
		out = append(out, n)
	}
	return out
}
