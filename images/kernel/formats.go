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

// open recognizes the container format and unpacks the payload.
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

// machine is how the kernels of one architecture are packed.
type machine struct {
	arch arch.Arch
	// containers are the formats beside ELF and compressed files.
	containers []container
	// payload turns a vmlinux into what the guest is given, and says which ELF file
	// that is, nil for none.
	payload func(f *elf64.File, b []byte) ([]byte, *elf64.File, error)
	// plain lists the formats whose file is its own payload.
	plain []Format
	// name is the usual file name of a payload.
	name string
	// unpacked says why the guest gets the payload rather than the file, "" where it
	// gets the file.
	unpacked func(*Kernel) string
}

type container struct {
	is   func(b []byte) bool
	open func(ctx context.Context, b []byte) (*image, error)
}

// machines has a row for each architecture, in a file of its own.
var machines = []machine{x86_64, aarch64}

// machine is the zero row for an architecture that has none.
func (k *Kernel) machine() machine {
	for _, m := range machines {
		if m.arch == k.Arch {
			return m
		}
	}
	return machine{}
}

func openPlain(ctx context.Context, b []byte) (*image, error) {
	for _, m := range machines {
		for _, c := range m.containers {
			if c.is(b) {
				return c.open(ctx, b)
			}
		}
	}
	if elf64.Is(b) {
		return openELF(b)
	}
	return nil, errors.New(notAKernel(b))
}

func openELF(b []byte) (*image, error) {
	f, err := elf64.Parse(b)
	if err != nil {
		return nil, err
	}
	if f.Type == elf64.TypeRel {
		return nil, errors.New("an ELF object file (a kernel module?), not a kernel")
	}
	for _, m := range machines {
		if m.arch.Facts().ELF != f.Machine {
			continue
		}
		img := &image{arch: m.arch, format: Vmlinux, compression: None}
		if img.payload, img.elf, err = m.payload(f, b); err != nil {
			return nil, err
		}
		if len(img.payload) > maxFile {
			return nil, errTooBig
		}
		return img, nil
	}
	return nil, fmt.Errorf("ELF file for machine %d: only kernels for %s can be booted", f.Machine, arch.List())
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

func (img *image) noBanner() string {
	if img.format == Vmlinux {
		return "an ELF file, but not a kernel: no \"Linux version\" banner in it"
	}
	return fmt.Sprintf("damaged %s: no \"Linux version\" banner in it", img.format)
}
