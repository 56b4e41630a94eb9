// Package kernel finds out from its bytes what a Linux kernel file is, and
// unpacks it. The file's name says nothing here.
package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/unwedge/unwedge/images/kernel/elf64"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Format names the kind of kernel file.
type Format string

// The kernel file formats.
const (
	BzImage Format = "bzImage" // x86 boot image (Documentation/arch/x86/boot.rst)
	Image   Format = "Image"   // arm64 boot image (Documentation/arch/arm64/booting.rst)
	Zboot   Format = "zboot"   // EFI zboot image (drivers/firmware/efi/libstub/zboot-header.S)
	Vmlinux Format = "vmlinux" // ELF
)

// maxFile bounds what Identify reads: a vmlinux with debug information fits.
const maxFile = 1 << 30

// Kernel is one kernel file and what its bytes say.
type Kernel struct {
	Path        string      `json:"path"`
	Arch        arch.Arch   `json:"arch"`
	Format      Format      `json:"format"`
	Compression Compression `json:"compression"`
	// Release is what `uname -r` will say.
	Release string `json:"release"`
	// Banner is the "Linux version ..." line, without its newline.
	Banner string `json:"banner"`
	// BuildID is the GNU build ID in lower-case hex, as in
	// /sys/kernel/notes; "" where the kernel has none.
	BuildID string `json:"build_id,omitempty"`
	// Config is nil where neither the kernel nor its package holds one.
	Config *Config `json:"-"`
	// PVH says that QEMU can boot the unpacked ELF file directly
	// (XEN_ELFNOTE_PHYS32_ENTRY, CONFIG_PVH).
	PVH    bool   `json:"pvh"`
	SHA256 string `json:"sha256"` // of the file, lower-case hex
	Size   int64  `json:"size"`   // of the file, bytes

	// Unpacked is a file that holds what Payload returns, "" where nobody
	// keeps one. Whoever caches kernels sets it; Payload then reads it.
	Unpacked string `json:"unpacked,omitempty"`
}

// BadKernelError says in one line why a file is not a kernel unwedge can boot.
type BadKernelError struct {
	Path   string
	Reason string
	Err    error // the cause, may be nil
}

func (e *BadKernelError) Error() string { return e.Path + ": " + e.Reason }

func (e *BadKernelError) Unwrap() error { return e.Err }

// image is a kernel in memory: the payload and where it came from.
type image struct {
	arch        arch.Arch
	format      Format
	compression Compression
	payload     []byte
	elf         *elf64.File // of the payload, nil for a raw Image
}

// Identify reads the file and unpacks it (1–2 s for an xz-packed bzImage). A
// file that is not a kernel, or a damaged one, gives a *BadKernelError.
func Identify(ctx context.Context, path string) (*Kernel, error) {
	raw, err := readFile(path)
	if err != nil {
		return nil, err
	}
	k, _, err := identify(ctx, path, raw)
	return k, err
}

// IdentifyPayload is Identify that also hands out the payload it had to
// unpack, for callers that keep it.
func IdentifyPayload(ctx context.Context, path string) (*Kernel, []byte, error) {
	raw, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}
	return identify(ctx, path, raw)
}

func identify(ctx context.Context, path string, raw []byte) (*Kernel, []byte, error) {
	img, err := open(ctx, raw)
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("identify kernel %s: %w", path, err)
		}
		return nil, nil, &BadKernelError{Path: path, Reason: err.Error(), Err: err}
	}
	banner, release := findBanner(img.payload)
	if banner == "" {
		return nil, nil, &BadKernelError{Path: path, Reason: img.noBanner()}
	}
	sum := sha256.Sum256(raw)
	k := &Kernel{
		Path: path, Arch: img.arch, Format: img.format, Compression: img.compression,
		Release: release, Banner: banner, BuildID: img.buildID(), PVH: img.pvh(),
		SHA256: hex.EncodeToString(sum[:]), Size: int64(len(raw)),
	}
	if k.Config, err = embeddedConfig(ctx, img.payload); err != nil {
		return nil, nil, &BadKernelError{Path: path, Reason: "its embedded config: " + err.Error(), Err: err}
	}
	return k, img.payload, nil
}

// Plain says that the file is its own payload: a raw arm64 Image, or an x86_64
// vmlinux.
func (k *Kernel) Plain() bool {
	return k.Compression == None && slices.Contains(k.machine().plain, k.Format)
}

// PayloadName is the usual file name of the payload.
func (k *Kernel) PayloadName() string { return k.machine().name }

// BootFile says which file of the kernel the guest gets, and why.
func (k *Kernel) BootFile() (file, why string) {
	if m := k.machine(); k.Unpacked != "" && k.Unpacked != k.Path && m.unpacked != nil {
		if why := m.unpacked(k); why != "" {
			return k.Unpacked, why
		}
	}
	return k.Path, "as it is"
}

// HashFile returns the SHA-256 of a file, as Kernel.SHA256 has it.
func HashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("hash file: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hash file: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Payload returns the unpacked kernel: the ELF vmlinux on x86_64, the raw
// Image on aarch64. It is at most 512 MiB, and the caller's to change.
func (k *Kernel) Payload(ctx context.Context) ([]byte, error) {
	if k.Unpacked != "" {
		b, err := readFile(k.Unpacked)
		if err != nil {
			return nil, fmt.Errorf("read unpacked kernel: %w", err)
		}
		return b, nil
	}
	raw, err := readFile(k.Path)
	if err != nil {
		return nil, err
	}
	img, err := open(ctx, raw)
	if err != nil {
		return nil, &BadKernelError{Path: k.Path, Reason: err.Error(), Err: err}
	}
	return img.payload, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open kernel: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open kernel: %w", err)
	}
	switch {
	case !st.Mode().IsRegular():
		return nil, &BadKernelError{Path: path, Reason: "not a regular file"}
	case st.Size() == 0:
		return nil, &BadKernelError{Path: path, Reason: "the file is empty"}
	case st.Size() > maxFile:
		return nil, &BadKernelError{Path: path, Reason: fmt.Sprintf("%d MiB is too large for a kernel, the limit is %d MiB", st.Size()>>20, maxFile>>20)}
	}
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, &BadKernelError{Path: path, Reason: "the file shrank while it was read", Err: err}
		}
		return nil, fmt.Errorf("read kernel: %w", err)
	}
	return b, nil
}
