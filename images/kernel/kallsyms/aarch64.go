package kallsyms

import (
	"bytes"

	"github.com/unwedge/unwedge/images/kernel/elf64"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var aarch64 = machine{arch: arch.AArch64, bases: imageBases}

func imageBases(b []byte, _ *elf64.File, names []Symbol, dist []int64, at offsetTable, m addressing) (base, image uint64, ok bool) {
	if m == pcRelative {
		image, ok = imageBase(b, names, dist, int64(at.off))
		return image + uint64(at.off), image, ok
	}
	// The base is the lowest symbol, in the Image's first 2 MiB. A relocatable
	// kernel may keep the value in .rela.dyn and hold 0 in its place.
	if at.base < 0 || at.base+8 > len(b) {
		return 0, 0, false
	}
	base = le.Uint64(b[at.base:])
	if base == 0 {
		base, ok = relocated(b, func(place, target uint64) bool {
			return place-uint64(at.base) == target&^imageMask
		})
		return base, base &^ imageMask, ok
	}
	return base, base &^ imageMask, imageStart(base &^ imageMask)
}

// imageMask: an arm64 Image lies at an address aligned to 2 MiB
// (Documentation/arch/arm64/booting.rst; TEXT_OFFSET is 0 since 5.8).
const imageMask = 1<<21 - 1

func imageStart(a uint64) bool { return a>>48 == 0xffff && a&imageMask == 0 }

// relocated searches .rela.dyn of a raw arm64 Image for an
// R_AARCH64_RELATIVE entry (type 0x403) whose place and target, both
// addresses, match, and returns the target.
func relocated(b []byte, match func(place, target uint64) bool) (uint64, bool) {
	relative := []byte{0x03, 0x04, 0, 0, 0, 0, 0, 0}
	for at := 0; ; {
		i := bytes.Index(b[at:], relative)
		if i < 0 {
			return 0, false
		}
		pos := at + i
		at = pos + 1
		if pos%8 != 0 || pos < 8 || pos+16 > len(b) {
			continue
		}
		place, target := le.Uint64(b[pos-8:]), le.Uint64(b[pos+8:])
		if target>>48 == 0xffff && match(place, target) {
			return target, true
		}
	}
}

// imageBase finds the address of the first byte of an Image whose kallsyms
// knows only distances, by a word whose place and target are both symbols:
// entry 0 of arm64's sys_call_table is __arm64_sys_io_setup
// (include/uapi/asm-generic/unistd.h). The word is in place (RELR) or in
// .rela.dyn.
func imageBase(b []byte, names []Symbol, dist []int64, tableOff int64) (uint64, bool) {
	var place, target int64
	for i, s := range names {
		switch s.Name {
		case "sys_call_table":
			place = tableOff + dist[i]
		case "__arm64_sys_io_setup":
			target = tableOff + dist[i]
		}
	}
	if place <= 0 || target <= 0 || place+8 > int64(len(b)) {
		return 0, false
	}
	if v := le.Uint64(b[place:]) - uint64(target); imageStart(v) {
		return v, true
	}
	v, ok := relocated(b, func(p, t uint64) bool {
		return p-uint64(place) == t-uint64(target) && imageStart(t-uint64(target))
	})
	return v - uint64(target), ok
}
