package extmod

import "github.com/unwedge/unwedge/scenarios/arch"

// leftBehind says that a symbol is one that assemblers of x86 leave undefined
// (ignore_undef_symbol, kernel/module/main.c).
func leftBehind(machine uint16, symbol string) bool {
	return machine == arch.X86_64.Facts().ELF && symbol == "_GLOBAL_OFFSET_TABLE_"
}
