package kbuild

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// buildID reads the GNU build ID of an ELF file, "" where it has none.
func buildID(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("read build ID of %s: %w", path, err)
	}
	defer f.Close()
	const maxNotes = 1 << 20
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOTE || s.Size > maxNotes {
			continue
		}
		b, err := s.Data()
		if err != nil {
			return "", fmt.Errorf("read build ID of %s: %w", path, err)
		}
		if id := noteBuildID(b, f.ByteOrder); id != "" {
			return id, nil
		}
	}
	return "", nil
}

// noteBuildID walks the notes of a section, elf(5): sizes, type, name, descriptor,
// each padded to four bytes.
func noteBuildID(b []byte, order binary.ByteOrder) string {
	const header, gnuBuildID = 12, 3
	for len(b) >= header {
		nameLen, descLen, kind := uint64(order.Uint32(b)), uint64(order.Uint32(b[4:])), order.Uint32(b[8:])
		name, desc := uint64(header), uint64(header)+(nameLen+3)&^3
		end := desc + (descLen+3)&^3
		if end > uint64(len(b)) {
			return ""
		}
		if kind == gnuBuildID && bytes.Equal(b[name:name+nameLen], []byte("GNU\x00")) {
			return hex.EncodeToString(b[desc : desc+descLen])
		}
		b = b[end:]
	}
	return ""
}
