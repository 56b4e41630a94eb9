package elfdump

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/model"
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

// Notes reads the registers of vCPUs from notes of an ELF core that are somewhere else,
// and says whether there is a VMCOREINFO among them.
func Notes(i *isa.ISA, b []byte) (vcpus []model.VCPU, vmcoreinfo bool) {
	d := &Dump{isa: i}
	d.segment(b)
	return d.VCPUs, d.VMCoreInfo
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

// vcpu reads one NT_PRSTATUS; one that is too short is left out, with its number.
func (d *Dump) vcpu(desc []byte) {
	core := d.isa.Core
	if len(desc) < regsAt+8*core.Words {
		return
	}
	words := make([]uint64, core.Words)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(desc[regsAt+8*i:])
	}
	v := core.VCPU(words)
	v.Index = len(d.VCPUs)
	d.VCPUs = append(d.VCPUs, v)
}
