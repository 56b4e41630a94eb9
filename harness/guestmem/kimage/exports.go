package kimage

import (
	"bytes"
	"encoding/binary"
)

// wanted is the exported data that is looked for where kallsyms has text only
// (CONFIG_KALLSYMS_ALL off, as in Debian's arm64 kernels before 6.12).
var wanted = []string{
	"init_task", "jiffies_64", "jiffies", "kimage_voffset", "phys_base", "__per_cpu_offset", "nr_cpu_ids", "memstart_addr",
}

// findExports finds exported symbols by __ksymtab, whose entries are three
// 32-bit distances: to the symbol, to its name and to its namespace
// (include/linux/export.h with CONFIG_HAVE_ARCH_PREL32_RELOCATIONS, since 5.4).
// The tables have no header, so the names are looked for first, and then what
// points to them.
func (img *Image) findExports(names []string) map[string]uint64 {
	out := map[string]uint64{}
	targets := map[uint64]string{}
	var filter [1 << 13]byte // a bit for each value of 16 low bits
	for _, n := range names {
		if _, ok := img.Symbols.Lookup(n); ok {
			continue
		}
		for _, at := range img.strings(n) {
			targets[at] = n
			filter[at>>3&0x1fff] |= 1 << (at & 7)
		}
	}
	if len(targets) == 0 {
		return out
	}
	b := img.payload
	for i := 4; i+4 <= len(b); i += 4 {
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

// strings returns where the whole string stands in the file; at most 64 times.
func (img *Image) strings(s string) []uint64 {
	var out []uint64
	pat := append(append([]byte{0}, s...), 0)
	for at := 0; len(out) < 64; {
		i := bytes.Index(img.payload[at:], pat)
		if i < 0 {
			break
		}
		out = append(out, uint64(at+i+1))
		at += i + 1
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
	if img.header() {
		return img.Start + off, true
	}
	f, ok := img.elf()
	if !ok {
		return 0, false
	}
	return f.Addr(off)
}
