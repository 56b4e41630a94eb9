package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/images/kernel/elf64"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var x86_64 = machine{
	arch:       arch.X86_64,
	containers: []container{{isBzImage, openBzImage}},
	payload:    func(f *elf64.File, b []byte) ([]byte, *elf64.File, error) { return b, f, nil },
	plain:      []Format{Vmlinux},
	name:       "vmlinux",
	// Booted from its ELF, the guest does not unpack itself, which costs more than half
	// of a short boot under TCG, and QEMU hands it no random seed (hw/i386/x86.c gives
	// setup_data to the Linux boot protocol only).
	unpacked: func(k *Kernel) string {
		if k.Format == BzImage && k.PVH {
			return "its unpacked ELF, through PVH, so that the guest need not unpack it"
		}
		return ""
	},
}

func isBzImage(b []byte) bool { return has(b, 0x1fe, "\x55\xaa") && has(b, 0x202, "HdrS") }

// openBzImage follows Documentation/arch/x86/boot.rst, "The Real-Mode Kernel
// Header".
func openBzImage(ctx context.Context, b []byte) (*image, error) {
	if len(b) < 0x268 {
		return nil, fmt.Errorf("truncated bzImage: the set-up header ends at byte 616, file has %d", len(b))
	}
	le := binary.LittleEndian
	protocol := le.Uint16(b[0x206:])
	if protocol < 0x208 {
		return nil, fmt.Errorf("bzImage with boot protocol %d.%02d: 2.08 (Linux 2.6.26) or newer is needed", protocol>>8, protocol&0xff)
	}
	if protocol < 0x20c || le.Uint16(b[0x236:])&1 == 0 { // XLF_KERNEL_64
		return nil, errors.New("a 32-bit x86 bzImage: only 64-bit ones can be booted")
	}
	setup := int64(b[0x1f1])
	if setup == 0 {
		setup = 4
	}
	start := (setup+1)*512 + int64(le.Uint32(b[0x248:]))
	end := start + int64(le.Uint32(b[0x24c:]))
	if end > int64(len(b)) {
		return nil, fmt.Errorf("truncated bzImage: its payload ends at byte %d, file has %d", end, len(b))
	}
	payload, c, err := unpack(ctx, b[start:end], true)
	if err != nil {
		return nil, fmt.Errorf("bzImage payload: %w", err)
	}
	f, err := elf64.Parse(payload)
	if err != nil {
		return nil, fmt.Errorf("bzImage payload: %w", err)
	}
	if want := arch.X86_64.Facts().ELF; f.Machine != want {
		return nil, fmt.Errorf("bzImage payload: ELF machine %d, want x86_64 (%d)", f.Machine, want)
	}
	return &image{arch: arch.X86_64, format: BzImage, compression: c, payload: payload, elf: f}, nil
}
