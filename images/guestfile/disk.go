package guestfile

import (
	"bytes"
	"encoding/binary"
	"io"
)

// Format is a disk image's format, as QEMU calls it.
type Format string

// The formats that are booted.
const (
	Raw   Format = "raw"
	QCOW2 Format = "qcow2"
)

// sector is the smallest unit of a disk, in bytes.
const sector = 512

// foreign are formats that QEMU knows, and files that are no disk at all.
var foreign = []struct {
	at        int
	magic, is string
}{
	{0, "KDMV", "a VMDK image: " + convert}, {0, "COWD", "a VMDK image: " + convert}, {0, "# Disk DescriptorFile", "a VMDK image: " + convert},
	{0, "conectix", "a VHD image: " + convert}, {0, "vhdxfile", "a VHDX image: " + convert}, {64, "\x7f\x10\xda\xbe", "a VDI image: " + convert},
	{0, "\xfd7zXZ\x00", "xz-compressed: unpack it"}, {0, "\x1f\x8b", "gzip-compressed: unpack it"}, {0, "\x28\xb5\x2f\xfd", "zstd-compressed: unpack it"},
	{0, "BZh", "bzip2-compressed: unpack it"}, {0, "070701", "a cpio archive, not a disk: use --initrd"}, {0, "\x7fELF", "a program or kernel, not a disk"},
	{257, "ustar", "a tar archive, not a disk"},
}

const convert = "convert it with `qemu-img convert -O qcow2`"

// systems are the marks of partition tables, file systems and volumes on a raw disk.
var systems = []struct {
	at    int
	magic string
}{
	{510, "\x55\xaa"}, {512, "EFI PART"}, {4096, "EFI PART"},
	{1080, "\x53\xef"}, {0, "XFSB"}, {65600, "_BHRfS_M"}, {0, "hsqs"}, {1024, "\xe2\xe1\xf5\xe0"}, {1024, "\x10\x20\xf5\xf2"},
	{32769, "CD001"}, {512, "LABELONE"}, {0, "LUKS\xba\xbe"}, {4086, "SWAPSPACE2"}, {4096, "\xfc\x4e\x2b\xa9"}, // md 1.2
	{4120, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca"}, // bcachefs and bcache
}

// head is how much of a disk is looked at.
const head = 68 << 10

// Disk tells the format of a disk image from its bytes. A raw one must have a partition
// table or a file system, or be blank.
func Disk(path string) (Format, error) {
	f, size, err := open(path, true)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, head)
	n, err := io.ReadFull(f, b)
	if err != nil && err != io.ErrUnexpectedEOF { //nolint:errorlint // ReadFull's own
		return "", badf(path, "%s", cause(err))
	}
	b = b[:n]
	has := func(at int, magic string) bool {
		return len(b) >= at+len(magic) && bytes.Equal(b[at:at+len(magic)], []byte(magic))
	}
	if has(0, "QFI\xfb") {
		return qcow2(path, b)
	}
	for _, f := range foreign {
		if has(f.at, f.magic) {
			return "", badf(path, "%s", f.is)
		}
	}
	for _, s := range systems {
		if has(s.at, s.magic) && size%sector == 0 {
			return Raw, nil
		}
	}
	switch {
	case size%sector != 0:
		return "", badf(path, "not a disk: %d bytes are no whole number of sectors", size)
	case len(bytes.TrimLeft(b, "\x00")) == 0:
		return Raw, nil
	default:
		return "", badf(path, "not a disk: no partition table and no file system is known in it")
	}
}

// qcow2 checks the header (QEMU, docs/interop/qcow2.txt).
func qcow2(path string, b []byte) (Format, error) {
	if len(b) < 72 {
		return "", badf(path, "a qcow2 image cut short")
	}
	if v := binary.BigEndian.Uint32(b[4:]); v < 2 || v > 3 {
		return "", badf(path, "a qcow image of version %d: %s", v, convert)
	}
	if binary.BigEndian.Uint32(b[32:]) != 0 {
		return "", badf(path, "an encrypted qcow2 image: decrypt it with `qemu-img convert`")
	}
	return QCOW2, nil
}
