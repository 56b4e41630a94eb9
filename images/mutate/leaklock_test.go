package mutate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Where the routines of the test kernel are.
var leakSymbols = []kerneltest.Symbol{
	{Off: 0, Type: 'T', Name: "_text"}, {Off: 0, Type: 'T', Name: "start_kernel"},
	{Off: 0x40, Type: 't', Name: "locker"}, {Off: 0x80, Type: 't', Name: "after"},
	{Off: 0x100, Type: 'T', Name: "mutex_unlock"}, {Off: 0x110, Type: 'T', Name: "up_read"}, {Off: 0x120, Type: 'T', Name: "_raw_spin_unlock"},
	{Off: 0x130, Type: 'T', Name: "_raw_spin_unlock_irqrestore"}, {Off: 0x140, Type: 'T', Name: "other"},
}

// leakKernel has one function, locker, with the given body; sites are its
// offsets in .call_sites and in .return_sites.
func leakKernel(t *testing.T, body []byte, calls, rewritten []uint64) []byte {
	t.Helper()
	if len(body) > 0x40 {
		t.Fatalf("body of %d bytes", len(body))
	}
	code := bytes.Repeat([]byte{0xcc}, 0x200)
	copy(code[0x40:], body)
	syms := slices.Clone(leakSymbols)
	for i := range 60 { // fewer are no symbol table
		syms = append(syms, kerneltest.Symbol{Off: 0x150 + uint64(i), Type: 't', Name: "filler"})
	}
	syms = append(syms, kerneltest.Symbol{Off: 0x30000, Type: 'T', Name: "_end"})
	list := func(at uint64, offs []uint64) []byte {
		var b []byte
		for i, o := range offs {
			b = binary.LittleEndian.AppendUint32(b, uint32(text+0x40+o-(at+4*uint64(i))))
		}
		return b
	}
	return kerneltest.ELF(2, 62,
		kerneltest.Section{Name: ".text", Type: 1, Flags: 6, Addr: text, Data: code},
		kerneltest.Section{Name: ".call_sites", Type: 1, Flags: 2, Addr: text + 0x10000, Data: list(text+0x10000, calls)},
		kerneltest.Section{Name: ".return_sites", Type: 1, Flags: 2, Addr: text + 0x11000, Data: list(text+0x11000, rewritten)},
		kerneltest.Section{Name: ".rodata", Type: 1, Flags: 2, Addr: text + 0x20000, Data: kerneltest.Kallsyms(text, syms)},
		kerneltest.Section{Name: ".notes", Type: 7, Flags: 2, Addr: text + 0x40000, Data: append(kerneltest.Notes(true), kerneltest.Banner+"\n"...)},
	)
}

// x86Body assembles: each part is bytes, or a branch's opcode and its target.
type rel struct {
	op byte // 0xe8 call, 0xe9 jmp
	to string
}

func x86Body(t *testing.T, parts ...any) []byte {
	t.Helper()
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case rel:
			b = binary.LittleEndian.AppendUint32(append(b, p.op), uint32(offsetOf(t, p.to)-(0x40+int64(len(b))+5)))
		}
	}
	return b
}

func offsetOf(t *testing.T, name string) int64 {
	t.Helper()
	for _, s := range leakSymbols {
		if s.Name == name {
			return int64(s.Off)
		}
	}
	t.Fatalf("no symbol %s", name)
	return 0
}

const (
	endbr = "\xf3\x0f\x1e\xfa"
	// mov $0xe8e8e8e8, %eax: bytes that look like calls, and are none.
	decoy = "\xb8\xe8\xe8\xe8\xe8"
	ret   = "\xc3"
	nop5  = "\x0f\x1f\x44\x00\x00"
)

