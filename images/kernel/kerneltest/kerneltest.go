// Package kerneltest makes tiny kernel files for tests: they have the headers
// and facts of real ones and no code that could boot.
package kerneltest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// Facts of every kernel made here.
const (
	Release = "6.1.0-unwedge"
	Banner  = "Linux version 6.1.0-unwedge (tester@example) (gcc 12.2) #1 SMP 2026-01-01"
	BuildID = "00112233445566778899aabbccddeeff00112233"
	// TextAddr is the address of the first byte of the ELF's only segment.
	TextAddr = 0xffffffff81000000
)

var le = binary.LittleEndian

func note(name string, typ uint32, desc []byte) []byte {
	b := le.AppendUint32(nil, uint32(len(name)+1))
	b = le.AppendUint32(b, uint32(len(desc)))
	b = le.AppendUint32(b, typ)
	b = append(b, pad(append([]byte(name), 0), 4)...)
	return append(b, pad(desc, 4)...)
}

func pad(b []byte, n int) []byte {
	for len(b)%n != 0 {
		b = append(b, 0)
	}
	return b
}

func buildID() []byte {
	id, err := hex.DecodeString(BuildID)
	if err != nil {
		panic(err)
	}
	return id
}

// Section is one section of an ELF made by ELF.
type Section struct {
	Name  string
	Type  uint32
	Flags uint64
	Addr  uint64 // 0 for what is not loaded
	Data  []byte
}

// ELF lays out an ELF file: one PT_LOAD segment per section that has an
// address, a PT_NOTE for those of type SHT_NOTE.
func ELF(typ, machine uint16, sections ...Section) []byte {
	strtab := []byte{0}
	var phdrs, shdrs, body []byte
	load := 0
	for _, s := range sections {
		if s.Addr != 0 {
			load++
		}
		if s.Type == 7 {
			load++
		}
	}
	bodyOff := uint64(64 + 56*load)
	shdrs = append(shdrs, make([]byte, 64)...)
	add := func(s Section) {
		for (bodyOff+uint64(len(body)))%16 != 0 {
			body = append(body, 0)
		}
		off, size := bodyOff+uint64(len(body)), uint64(len(s.Data))
		body = append(body, s.Data...)
		shdrs = appendShdr(shdrs, uint32(len(strtab)), s, off)
		strtab = append(append(strtab, s.Name...), 0)
		if s.Addr != 0 {
			phdrs = appendPhdr(phdrs, 1, off, s.Addr, size)
		}
		if s.Type == 7 {
			phdrs = appendPhdr(phdrs, 4, off, s.Addr, size)
		}
	}
	for _, s := range sections {
		add(s)
	}
	strtab = append(strtab, ".shstrtab\x00"...)
	strSection := Section{Name: "", Type: 3, Data: strtab}
	off := bodyOff + uint64(len(body))
	body = append(body, strtab...)
	shdrs = appendShdr(shdrs, uint32(len(strtab)-len(".shstrtab")-1), strSection, off)

	h := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	h = le.AppendUint16(h, typ)
	h = le.AppendUint16(h, machine)
	h = le.AppendUint32(h, 1)
	h = le.AppendUint64(h, TextAddr)
	h = le.AppendUint64(h, 64)
	h = le.AppendUint64(h, bodyOff+uint64(len(body)))
	h = le.AppendUint32(h, 0)
	for _, v := range []int{64, 56, load, 64, len(sections) + 2, len(sections) + 1} {
		h = le.AppendUint16(h, uint16(v))
	}
	return bytes.Join([][]byte{h, phdrs, body, shdrs}, nil)
}

func appendPhdr(b []byte, typ uint32, off, addr, size uint64) []byte {
	b = le.AppendUint32(b, typ)
	b = le.AppendUint32(b, 5)
	for _, v := range []uint64{off, addr, addr, size, size, 1} {
		b = le.AppendUint64(b, v)
	}
	return b
}

