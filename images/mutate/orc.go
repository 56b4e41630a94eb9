package mutate

import "sort"

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
