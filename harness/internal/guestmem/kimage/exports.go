package kimage

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// near is how far the parts of the export tables are from one another at most, in
// a distribution's kernel: they take half a MiB (include/asm-generic/vmlinux.lds.h,
// RO_DATA).
const near = 1 << 20

// findExports finds exported data where kallsyms has text only (CONFIG_KALLSYMS_ALL
// off, as in Debian's arm64 kernels before 6.12). The first name must be part of no
// other string. It goes by __ksymtab, whose entries are three
// 32-bit distances: to the symbol, to its name and to its namespace
// (include/linux/export.h with CONFIG_HAVE_ARCH_PREL32_RELOCATIONS, since 5.4).
// The tables have no header, so the names are looked for first, and then what
// points to them.
func (img *Image) findExports(names []string) map[string]uint64 {
	names = slices.DeleteFunc(names, func(n string) bool {
		_, ok := img.Symbols.Lookup(n)
		return ok
	})
	if len(names) == 0 {
		return nil
	}
	all := len(img.payload)
	if at := img.strings(names[0], 0, all); len(at) == 1 {
		out := img.exportsIn(names, max(0, int(at[0])-near), min(all, int(at[0])+near))
		if _, ok := out[names[0]]; ok {
			return out
		}
	}
	return img.exportsIn(names, 0, all)
}

// exportsIn looks for them in a part of the file.
func (img *Image) exportsIn(names []string, from, to int) map[string]uint64 {
	out := map[string]uint64{}
	targets := map[uint64]string{}
	var filter [1 << 13]byte // a bit for each value of 16 low bits
	for _, n := range names {
		for _, at := range img.strings(n, from, to) {
			targets[at] = n
			filter[at>>3&0x1fff] |= 1 << (at & 7)
		}
	}
	if len(targets) == 0 {
		return out
	}
	b := img.payload
	for i := from&^3 + 4; i+4 <= to; i += 4 {
		at := uint64(i) + uint64(int64(int32(binary.LittleEndian.Uint32(b[i:]))))
		if filter[at>>3&0x1fff]&(1<<(at&7)) == 0 {
			continue
		}
		n, ok := targets[at]
		if !ok || !img.isExport(i-16) || !img.isExport(i+8) {
			continue
		}
		link, ok := img.fileAddr(uint64(i - 4))
		addr := link + uint64(int64(int32(binary.LittleEndian.Uint32(b[i-4:]))))
		if ok && addr >= img.Start && addr < img.End {
			out[n] = addr
		}
	}
	return out
}

// strings returns where the whole string stands in a part of the file; at most 64
// times.
func (img *Image) strings(s string, from, to int) []uint64 {
	var out []uint64
	pat := append([]byte(s), 0)
	for at := from; len(out) < 64; {
		i := bytes.Index(img.payload[at:to], pat)
		if i < 0 {
			break
		}
		if at += i; at > 0 && img.payload[at-1] == 0 {
			out = append(out, uint64(at))
		}
		at++
	}
	return out
}

// isExport says whether an entry of __ksymtab may be at the offset: its name is
// a C identifier.
func (img *Image) isExport(off int) bool {
	b := img.payload
	if off < 0 || off+12 > len(b) {
		return false
	}
	at := int64(off) + 4 + int64(int32(binary.LittleEndian.Uint32(b[off+4:])))
	if at < 1 || at >= int64(len(b)) || b[at-1] != 0 {
		return false
	}
	name, _, ok := bytes.Cut(b[at:min(at+256, int64(len(b)))], []byte{0})
	if !ok || len(name) == 0 {
		return false
	}
	for _, c := range name {
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// fileAddr returns the link-time address of an offset into the payload.
func (img *Image) fileAddr(off uint64) (uint64, bool) {
	if img.ISA.Raw != nil {
		return img.Start + off, true
	}
	f, ok := img.elf()
	if !ok {
		return 0, false
	}
	return f.Addr(off)
}
