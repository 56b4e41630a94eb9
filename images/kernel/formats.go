package kernel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/images/kernel/elf64"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// open tells the container formats apart and unpacks the payload.
func open(ctx context.Context, b []byte) (*image, error) {
	if c := DetectCompression(b); c != None {
		inner, _, err := unpack(ctx, b, false)
		if err != nil {
			return nil, err
		}
		img, err := openPlain(ctx, inner)
		if err != nil {
			return nil, fmt.Errorf("unpacked from %s: %w", c, err)
		}
		if img.compression == None {
			img.compression = c
		}
		return img, nil
	}
	return openPlain(ctx, b)
}

func openPlain(ctx context.Context, b []byte) (*image, error) {
	switch {
	case has(b, 0x1fe, "\x55\xaa") && has(b, 0x202, "HdrS"):
		return openBzImage(ctx, b)
	case has(b, 0, "MZ") && has(b, 4, "zimg"):
		return openZboot(ctx, b)
	case has(b, 0x38, "ARM\x64"):
		return openImage(b)
	case elf64.Is(b):
		return openELF(b)
	}
	return nil, errors.New(notAKernel(b))
}

func has(b []byte, off int, s string) bool {
	return off <= len(b) && bytes.HasPrefix(b[off:], []byte(s))
}

// notAKernel names what people hand in by mistake.
func notAKernel(b []byte) string {
	switch {
	case has(b, 0, "!<arch>\n"):
		return "a Debian package or ar archive, not a kernel file"
	case has(b, 0, "\xed\xab\xee\xdb"):
		return "an RPM package, not a kernel file"
	case has(b, 0, "070701"), has(b, 0, "070702"):
		return "a cpio archive (an initramfs?), not a kernel"
	case has(b, 0x1fe, "\x55\xaa") && has(b, 0x202, "HdrS"[:2]):
		return "damaged x86 boot image: the HdrS magic is broken"
	case has(b, 0, "MZ"):
		return "an EFI program, but neither a bzImage, an arm64 Image nor a zboot image (for a unified kernel image, take its .linux section)"
	case has(b, 0, "#!"):
		return "a script, not a kernel"
	case len(b) < 0x240:
		return fmt.Sprintf("not a kernel: only %d bytes", len(b))
	}
	return "not a kernel: no bzImage, arm64 Image, zboot, ELF or compressed image magic in it"
}

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
		return nil, errors.New("a 32-bit x86 bzImage: only x86_64 and aarch64 can be booted")
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
	if f.Machine != elf64.MachineX86_64 {
		return nil, fmt.Errorf("bzImage payload: ELF machine %d, want x86_64 (%d)", f.Machine, elf64.MachineX86_64)
	}
	img := &image{arch: arch.X86_64, format: BzImage, compression: c, payload: payload, elf: f}
	return img, nil
}

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

// peHeader returns the PE/COFF header that an EFI-stub image carries.
func peHeader(b []byte) ([]byte, bool) {
	if len(b) < 0x40 || !has(b, 0, "MZ") {
		return nil, false
	}
	off := int64(binary.LittleEndian.Uint32(b[0x3c:]))
	if off+24 > int64(len(b)) || !has(b, int(off), "PE\x00\x00") {
		return nil, false
	}
	return b[off:], true
}

func peMachine(b []byte) (uint16, bool) {
	h, ok := peHeader(b)
	if !ok {
		return 0, false
	}
	return binary.LittleEndian.Uint16(h[4:]), true
}

// peEnd returns where the last section's bytes end in a whole file; 0 where
// the file carries no PE header.
func peEnd(b []byte) int64 {
	h, ok := peHeader(b)
	if !ok {
		return 0
	}
	le := binary.LittleEndian
	num, opt := int(le.Uint16(h[6:])), int(le.Uint16(h[20:]))
	end := int64(0)
	for i := range min(num, 96) {
		off := 24 + opt + i*40
		if off+40 > len(h) {
			break
		}
		end = max(end, int64(le.Uint32(h[off+16:]))+int64(le.Uint32(h[off+20:])))
	}
	return end
}

// openImage follows Documentation/arch/arm64/booting.rst, "Call the kernel
// image".
func openImage(b []byte) (*image, error) {
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

func openELF(b []byte) (*image, error) {
	f, err := elf64.Parse(b)
	if err != nil {
		return nil, err
	}
	if f.Type == elf64.TypeRel {
		return nil, errors.New("an ELF object file (a kernel module?), not a kernel")
	}
	img := &image{format: Vmlinux, compression: None, payload: b, elf: f}
	switch f.Machine {
	case elf64.MachineX86_64:
		img.arch = arch.X86_64
	case elf64.MachineAArch64:
		img.arch = arch.AArch64
		if img.payload, err = flatten(f, b); err != nil {
			return nil, err
		}
		img.elf = nil
	default:
		return nil, fmt.Errorf("ELF file for machine %d: only x86_64 (%d) and aarch64 (%d) can be booted",
			f.Machine, elf64.MachineX86_64, elf64.MachineAArch64)
	}
	if len(img.payload) > maxFile {
		return nil, errTooBig
	}
	return img, nil
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
	if !has(out, 0x38, "ARM\x64") {
		return nil, errors.New("an aarch64 ELF file, but not a kernel: no Image header at its first address")
	}
	return out, nil
}

func (img *image) noBanner() string {
	if img.format == Vmlinux {
		return "an ELF file, but not a kernel: no \"Linux version\" banner in it"
	}
	return fmt.Sprintf("damaged %s: no \"Linux version\" banner in it", img.format)
}