func TestLeakLockX86(t *testing.T) {
	call := func(to string) rel { return rel{0xe8, to} }
	jmp := func(to string) rel { return rel{0xe9, to} }
	for name, tc := range map[string]struct {
		parts            []any
		calls, rewritten []uint64
		off              uint64
		unlock, code     string
		refused          string
	}{
		"call":                   {parts: []any{endbr, decoy, call("other"), call("mutex_unlock"), ret}, off: 14, unlock: "mutex_unlock", code: nop5},
		"tail call":              {parts: []any{decoy, jmp("mutex_unlock")}, off: 5, unlock: "mutex_unlock", code: "\xc3\xcc\xcc\xcc\xcc"},
		"first of two":           {parts: []any{call("mutex_unlock"), ret, call("mutex_unlock"), ret}, off: 0, unlock: "mutex_unlock", code: nop5},
		"mutex before others":    {parts: []any{call("_raw_spin_unlock"), call("up_read"), call("mutex_unlock"), ret}, off: 10, unlock: "mutex_unlock", code: nop5},
		"semaphore before spin":  {parts: []any{call("_raw_spin_unlock"), call("up_read"), ret}, off: 5, unlock: "up_read", code: nop5},
		"interrupts last":        {parts: []any{call("_raw_spin_unlock_irqrestore"), call("_raw_spin_unlock"), ret}, off: 5, unlock: "_raw_spin_unlock", code: nop5},
		"interrupts only":        {parts: []any{call("_raw_spin_unlock_irqrestore"), ret}, off: 0, unlock: "_raw_spin_unlock_irqrestore", code: nop5},
		"call depth tracking":    {parts: []any{call("mutex_unlock"), ret}, calls: []uint64{0}, off: 0, unlock: "mutex_unlock", code: nop5},
		"the next, if rewritten": {parts: []any{call("mutex_unlock"), call("mutex_unlock"), ret}, rewritten: []uint64{0}, off: 5, unlock: "mutex_unlock", code: nop5},
		// A call before bytes that cannot be read is sure.
		"unread behind":  {parts: []any{call("up_read"), "\x06", call("mutex_unlock")}, off: 0, unlock: "up_read", code: nop5},
		"unread before":  {parts: []any{"\x06", call("mutex_unlock")}, refused: "the instruction at +0x0 cannot be decoded"},
		"none":           {parts: []any{decoy, call("other"), ret}, refused: "calls none of mutex_unlock"},
		"all rewritten":  {parts: []any{call("mutex_unlock"), ret}, rewritten: []uint64{0}, refused: "its call of mutex_unlock at +0x0 at boot (.return_sites)"},
		"indirect":       {parts: []any{"\xff\x15\x00\x00\x00\x00", ret}, refused: "calls none of"},
		"cut off":        {parts: []any{strings.Repeat("\x90", 0x3e), "\xe8\x00"}, refused: "cannot be decoded"},
		"short jump":     {parts: []any{"\xeb\x00", ret}, refused: "calls none of"},
		"in an operand":  {parts: []any{"\x48\xb8\xe8\xba\x00\x00\x00\x00\x00\x00", ret}, refused: "calls none of"},
		"behind a ret":   {parts: []any{ret, call("up_read")}, off: 1, unlock: "up_read", code: nop5},
		"jump to itself": {parts: []any{rel{0xe9, "locker"}}, refused: "calls none of"},
	} {
		t.Run(name, func(t *testing.T) {
			b := leakKernel(t, x86Body(t, tc.parts...), tc.calls, tc.rewritten)
			tab := parse(t, b, arch.X86_64)
			out, truth, err := Patch(b, arch.X86_64, tab, "locker", LeakLock)
			if tc.refused != "" {
				var refused *RefusedError
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), tc.refused) {
					t.Fatalf("error %v, want %q", err, tc.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := bytes.Clone(b)
			off, _ := tab.FileOffset(text + 0x40 + tc.off)
			copy(want[off:], tc.code)
			if !bytes.Equal(out, want) {
				t.Errorf("the change is not %x at +%#x: %+v", tc.code, tc.off, truth)
			}
			if truth.Unlock != tc.unlock || truth.CallOffset != tc.off || truth.PatchAddress != text+0x40+tc.off || truth.Fault != "leak-lock" {
				t.Errorf("truth %+v", truth)
			}
		})
	}
}

func TestLeakLockARM64(t *testing.T) {
	tab := parse(t, leakKernel(t, nil, nil, nil), arch.X86_64) // any table with these symbols
	const nop, paciasp, autiasp, ret, cbz = 0xd503201f, 0xd503233f, 0xd50323bf, 0xd65f03c0, 0xb4000040
	branchTo := func(op uint32, at int, to string) uint32 {
		return op | uint32((offsetOf(t, to)-(0x40+4*int64(at)))>>2)&0x3ffffff
	}
	const bl, b = 0x94000000, 0x14000000
	for name, tc := range map[string]struct {
		body    []uint32
		off     int
		code    uint32
		unlock  string
		refused string
	}{
		"call":        {body: []uint32{paciasp, branchTo(bl, 1, "other"), branchTo(bl, 2, "mutex_unlock"), ret}, off: 8, code: nop, unlock: "mutex_unlock"},
		"tail call":   {body: []uint32{autiasp, branchTo(b, 1, "up_read")}, off: 4, code: ret, unlock: "up_read"},
		"unknown":     {body: []uint32{0x00000001, branchTo(bl, 1, "up_read"), ret}, off: 4, code: nop, unlock: "up_read"},
		"conditional": {body: []uint32{cbz, 0x54000640 /* b.eq mutex_unlock */, ret}, refused: "calls none of"},
		"none":        {body: []uint32{branchTo(bl, 0, "other"), ret}, refused: "calls none of"},
	} {
		t.Run(name, func(t *testing.T) {
			f := function{addr: text + 0x40, body: words(tc.body...), t: &tables{machine: &aarch64, table: tab}}
			c, err := LeakLock.change(f)
			if tc.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tc.refused) {
					t.Fatalf("change %+v, error %v, want %q", c, err, tc.refused)
				}
				return
			}
			if err != nil || c.off != tc.off || c.unlock != tc.unlock || !bytes.Equal(c.code, words(tc.code)) {
				t.Errorf("change %+v, %v", c, err)
			}
		})
	}
}

func TestLeakLockNeedsRoutines(t *testing.T) {
	b := x86(t, nil)
	_, _, err := Patch(b, arch.X86_64, parse(t, b, arch.X86_64), "both", LeakLock)
	if err == nil || !strings.Contains(err.Error(), "no routine that releases a lock") {
		t.Errorf("error %v", err)
	}
}

// Whatever a function's bytes are, the change lies inside it.
func FuzzLeakLock(f *testing.F) {
	f.Add([]byte("\xf3\x0f\x1e\xfa\xe8\xb7\x00\x00\x00\xc3"), true)
	f.Add([]byte("\x1f\x20\x03\xd5\x2f\x00\x00\x94"), false)
	f.Fuzz(func(t *testing.T, body []byte, x86 bool) {
		m := &aarch64
		if x86 {
			m = &x86_64
		}
		fn := function{addr: text, body: body, t: &tables{machine: m}}
		for b, err := range fn.branches() {
			if err == nil && (b.off < 0 || b.len <= 0 || b.off+b.len > len(body) || len(m.without(b)) != b.len) {
				t.Fatalf("branch %+v of %d bytes, replaced by %x", b, len(body), m.without(b))
			}
		}
	})
}
