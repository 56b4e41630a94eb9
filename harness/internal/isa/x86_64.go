package isa

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// startKernelMap is __START_KERNEL_map (arch/x86/include/asm/page_64_types.h).
const startKernelMap = 0xffffffff80000000

var x86 = ISA{
	Arch: arch.X86_64,

	DWARF: DWARF{SP: 7, FP: 6, LR: -1, PC: 16}, // System V ABI, AMD64 supplement, figure 3.36
	PtRegs: PtRegs{
		Words: x86Words, IsUser: x86IsUser, Registers: x86Registers, User: x86User,
		Result: 8 * x86AX, PC: 8 * x86IP, Back: 2,
	},
	Core: Core{Words: 27, VCPU: func(words []uint64) model.VCPU {
		return model.VCPU{Registers: x86Registers(words), PerCPU: words[x86GSBase]}
	}},
	Insn:    x86Insn,
	GDB:     GDB{Breakpoint: 1, SP: 7, PC: 16, Args: [2]int{5, 4}, LR: -1, General: 18, Flags: 17, IRQs: 9, On: 1}, // i386-64bit.xml
	monitor: x86Monitor,

	Syscalls: x86Syscalls[:], EntryPrefixes: []string{"__x64_sys_"}, CompatPrefixes: []string{"__ia32_compat_sys_", "__ia32_sys_"},
	TraceArgs: []string{"RDI", "RSI", "RDX", "R10", "R08", "R09"},

	Unwinding: ORC,
	Saved:     Saved{SP: []string{"thread", "sp"}},                              // the rest is struct inactive_task_frame
	Current:   []Variable{{"pcpu_hot", "current_task"}, {Name: "current_task"}}, // pcpu_hot from 6.2 to 6.14
	AfterCall: x86AfterCall,
	Strip:     func(p uint64, _ func(uint64) bool) uint64 { return p },
	Leaf:      x86Leaf,

	Align:  []uint64{2 << 20}, // CONFIG_PHYSICAL_ALIGN
	Export: "phys_base",
	Tables: func(root uint64, _ uint) []Tables {
		return []Tables{X86Tables{Root: root}, X86Tables{Root: root, Five: true}}
	},
	TableEntry: func(e uint64) bool { return e&(x86Present|x86Large) == x86Present },
	TopTable: func(virt uint64, number func(string) uint64) uint64 {
		return virt - startKernelMap + number("NUMBER(phys_base)")
	},

	Linked: func(_, phys uint64) uint64 { return phys + startKernelMap },
	Crash: func(_, offset, _ uint64) string {
		if offset == 0 {
			return ""
		}
		return fmt.Sprintf("--kaslr %#x ", offset)
	},
}

// struct pt_regs (arch/x86/include/asm/ptrace.h), in words; the same in every
// version, but that a FRED kernel (6.9) gives the upper halves of cs and ss further
// meanings. struct user_regs_struct of core files begins with the same words
// (arch/x86/include/asm/user_64.h).
const (
	x86BP, x86BX          = 4, 5
	x86R10, x86R9, x86R8  = 7, 8, 9
	x86AX, x86CX, x86DX   = 10, 11, 12
	x86SI, x86DI, x86Orig = 13, 14, 15
	x86IP, x86CS          = 16, 17
	x86Flags, x86SP       = 18, 19
	x86SS, x86Words       = 20, 21
	x86GSBase             = 22
)

// x86Order are the DWARF numbers of pt_regs' first words.
var x86Order = [...]int{15, 14, 13, 12, 6, 3, 11, 10, 9, 8, 0, 2, 1, 4, 5}

// Selectors of user code (arch/x86/include/asm/segment.h).
const (
	x86UserCS   = 0x33
	x86UserCS32 = 0x23
	x86UserDS   = 0x2b
)

func x86IsUser(words []uint64, careful bool) bool {
	if !careful {
		return words[x86CS]&3 == 3
	}
	cs, ss := words[x86CS]&0xffff, words[x86SS]&0xffff
	return (cs == x86UserCS || cs == x86UserCS32) && ss == x86UserDS && words[x86IP]>>63 == 0
}

func x86Registers(words []uint64) model.Registers {
	return model.Registers{
		PC: words[x86IP], SP: words[x86SP], FP: words[x86BP], General: x86General(words),
		User: words[x86CS]&3 == 3, IRQsOff: x86IRQsOff(words[x86Flags]),
	}
}

func x86General(words []uint64) []uint64 {
	out := make([]uint64, 16)
	for i, n := range x86Order {
		out[n] = words[i]
	}
	out[7] = words[x86SP]
	return out
}

func x86IRQsOff(flags uint64) *bool {
	off := flags&(1<<9) == 0 // RFLAGS.IF
	return &off
}

func x86User(words []uint64) model.UserRegs {
	nr := int64(words[x86Orig])
	u := model.UserRegs{
		Syscall: nr >= 0, Number: max(nr, -1), Compat: words[x86CS]&0xffff == x86UserCS32,
		PC: words[x86IP], SP: words[x86SP], FP: words[x86BP], Regs: x86General(words),
	}
	order := [6]int{x86DI, x86SI, x86DX, x86R10, x86R8, x86R9}
	if u.Compat {
		order = [6]int{x86BX, x86CX, x86DX, x86SI, x86DI, x86BP}
	}
	for i, r := range order {
		if u.Syscall {
			u.Args[i] = words[r]
		}
	}
	return u
}

var (
	x86Names   = []string{"RAX", "RDX", "RCX", "RBX", "RSI", "RDI", "RBP", "RSP", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15"}
	x86Names32 = []string{"EAX", "EDX", "ECX", "EBX", "ESI", "EDI", "EBP", "ESP"}
)

func x86Monitor(f fields) (model.VCPU, bool) {
	names, flags := x86Names, "RFL"
	pc, ok := f["RIP"]
	if !ok {
		names, flags = x86Names32, "EFL"
		if pc, ok = f["EIP"]; !ok {
			return model.VCPU{}, false
		}
	}
	v := model.VCPU{
		Registers: model.Registers{PC: pc.value, SP: f[names[7]].value, FP: f[names[6]].value, General: f.general(names), User: f["CPL"].value == 3},
		PerCPU:    f["GS"].base, Halted: f["HLT"].value == 1, Narrow: flags == "EFL",
	}
	if fl, ok := f[flags]; ok {
		v.IRQsOff = x86IRQsOff(fl.value)
	}
	return v, true
}
