package plan

import (
	"testing"

	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestLinked(t *testing.T) {
	const base = kerneltest.TextAddr
	syms := []kerneltest.Symbol{{Off: 0, Type: 'T', Name: "_text"}, {Off: 0x10, Type: 'T', Name: "start_kernel"}}
	for i := range 60 {
		syms = append(syms, kerneltest.Symbol{Off: 0x200 + uint64(i), Type: 't', Name: "filler"})
	}
	syms = append(syms, kerneltest.Symbol{Off: 0x8000, Type: 'B', Name: "_end"})
	elf := kerneltest.ELF(2, 62, kerneltest.Section{Name: ".text", Type: 1, Flags: 6, Addr: base, Data: make([]byte, 0x400)},
		kerneltest.Section{Name: ".rodata", Type: 1, Flags: 2, Addr: base + 0x20000, Data: kerneltest.Kallsyms(base, syms)})
	table, err := kallsyms.Parse(elf, arch.X86_64)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		arch     arch.Arch
		pc, want uint64
		ok       bool
	}{
		"as linked":                   {arch.X86_64, base + 0x14, base + 0x14, true},
		"x86, physical":               {arch.X86_64, base + 0x14 - 0xffffffff80000000, base + 0x14, true},
		"arm64, physical":             {arch.AArch64, 0x40200014, base + 0x14, true},
		"behind the kernel":           {arch.X86_64, base + 0x8000, 0, false},
		"a module":                    {arch.X86_64, 0xffffffffc0001234, 0, false},
		"firmware":                    {arch.X86_64, 0xfffff, 0, false},
		"arm64, before the Image":     {arch.AArch64, 0x40000000, 0, false},
		"x86, per-CPU offsets, not 0": {arch.X86_64, 0x1000, 0, false},
	} {
		if got, ok := linked(table, tc.arch, tc.pc); ok != tc.ok || ok && got != tc.want {
			t.Errorf("%s: %#x, %v; want %#x, %v", name, got, ok, tc.want, tc.ok)
		}
	}
}
