// Package kimage answers what a kernel's own image says of it: where its
// symbols are linked and how its structures are laid out. Nothing else is
// needed: no debug package, no System.map.
package kimage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/images/kernel/elf64"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// ErrNoBTF says that the image has no types.
var ErrNoBTF = errors.New("the kernel has no BTF: build it with CONFIG_DEBUG_INFO_BTF=y, or boot it from its build tree")

// Image is an unpacked kernel, as it was linked. Its Types are not safe for
// concurrent use, the rest is.
type Image struct {
	ISA     *isa.ISA
	Symbols *kallsyms.Table
	Types   *Types
	// Start and End are the addresses of _text and _end.
	Start, End uint64
	// PageShift is log2 of the page size.
	PageShift uint
	payload   []byte
	exports   map[string]uint64
}

// Load reads the image and its types. payload is what kernel.Kernel.Payload gives,
// table its symbols; both are kept and must not change. An image without types gives
// an error that is ErrNoBTF, unless more has them: it is asked then, and may be nil.
func Load(payload []byte, a arch.Arch, table *kallsyms.Table, more func() (*Types, error)) (*Image, error) {
	img, err := LoadUntyped(payload, a, table)
	if err != nil {
		return nil, err
	}
	if raw, ok := img.btf(); ok {
		if img.Types, err = newTypes(raw); err != nil {
			return nil, err
		}
		return img, nil
	}
	if more != nil {
		if img.Types, err = more(); err != nil {
			return nil, fmt.Errorf("%w (%w)", ErrNoBTF, err)
		}
	}
	if img.Types == nil {
		return nil, fmt.Errorf("read kernel image: %w", ErrNoBTF)
	}
	return img, nil
}

// WithTypes is the image with other types.
func (img *Image) WithTypes(t *Types) *Image {
	c := *img
	c.Types = t
	return &c
}

// LoadUntyped is Load for a kernel without types: Types is nil.
func LoadUntyped(payload []byte, a arch.Arch, table *kallsyms.Table) (*Image, error) {
	i, err := isa.Find(a)
	if err != nil {
		return nil, fmt.Errorf("read kernel image: %w", err)
	}
	img := &Image{ISA: i, Symbols: table, PageShift: 12, payload: payload}
	if err := img.findBounds(); err != nil {
		return nil, err
	}
	img.exports = img.findExports([]string{i.Export, "init_task", "jiffies_64", "__per_cpu_offset", "nr_cpu_ids"})
	return img, nil
}

// maxImage bounds the size of a kernel in memory: 1 GiB is the room x86 has for
// it (Documentation/arch/x86/x86_64/mm.rst).
const maxImage = 1 << 30

// findBounds finds where the kernel begins and ends. A raw image says it in its
// header, which matters for a kernel without CONFIG_KALLSYMS_ALL: it names neither
// _text nor _end.
func (img *Image) findBounds() error {
	if img.ISA.Raw != nil {
		size, shift, ok := img.ISA.Raw(img.payload)
		if !ok {
			return fmt.Errorf("read kernel image: no %s Image header", img.ISA.Arch)
		}
		for s := range img.Symbols.All() {
			if off, ok := img.Symbols.FileOffset(s.Addr); ok {
				img.Start = s.Addr - off
				break
			}
		}
		img.End, img.PageShift = img.Start+size, shift
	} else {
		img.Start, _ = img.Symbols.Lookup("_text")
		img.End, _ = img.Symbols.Lookup("_end")
	}
	if img.Start == 0 || img.End <= img.Start || img.End-img.Start > maxImage {
		return fmt.Errorf("read kernel image: implausible bounds %#x-%#x", img.Start, img.End)
	}
	return nil
}

// Lookup returns the link-time address of a symbol: from kallsyms, or of data
// that the kernel exports to modules.
func (img *Image) Lookup(name string) (uint64, bool) {
	if a, ok := img.Symbols.Lookup(name); ok {
		return a, true
	}
	a, ok := img.exports[name]
	return a, ok
}

// btf finds the types: between the symbols around .BTF, in the section of that
// name, or by the magic of the header.
func (img *Image) btf() ([]byte, bool) {
	start, ok1 := img.Symbols.Lookup("__start_BTF")
	stop, ok2 := img.Symbols.Lookup("__stop_BTF")
	if ok1 && ok2 && stop > start {
		if b, ok := img.Bytes(start, stop-start); ok && isBTF(b) {
			return b, true
		}
	}
	if f, ok := img.elf(); ok {
		if s, ok := f.Section(".BTF"); ok && isBTF(f.Data(s)) {
			return f.Data(s), true
		}
	}
	return largestBTF(img.payload)
}

func (img *Image) elf() (*elf64.File, bool) {
	f, err := elf64.Parse(img.payload)
	return f, err == nil
}

// The header of BTF (include/uapi/linux/btf.h, struct btf_header).
var btfMagic = []byte{0x9f, 0xeb, 1, 0}

const btfHeader = 24

func isBTF(b []byte) bool { return len(b) > btfHeader && bytes.HasPrefix(b, btfMagic) }

// largestBTF finds the types by their header alone. There may be others: of
// built-in modules, or a constant in code.
func largestBTF(b []byte) (found []byte, ok bool) {
	le := binary.LittleEndian
	for at := 0; ; {
		i := bytes.Index(b[at:], btfMagic)
		if i < 0 {
			return found, found != nil
		}
		at += i
		if h := b[at:]; len(h) > btfHeader && le.Uint32(h[4:]) == btfHeader {
			end := btfHeader + uint64(le.Uint32(h[16:])) + uint64(le.Uint32(h[20:]))
			if end <= uint64(len(h)) && end > uint64(len(found)) {
				found = h[:end]
			}
		}
		at += len(btfMagic)
	}
}

// Bytes returns the image's own bytes at a link-time address. ok is false
// where the file has none, as in .bss.
func (img *Image) Bytes(addr, size uint64) (b []byte, ok bool) {
	off, ok := img.Symbols.FileOffset(addr)
	n := uint64(len(img.payload))
	if !ok || off > n || size > n-off {
		return nil, false
	}
	return img.payload[off : off+size : off+size], true
}

// Banner returns the link-time address and the text of linux_banner, without
// its newline: what a kernel in memory is known by.
func (img *Image) Banner() (addr uint64, text []byte, ok bool) {
	const prefix = "Linux version "
	at := 0
	if addr, ok := img.Symbols.Lookup("linux_banner"); ok {
		if off, ok := img.Symbols.FileOffset(addr); ok && off < uint64(len(img.payload)) {
			at = int(off) // no need to search all before it
		}
	}
	for {
		i := bytes.Index(img.payload[at:], []byte(prefix))
		if i < 0 {
			return 0, nil, false
		}
		at += i
		b := img.payload[at:min(at+1024, len(img.payload))]
		end := bytes.IndexByte(b, '\n')
		if addr, in := img.fileAddr(uint64(at)); in && end > len(prefix)+8 && b[len(prefix)] >= '0' && b[len(prefix)] <= '9' {
			return addr, b[:end], true
		}
		at += len(prefix)
	}
}
