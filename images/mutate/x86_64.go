package mutate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sort"
	"strings"

	"golang.org/x/arch/x86/x86asm"

	"github.com/unwedge/unwedge/scenarios/arch"
)

var x86_64 = machine{
	arch: arch.X86_64, elf: true,
	entry: entryX86, branch: branchX86, without: withoutX86, returns: returnX86, sleep: sleepX86,
	code: map[fixed][]byte{
		"spin": {0xeb, 0xfe}, // jmp .
		// cli; jmp to it. Both are in the loop, so that a CPU that resumes inside it by
		// an NMI masks interrupts again.
		"spin-irqs-off": {0xfa, 0xeb, 0xfd},
		"crash":         {0x0f, 0x0b}, // ud2
		// push 0; push 0; lidt [rsp]; int3, with no vector left for it
		"reset": {0x6a, 0x00, 0x6a, 0x00, 0x0f, 0x01, 0x1c, 0x24, 0xcc},
	},
	sites: []siteTable{
		// arch/x86/kernel/alternative.c: apply_returns, apply_retpolines,
		// patch_call_sites, apply_paravirt, alternatives_smp_lock.
		{name: ".return_sites", section: ".return_sites", entry: 4, site: relative(5)},
		{name: ".retpoline_sites", section: ".retpoline_sites", entry: 4, site: relative(6)},
		{name: callSites, section: callSites, entry: 4, site: relative(5)},
		{name: ".smp_locks", section: ".smp_locks", entry: 4, site: relative(1)},
		{name: ".parainstructions", section: ".parainstructions", entry: 16,
			site: func(e []byte, _ uint64) (uint64, int) { return le.Uint64(e), int(e[9]) }},
		// struct alt_instr: 12 bytes, 13 with padlen (5.10), 14 since 6.3; the
		// length of the original code is the byte before the last, or the one
		// before that with padlen.
		{name: ".altinstructions", section: ".altinstructions"},
		// kernel/static_call_inline.c, include/linux/static_call_types.h
		{name: "static calls", start: "__start_static_call_sites", stop: "__stop_static_call_sites", entry: 8, site: relative(5)},
		// kernel/jump_label.c, struct jump_entry with HAVE_ARCH_JUMP_LABEL_RELATIVE
		{name: "jump labels", start: "__start___jump_table", stop: "__stop___jump_table", entry: 16, site: relative(5)},
	},
}

// entryX86: endbr64 (CONFIG_X86_KERNEL_IBT), then `call __fentry__`, which boot
// turns into a nop, or that nop of 5 bytes (CONFIG_FUNCTION_TRACER).
func entryX86(t *tables, body []byte, addr uint64) int {
	n := 0
	if bytes.HasPrefix(body, []byte{0xf3, 0x0f, 0x1e, 0xfa}) {
		n = 4
	}
	rest := body[n:]
	if bytes.HasPrefix(rest, []byte{0x0f, 0x1f, 0x44, 0x00, 0x00}) {
		return n + 5
	}
	if len(rest) >= 5 && rest[0] == 0xe8 {
		target := addr + uint64(n) + 5 + uint64(int64(int32(binary.LittleEndian.Uint32(rest[1:]))))
		if fentry, ok := t.table.Lookup("__fentry__"); ok && target == fentry {
			return n + 5
		}
	}
	return n
}

func returnX86(value int) []byte {
	if value == 0 {
		return []byte{0x31, 0xc0, 0xc3} // xor eax,eax; ret
	}
	return append(le.AppendUint32([]byte{0x48, 0xc7, 0xc0}, uint32(int32(value))), 0xc3) // mov rax,imm32; ret
}

// sleepX86 moves the stack pointer to where the kernel's unwinder looks for it
// at the call, so that a backtrace goes on to the function's callers.
func sleepX86(at site, to uint64) ([]byte, error) {
	const end = 14 // of the call
	delta := int64(to - (at.addr + end))
	if delta != int64(int32(delta)) {
		return nil, fmt.Errorf("%s is too far away", sleeper)
	}
	b := []byte{0x48, 0x83, 0xec, at.t.orcDepth(at.addr + end - 1)} // sub rsp, imm8
	b = le.AppendUint32(append(b, 0xbf), 0x7fffffff)                // mov edi, 2^31-1 ms
	b = le.AppendUint32(append(b, 0xe8), uint32(int32(delta)))      // call
	return append(b, 0xeb, 0xf4), nil                               // jmp to the mov
}

func withoutX86(b branch) []byte {
	if b.jump {
		return []byte{0xc3, 0xcc, 0xcc, 0xcc, 0xcc}[:b.len] // ret; int3 is not reached
	}
	return []byte{0x0f, 0x1f, 0x44, 0x00, 0x00} // nopl 0(%rax,%rax,1)
}

// branchX86 decodes one instruction; target is 0 where it is no branch. Of the
// near calls and jumps only those of 5 bytes can reach another function.
func branchX86(f function, off int) (branch, error) {
	const endbr64 = "\xf3\x0f\x1e\xfa" // the decoder does not know it
	code := f.body[off:]
	if strings.HasPrefix(string(code[:min(len(code), 4)]), endbr64) {
		return branch{off: off, len: len(endbr64)}, nil
	}
	in, err := x86asm.Decode(code, 64)
	if err != nil {
		return branch{}, err
	}
	if in.Op == 0 || in.Len <= 0 { // a prefix of what it does not know
		return branch{}, x86asm.ErrUnrecognized
	}
	b := branch{off: off, len: in.Len, jump: in.Op == x86asm.JMP}
	if rel, ok := in.Args[0].(x86asm.Rel); ok && in.Len == 5 && (b.jump || in.Op == x86asm.CALL) {
		b.target = f.addr + uint64(off+in.Len) + uint64(int64(rel))
	}
	return b, nil
}

// orcDepth returns how many bytes a function has pushed behind its return
// address at an instruction, as the kernel's own unwind table has it
// (CONFIG_UNWINDER_ORC; arch/x86/include/asm/orc_types.h): .orc_unwind_ip is
// sorted at build time (scripts/sorttable.c) and holds self-relative 32-bit
// addresses, .orc_unwind the entries of 6 bytes. 0 where it is not known, not
// counted from the stack pointer, or more than an imm8.
func (t *tables) orcDepth(ip uint64) byte {
	const entrySize, regSP, maxDepth = 6, 5, 127
	ips, addr, ok := t.bytes(siteTable{start: "__start_orc_unwind_ip", stop: "__stop_orc_unwind_ip"})
	entries, _, ok2 := t.bytes(siteTable{start: "__start_orc_unwind", stop: "__stop_orc_unwind"})
	n := len(ips) / 4
	if !ok || !ok2 || n == 0 || len(entries) < n*entrySize {
		return 0
	}
	i := sort.Search(n, func(i int) bool { return rel32(ips[4*i:], addr+4*uint64(i)) > ip }) - 1
	if i < 0 {
		return 0
	}
	e := entries[i*entrySize:]
	depth := int(int16(le.Uint16(e))) - 8 // without the return address
	if e[4]&0xf != regSP || depth < 0 || depth > maxDepth {
		return 0
	}
	return byte(depth)
}
