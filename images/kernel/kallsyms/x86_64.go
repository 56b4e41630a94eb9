package kallsyms

import (
	"github.com/unwedge/unwedge/images/kernel/elf64"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var x86_64 = machine{arch: arch.X86_64, elf: true, bases: elfBases}

func elfBases(b []byte, f *elf64.File, _ []Symbol, _ []int64, at offsetTable, m addressing) (base, image uint64, ok bool) {
	if m == pcRelative {
		base, ok = f.Addr(uint64(at.off))
		return base, 0, ok
	}
	if at.base < 0 || at.base+8 > len(b) {
		return 0, 0, false
	}
	return le.Uint64(b[at.base:]), 0, true
}
