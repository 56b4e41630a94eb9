package guestfile

import (
	"bufio"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cavaliergopher/cpio"

	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// The bounds of what is read of an initramfs: unpacked bytes, and archives that follow
// one another.
const (
	maxInitrd   = 512 << 20
	maxArchives = 16
)

// newc are the first bytes of what the kernel unpacks (init/initramfs.c).
var newc = []string{"070701", "070702"}

// Initrd checks that a file is one or more cpio archives of the kind that the kernel
// unpacks, each plain or compressed. It returns the architecture of the first program
// in it, "" where there is none that is known.
func Initrd(path string) (arch.Arch, error) {
	f, _, err := open(path, false)
	if err != nil {
		return "", err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<16)
	for range maxArchives {
		a, err := archive(r)
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		if err != nil {
			return "", badf(path, "%v", err)
		}
		if a != "" {
			return a, nil
		}
	}
	return "", nil
}

// archive reads one archive, to its first program or to its end; io.EOF where none
// follows.
func archive(r *bufio.Reader) (arch.Arch, error) {
	for { // zeros fill the place between archives
		b, err := r.Peek(1)
		if err != nil {
			return "", io.EOF
		}
		if b[0] != 0 {
			break
		}
		_, _ = r.Discard(1) // it was peeked at
	}
	head, _ := r.Peek(6) // fewer bytes match nothing
	if isNewc(head) {
		return members(r)
	}
	c := kernel.DetectCompression(head)
	if c == kernel.None {
		return "", notAnArchive(head)
	}
	z, err := kernel.NewReader(c, r)
	if err != nil {
		return "", fmt.Errorf("its %s stream: %w", c, err)
	}
	defer z.Close()
	inner := bufio.NewReader(io.LimitReader(z, maxInitrd))
	if head, err = inner.Peek(6); err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("its %s stream: %w", c, err)
	}
	if !isNewc(head) {
		return "", fmt.Errorf("%s-compressed, but not a cpio archive of the newc format: make it with `cpio -o -H newc`", c)
	}
	a, err := members(inner)
	if err == nil && a == "" {
		_, err = io.Copy(io.Discard, inner)
	}
	return a, err
}

// magics of what is given by mistake.
var mistakes = []struct{ magic, is string }{
	{"070707", "a cpio archive of the old format, which the kernel does not unpack: make it with `cpio -o -H newc`"},
	{"\xc7\x71", "a cpio archive of the binary format, which the kernel does not unpack: make it with `cpio -o -H newc`"},
	{"\x7fELF", "a program or kernel, not an initramfs"},
	{"QFI\xfb", "a qcow2 disk, not an initramfs: use --disk"},
	{"MZ", "a kernel or EFI program, not an initramfs"},
	{"hsqs", "a squashfs file system, not an initramfs"},
}

func notAnArchive(head []byte) error {
	for _, m := range mistakes {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return errors.New(m.is)
		}
	}
	return errors.New("not a cpio archive, plain or compressed")
}

func isNewc(head []byte) bool {
	for _, m := range newc {
		if bytes.HasPrefix(head, []byte(m)) {
			return true
		}
	}
	return false
}

// members reads an archive to its first program, or to its end.
func members(r io.Reader) (arch.Arch, error) {
	in := cpio.NewReader(r)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("a damaged cpio archive: %w", err)
		}
		if !h.Mode.IsRegular() || h.Size < 20 {
			continue
		}
		var head [20]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return "", fmt.Errorf("a damaged cpio archive: %s: %w", h.Name, err)
		}
		if a, ok := program(head[:]); ok {
			return a, nil
		}
	}
}

// program returns the architecture of a 64-bit ELF file by its first 20 bytes.
func program(head []byte) (arch.Arch, bool) {
	if !bytes.HasPrefix(head, []byte(elf.ELFMAG)) || head[elf.EI_CLASS] != byte(elf.ELFCLASS64) || head[elf.EI_DATA] != byte(elf.ELFDATA2LSB) {
		return "", false
	}
	return arch.OfELF(binary.LittleEndian.Uint16(head[18:]))
}
