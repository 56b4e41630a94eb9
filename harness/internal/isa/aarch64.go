package isa

import (
	"encoding/binary"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var arm64 = ISA{
	Arch: arch.AArch64,

	DWARF: DWARF{SP: armSP, FP: armFP, LR: armLR, PC: -1}, // DWARF for the Arm 64-bit Architecture, 4.1
	PtRegs: PtRegs{
		Words: armWords, IsUser: func(words []uint64, _ bool) bool { return armIsUser(words) }, Registers: armRegisters, User: armUser,
		Result: 0, PC: 8 * armPC, Back: 4,
	},
	Core: Core{Words: armPState + 1, VCPU: func(words []uint64) model.VCPU {
		return model.VCPU{Registers: armRegisters(words)}
	}},
	Insn:    armInsn,
	GDB:     GDB{Breakpoint: 4, SP: 31, PC: 32, Args: [2]int{0, 1}, LR: 30, General: 34, Flags: 33, IRQs: 7, On: 0}, // aarch64-core.xml
	monitor: armMonitor,

	Syscalls: genericSyscalls[:], EntryPrefixes: []string{"__arm64_sys_"}, CompatPrefixes: []string{"__arm64_compat_sys_"},
	FirstLine: "Booting Linux on physical CPU 0x0000000000", // arm prints fewer digits

	Unwinding: FrameRecords,
	Saved:     Saved{SP: []string{"thread", "cpu_context", "sp"}, FP: []string{"thread", "cpu_context", "fp"}, PC: []string{"thread", "cpu_context", "pc"}},
	AfterCall: armAfterCall,
	Strip:     armStrip,
	LinkLive:  armLinkLive,
	Leaf:      armLeaf,

	// By the boot protocol, and where the EFI stub moved the Image.
	Align:    []uint64{2 << 20, 64 << 10},
	Export:   "kimage_voffset",
	Voffset:  "kimage_voffset", // arch/arm64/kernel/head.S stores it
	Raw:      armImage,
	Relative: 0x403, // R_AARCH64_RELATIVE
	Refs:     armRefs,
	Switch: &Switch{
		From: "__switch_to", To: "cpu_switch_to", Returns: armReturns,
		// arch/arm64/kernel/entry.S: stp x29, x9, [x8], #16, where x9 is the stack
		// pointer; str x30, [x8]
		Saves: binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 0xa881251d), 0xf900011e),
	},
	Tables:     armTables,
	TableEntry: func(e uint64) bool { return e&3 == 3 },
	TopTable: func(virt uint64, number func(string) uint64) uint64 {
		return virt - number("NUMBER(kimage_voffset)")
	},

	RAMBase: 1 << 30, // virt's (hw/arm/virt.c, base_memmap)
	// Where QEMU's virt puts an Image whose text_offset is 0 (since 5.10;
	// hw/arm/boot.c, load_aarch64_image).
	Linked: func(start, phys uint64) uint64 { return phys + start - 0x40200000 },
	Crash: func(link, offset, physBase uint64) string {
		return fmt.Sprintf("-m kimage_voffset=%#x ", link+offset-physBase)
	},
}

// struct pt_regs (arch/arm64/include/asm/ptrace.h), in words. Core files have its
// first part, struct user_pt_regs (arch/arm64/include/uapi/asm/ptrace.h).
const (
	armFP, armLR, armSP     = 29, 30, 31
	armPC, armPState        = 32, 33
	armOrigX0, armSyscallNo = 34, 35
	armWords                = 36

	armCompat = 1 << 4 // PSTATE: AArch32
	armMode   = 0xf    // PSTATE: 0 is EL0
	armNoIRQ  = 1 << 7 // PSTATE.I
)

func armIsUser(words []uint64) bool {
	return words[armPState]&armMode == 0 && words[armPC] != 0 && words[armPC]>>55 == 0
}

func armRegisters(words []uint64) model.Registers {
	r := armState(words[armPState])
	r.PC, r.SP, r.FP, r.LR, r.General = words[armPC], words[armSP], words[armFP], words[armLR], words[:armSP+1]
	return r
}

func armState(pstate uint64) model.Registers {
	off := pstate&armNoIRQ != 0
	return model.Registers{User: pstate&armMode == 0, IRQsOff: &off}
}

func armUser(words []uint64) model.UserRegs {
	nr := int64(int32(words[armSyscallNo]))
	u := model.UserRegs{
		Syscall: nr >= 0, Number: max(nr, -1), Compat: words[armPState]&armCompat != 0,
		PC: words[armPC], SP: words[armSP], FP: words[armFP], LR: words[armLR], Regs: words[:armSP+1],
	}
	if u.Compat {
		u.FP, u.SP, u.LR = words[11], words[13], words[14]
	}
	if u.Syscall {
		copy(u.Args[:], words)
		u.Args[0] = words[armOrigX0] // x0 becomes the result
	}
	return u
}

var armNames = func() []string {
	var names []string
	for i := range armSP {
		names = append(names, fmt.Sprintf("X%02d", i))
	}
	return append(names, "SP")
}()

func armMonitor(f fields) (model.VCPU, bool) {
	pc, ok := f["PC"]
	if !ok {
		return model.VCPU{}, false
	}
	var v model.VCPU
	if p, ok := f["PSTATE"]; ok {
		v.Registers = armState(p.value)
	}
	v.PC, v.SP, v.FP, v.LR, v.General = pc.value, f["SP"].value, f["X29"].value, f["X30"].value, f.general(armNames)
	return v, true
}

// armImage reads the header of an Image (Documentation/arch/arm64/booting.rst).
func armImage(payload []byte) (size uint64, pageShift uint, ok bool) {
	if len(payload) < 64 || string(payload[56:60]) != "ARM\x64" {
		return 0, 0, false
	}
	pageShift = 12
	switch payload[24] >> 1 & 3 {
	case 2:
		pageShift = 14
	case 3:
		pageShift = 16
	}
	return binary.LittleEndian.Uint64(payload[16:]), pageShift, true
}
