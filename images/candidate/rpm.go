package candidate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/cavaliergopher/cpio"

	"github.com/unwedge/unwedge/images/progress"
)

const (
	rpmMagic     = "\xed\xab\xee\xdb"
	rpmLead      = 96
	rpmHeader    = "\x8e\xad\xe8"
	maxRPMHeader = 64 << 20 // bytes; Fedora's kernel-modules has 2 MB
)

// extractRPM unpacks an RPM package: a lead, two headers and a compressed
// cpio archive (RPM's own "Package format V4" document).
func extractRPM(ctx context.Context, path string, out *unpacker) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open package: %w", err)
	}
	defer f.Close()
	return readRPM(ctx, bufio.NewReaderSize(progress.Reader(f, out.task), 1<<20), out)
}

func readRPM(ctx context.Context, r *bufio.Reader, out *unpacker) error {
	lead := make([]byte, rpmLead)
	if _, err := io.ReadFull(r, lead); err != nil || !bytes.HasPrefix(lead, []byte(rpmMagic)) {
		return out.bad("", "not an RPM package, or a truncated one: no lead", err)
	}
	for _, align := range []int64{8, 1} { // the signature is padded, the header is not
		if err := skipRPMHeader(r, align); err != nil {
			return out.corrupt(err)
		}
	}
	z, err := decompress(ctx, r)
	if err != nil {
		return out.corrupt(err)
	}
	defer z.Close()
	if err := readCpio(z, out); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(z, maxTotal)); err != nil {
		return out.corrupt(err)
	}
	return nil
}

// skipRPMHeader passes over one header structure: magic, the number of index
// entries of 16 bytes, the length of the data store, big-endian.
func skipRPMHeader(r *bufio.Reader, align int64) error {
	var h [16]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return io.ErrUnexpectedEOF
	}
	if !bytes.HasPrefix(h[:], []byte(rpmHeader)) {
		return errors.New("an RPM header's magic is broken")
	}
	size := int64(binary.BigEndian.Uint32(h[8:]))*16 + int64(binary.BigEndian.Uint32(h[12:]))
	if size > maxRPMHeader {
		return fmt.Errorf("an RPM header claims %d MiB", size>>20)
	}
	size = (size + align - 1) / align * align
	if _, err := io.CopyN(io.Discard, r, size); err != nil {
		return io.ErrUnexpectedEOF
	}
	return nil
}

func readCpio(r io.Reader, out *unpacker) error {
	c := cpio.NewReader(r)
	// Names that share an inode come in a row; only the last has the data.
	linked := map[int64][]string{}
	for {
		h, err := c.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return out.corrupt(err)
		}
		m := member{name: strings.TrimPrefix(h.Name, "/"), size: h.Size, link: h.Linkname}
		switch h.Mode &^ cpio.ModePerm & cpio.ModeType {
		case cpio.TypeReg:
		case cpio.TypeDir:
			m.mode = fs.ModeDir
		case cpio.TypeSymlink:
			m.mode = fs.ModeSymlink
		default:
			m.mode = fs.ModeDevice
		}
		if err := out.add(m, c); err != nil {
			return err
		}
		if h.Links < 2 || m.mode != 0 {
			continue
		}
		if h.Size == 0 {
			linked[h.Inode] = append(linked[h.Inode], m.name)
			continue
		}
		for _, name := range linked[h.Inode] {
			if err := out.add(member{name: name, hard: m.name}, nil); err != nil {
				return err
			}
		}
		delete(linked, h.Inode)
	}
}
