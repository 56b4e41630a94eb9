package isa

import "testing"

func TestInsn(t *testing.T) {
	regs := make([]uint64, 34)
	for i := range regs {
		regs[i] = uint64(0x1000 * (i + 1))
	}
	for name, tt := range map[string]struct {
		isa   *ISA
		code  string
		plain bool
		at    uint64 // where it reads memory, 0 for nowhere
	}{
		"x86: jmp .":                  {&x86, "\xeb\xfe", true, 0},
		"x86: pause":                  {&x86, "\xf3\x90", true, 0},
		"x86: mov 0x10(%rbx,%rcx,4)":  {&x86, "\x8b\x44\x8b\x10", true, 0x2000 + 4*0x3000 + 0x10},
		"x86: cmpb $0, 0x100(%rip)":   {&x86, "\x80\x3d\x00\x01\x00\x00\x00", true, 0x11000 + 0x107},
		"x86: mov 8(%rsp)":            {&x86, "\x48\x8b\x44\x24\x08", true, 0},
		"x86: mov %rax, (%rdi)":       {&x86, "\x48\x89\x07", true, 0},
		"x86: incl (%rax)":            {&x86, "\xff\x00", false, 0},
		"x86: lock cmpxchg":           {&x86, "\xf0\x0f\xb1\x0f", false, 0},
		"x86: rdtsc":                  {&x86, "\x0f\x31", false, 0},
		"x86: in":                     {&x86, "\xec", false, 0},
		"x86: hlt":                    {&x86, "\xf4", false, 0},
		"x86: rdmsr":                  {&x86, "\x0f\x32", false, 0},
		"x86: rep movsb":              {&x86, "\xf3\xa4", false, 0},
		"x86: nothing":                {&x86, "", false, 0},
		"arm64: b .":                  {&arm64, "\x00\x00\x00\x14", true, 0},
		"arm64: wfe":                  {&arm64, "\x5f\x20\x03\xd5", true, 0},
		"arm64: msr daifset, #15":     {&arm64, "\xdf\x4f\x03\xd5", true, 0},
		"arm64: ldr w0, [x1, #8]":     {&arm64, "\x20\x08\x40\xb9", true, 0x2000 + 8},
		"arm64: ldaxr w0, [x1]":       {&arm64, "\x20\xfc\x5f\x88", true, 0x2000},
		"arm64: ldr x0, [sp, #8]":     {&arm64, "\xe0\x07\x40\xf9", true, 0},
		"arm64: stp x29, x30, [sp]":   {&arm64, "\xfd\x7b\x00\xa9", true, 0},
		"arm64: stxr w2, w0, [x1]":    {&arm64, "\x20\x7c\x02\x88", false, 0},
		"arm64: mrs x0, sp_el0":       {&arm64, "\x00\x41\x38\xd5", true, 0},
		"arm64: mrs x0, cntvct_el0":   {&arm64, "\x40\xe0\x3b\xd5", false, 0},
		"arm64: msr ttbr0_el1, x0":    {&arm64, "\x00\x20\x18\xd5", false, 0},
		"arm64: wfi":                  {&arm64, "\x7f\x20\x03\xd5", false, 0},
		"arm64: half an instruction":  {&arm64, "\x00\x00", false, 0},
		"arm64: ldadd w0, w1, [x2]":   {&arm64, "\x41\x00\x20\xb8", false, 0},
		"arm64: cbz x0, .":            {&arm64, "\x00\x00\x00\xb4", true, 0},
		"arm64: ldur x0, [x1, #-8]":   {&arm64, "\x20\x80\x5f\xf8", true, 0x2000 - 8},
		"arm64: sub x0, x0, #1":       {&arm64, "\x00\x04\x00\xd1", true, 0},
		"arm64: hint for the landing": {&arm64, "\x5f\x24\x03\xd5", true, 0},
		"x86: landing":                {&x86, "\xf3\x0f\x1e\xfa", true, 0},
		"x86: mov %gs:0x10, %rax":     {&x86, "\x65\x48\x8b\x04\x25\x10\x00\x00\x00", true, 1},
	} {
		in, n := tt.isa.Insn([]byte(tt.code))
		at, known := in.At.Of(regs, tt.isa.GDB.PC, regs[tt.isa.GDB.PC]+uint64(n))
		switch {
		case in.Plain != tt.plain:
			t.Errorf("%s: plain %v, want %v", name, in.Plain, tt.plain)
		case in.Plain && (in.Reads != (tt.at != 0)):
			t.Errorf("%s: reads %v", name, in.Reads)
		case tt.at > 1 && (!known || at != tt.at):
			t.Errorf("%s: reads at %#x, %v, want %#x", name, at, known, tt.at)
		case tt.at == 1 && known: // per CPU: where that is nobody knows
			t.Errorf("%s: reads at %#x", name, at)
		}
	}
}
