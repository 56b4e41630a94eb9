package guestfile

import (
	"encoding/binary"
	"io"
)

// What a qcow2 header says of other files (QEMU, docs/interop/qcow2.txt).
const (
	backingAt       = 8      // offset of the backing file's name, 0 for none
	incompatibleAt  = 72     // from version 3 on
	externalData    = 1 << 2 // "External data file bit"
	incompatibleEnd = incompatibleAt + 8
)

// Alone says that a disk image is one that Disk knows and needs no other file: a qcow2
// image may name one, which QEMU would open.
func Alone(path string) error {
	format, err := Disk(path)
	if err != nil || format != QCOW2 {
		return err
	}
	f, _, err := open(path, true)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, incompatibleEnd)
	if _, err := io.ReadFull(f, b); err != nil {
		return badf(path, "%s", cause(err))
	}
	v3 := binary.BigEndian.Uint32(b[4:]) >= 3
	if binary.BigEndian.Uint64(b[backingAt:]) != 0 || v3 && binary.BigEndian.Uint64(b[incompatibleAt:])&externalData != 0 {
		return badf(path, "a qcow2 image that needs another file: make it whole with `qemu-img convert -O qcow2`")
	}
	return nil
}
