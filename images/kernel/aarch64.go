package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/images/kernel/elf64"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var aarch64 = machine{
	arch:       arch.AArch64,
	containers: []container{{isZboot, openZboot}, {isImage, openImage}},
	payload: func(f *elf64.File, b []byte) ([]byte, *elf64.File, error) {
		image, err := flatten(f, b)
		return image, nil, err
	},
	plain:    []Format{Image},
	name:     "Image",
	unpacked: func(*Kernel) string { return "its unpacked Image" },
}

func isZboot(b []byte) bool { return has(b, 0, "MZ") && has(b, 4, "zimg") }
func isImage(b []byte) bool { return has(b, 0x38, "ARM\x64") }

// openZboot follows drivers/firmware/efi/libstub/zboot-header.S: "zimg" at 4,
// payload offset and size at 8 and 12.
func openZboot(ctx context.Context, b []byte) (*image, error) {
	if len(b) < 0x40 {
		return nil, errors.New("truncated zboot image: no header")
	}
	le := binary.LittleEndian
	if m, ok := peMachine(b); ok && m != peARM64 {
		return nil, fmt.Errorf("zboot image for PE machine %#x: only aarch64 (%#x) is supported", m, peARM64)
	}
	start, size := int64(le.Uint32(b[8:])), int64(le.Uint32(b[12:]))
	if start+size > int64(len(b)) {
		return nil, fmt.Errorf("truncated zboot image: its payload ends at byte %d, file has %d", start+size, len(b))
	}
	payload, c, err := unpack(ctx, b[start:start+size], false)
	if err != nil {
		return nil, fmt.Errorf("zboot payload: %w", err)
	}
	if !has(payload, 0x38, "ARM\x64") {
		return nil, errors.New("zboot payload: not an arm64 Image")
	}
	return &image{arch: arch.AArch64, format: Zboot, compression: c, payload: payload}, nil
}

const peARM64 = 0xaa64 // IMAGE_FILE_MACHINE_ARM64

// openImage follows Documentation/arch/arm64/booting.rst, "Call the kernel
// image".
func openImage(_ context.Context, b []byte) (*image, error) {
	if len(b) < 0x40 {
		return nil, errors.New("truncated arm64 Image: no header")
	}
	if flags := binary.LittleEndian.Uint64(b[24:]); flags&1 != 0 {
		return nil, errors.New("a big-endian arm64 Image: only little-endian kernels can be booted")
	}
	if end := peEnd(b); end > int64(len(b)) {
		return nil, fmt.Errorf("truncated arm64 Image: its last section ends at byte %d, file has %d", end, len(b))
	}
	if len(b) > maxUnpacked {
		return nil, errTooBig
	}
	return &image{arch: arch.AArch64, format: Image, compression: None, payload: b}, nil
}

// flatten makes the raw Image out of an arm64 vmlinux, as `objcopy -O binary`
// does (arch/arm64/boot/Makefile): the segments at their places relative to
// the lowest address.
func flatten(f *elf64.File, b []byte) ([]byte, error) {
	low, high := ^uint64(0), uint64(0)
	for _, s := range f.Segments {
		if s.Type == elf64.SegLoad && s.FileSize > 0 {
			low, high = min(low, s.VAddr), max(high, s.VAddr+s.FileSize)
		}
	}
	if low >= high || high-low > maxUnpacked {
		return nil, errors.New("an aarch64 ELF file without a kernel's segments")
	}
	out := make([]byte, high-low)
	for _, s := range f.Segments {
		if s.Type == elf64.SegLoad && s.FileSize > 0 {
			if s.VAddr+s.FileSize > high { // wrapped round
				return nil, errors.New("an aarch64 ELF file with a broken segment")
			}
			copy(out[s.VAddr-low:], b[s.Off:s.Off+s.FileSize])
		}
	}
	if !isImage(out) {
		return nil, errors.New("an aarch64 ELF file, but not a kernel: no Image header at its first address")
	}
	return out, nil
}