func appendShdr(b []byte, name uint32, s Section, off uint64) []byte {
	b = le.AppendUint32(b, name)
	b = le.AppendUint32(b, s.Type)
	for _, v := range []uint64{s.Flags, s.Addr, off, uint64(len(s.Data)), 0, 1, 0} {
		b = le.AppendUint64(b, v)
	}
	return b
}

// Notes is a kernel's notes section, with the PVH entry where pvh is set.
func Notes(pvh bool) []byte {
	var b []byte
	if pvh {
		b = note("Xen", 18, le.AppendUint32(nil, 0x1000000))
	}
	return append(b, note("GNU", 3, buildID())...)
}

// Vmlinux is an x86_64 ELF kernel with the facts above, PVH, and extra bytes
// in its data.
func Vmlinux(extra ...byte) []byte {
	data := append([]byte(Banner+"\n\x00"), extra...)
	return ELF(2, 62,
		Section{Name: ".text", Type: 1, Flags: 6, Addr: TextAddr, Data: bytes.Repeat([]byte{0xf3, 0x0f, 0x1e, 0xfa, 0xc3, 0xcc, 0xcc, 0xcc}, 64)},
		Section{Name: ".rodata", Type: 1, Flags: 2, Addr: TextAddr + 0x100000, Data: data},
		Section{Name: ".notes", Type: 7, Flags: 2, Addr: TextAddr + 0x200000, Data: Notes(true)},
	)
}

// Image is an arm64 Image with the facts above and a vDSO that has a build ID
// of its own.
func Image(extra ...byte) []byte {
	h := make([]byte, 64)
	copy(h, "MZ")
	le.PutUint64(h[16:], 1<<20)
	le.PutUint64(h[24:], 0xa)
	copy(h[56:], "ARM\x64")
	vdso := ELF(3, 183, Section{Name: ".note", Type: 7, Flags: 2, Data: note("GNU", 3, []byte("a vDSO's own id....."))})
	b := append(h, Banner+"\n\x00"...)
	b = append(pad(b, 8), vdso...)
	b = append(pad(b, 8), Notes(false)...)
	return append(b, extra...)
}

// Zboot wraps packed bytes in an EFI zboot image of the named type.
func Zboot(comp string, packed []byte) []byte {
	h := make([]byte, 64)
	copy(h, "MZ\x00\x00zimg")
	le.PutUint32(h[8:], 64)
	le.PutUint32(h[12:], uint32(len(packed)))
	copy(h[24:], comp)
	return append(h, packed...)
}

// BzImage wraps packed bytes in an x86 boot image of protocol 2.15.
func BzImage(packed []byte) []byte {
	b := make([]byte, 1024)
	b[0x1f1] = 1
	copy(b[0x1fe:], "\x55\xaa")
	copy(b[0x202:], "HdrS")
	le.PutUint16(b[0x206:], 0x20f)
	le.PutUint16(b[0x236:], 1)
	le.PutUint32(b[0x248:], 0)
	le.PutUint32(b[0x24c:], uint32(len(packed)))
	return append(b, packed...)
}

// Sized appends the unpacked length, as the kernel's build does for all
// formats but gzip.
func Sized(packed []byte, unpacked int) []byte {
	return le.AppendUint32(bytes.Clone(packed), uint32(unpacked))
}

type writeCloser interface {
	Write([]byte) (int, error)
	Close() error
}

// Pack compresses bytes as gzip, xz, zstd, lz4 or lzma.
func Pack(comp string, b []byte) ([]byte, error) {
	var out bytes.Buffer
	var w writeCloser
	var err error
	switch comp {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "xz":
		w, err = xz.NewWriter(&out)
	case "zstd":
		w, err = zstd.NewWriter(&out)
	case "lz4":
		z := lz4.NewWriter(&out)
		err = z.Apply(lz4.LegacyOption(true))
		w = z
	case "lzma":
		w, err = lzma.NewWriter(&out)
	default:
		return nil, fmt.Errorf("no packer for %q", comp)
	}
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
