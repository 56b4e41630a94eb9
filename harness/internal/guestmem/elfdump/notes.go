package elfdump

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/unwind"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// The bounds of what is read of the notes: QEMU writes some kilobytes for each
// vCPU, more where it has SVE.
const (
	maxNotes = 16 << 20 // bytes
	maxVCPUs = 512
)

// ntPRSTATUS is NT_PRSTATUS, whose registers are at regsAt: behind the signal and
// process numbers (struct elf_prstatus, include/linux/elfcore.h).
const (
	ntPRSTATUS = 1
	regsAt     = 112
)

// notes reads the registers. QEMU writes one NT_PRSTATUS for each vCPU, in their
// order (target/i386/arch_dump.c, target/arm/arch_dump.c).
func (d *Dump) notes(progs []*elf.Prog) error {
	left := int64(maxNotes)
	for _, p := range progs {
		if p.Type != elf.PT_NOTE {
			continue
		}
		b, err := io.ReadAll(io.LimitReader(p.Open(), left))
		if err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return ErrTruncated
			}
			return fmt.Errorf("read the dump's notes: %w", err)
		}
		left -= int64(len(b))
		d.segment(b)
	}
	return nil
}

// segment reads the notes of one segment, up to one that cannot be.
func (d *Dump) segment(b []byte) {
	const header = 12
	for len(b) >= header {
		le := binary.LittleEndian
		nameLen, descLen, typ := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
		desc := header + (nameLen+3)&^3
		next := desc + (descLen+3)&^3
		if desc+descLen > uint64(len(b)) {
			return
		}
		switch name := string(b[header : header+nameLen]); {
		case name == "CORE\x00" && typ == ntPRSTATUS && len(d.VCPUs) < maxVCPUs:
			d.vcpu(b[desc : desc+descLen])
		case name == "VMCOREINFO\x00":
			d.VMCoreInfo = true
		}
		b = b[min(next, uint64(len(b))):]
	}
}

// The registers of struct user_regs_struct (arch/x86/include/asm/user_64.h) and
// of struct user_pt_regs (arch/arm64/include/uapi/asm/ptrace.h), by their index.
const (
	x86R13, x86BP, x86R10, x86AX, x86DX, x86DI = 2, 4, 7, 10, 12, 14
	x86IP, x86CS, x86SP, x86GSBase, x86Count   = 16, 17, 19, 22, 27

	armFP, armLR, armSP, armPC, armPState, armCount = 29, 30, 31, 32, 33, 34
)

// vcpu reads one NT_PRSTATUS; one that is too short is left out, with its number.
func (d *Dump) vcpu(desc []byte) {
	v := guestmem.VCPU{Index: len(d.VCPUs)}
	count := x86Count
	if d.Arch == arch.AArch64 {
		count = armCount
	}
	if len(desc) < regsAt+8*count {
		return
	}
	reg := func(i int) uint64 { return binary.LittleEndian.Uint64(desc[regsAt+8*i:]) }
	if d.Arch == arch.AArch64 {
		v.Regs = unwind.Registers{PC: reg(armPC), SP: reg(armSP), FP: reg(armFP), LR: reg(armLR), User: reg(armPState)&0xf == 0} // EL0t
	} else {
		v.Regs = unwind.Registers{
			PC: reg(x86IP), SP: reg(x86SP), FP: reg(x86BP), AX: reg(x86AX), DX: reg(x86DX), DI: reg(x86DI), R10: reg(x86R10), R13: reg(x86R13),
			User: reg(x86CS)&3 == 3,
		}
		v.GSBase = reg(x86GSBase)
	}
	d.VCPUs = append(d.VCPUs, v)
}
