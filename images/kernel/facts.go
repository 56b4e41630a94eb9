package kernel

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// findBanner finds linux_banner (init/version.c): "Linux version RELEASE
// (builder) (compiler) #1 SMP ...\n". The kernel holds the same words as a
// format string too, which has no digit behind them.
func findBanner(b []byte) (banner, release string) {
	const prefix, maxLen = "Linux version ", 1024
	for len(b) > 0 {
		i := bytes.Index(b, []byte(prefix))
		if i < 0 {
			return "", ""
		}
		b = b[i:]
		line := b[:min(len(b), maxLen)]
		if end := bytes.IndexByte(line, '\n'); end > 0 {
			text := string(line[:end])
			rel, rest, ok := strings.Cut(text[len(prefix):], " ")
			if ok && rel != "" && rel[0] >= '0' && rel[0] <= '9' && strings.Contains(rest, "#") && printable(text) {
				return text, rel
			}
		}
		b = b[len(prefix):]
	}
	return "", ""
}

func printable(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return false
		}
	}
	return true
}

const (
	noteBuildID     = 3  // NT_GNU_BUILD_ID
	notePhys32Entry = 18 // XEN_ELFNOTE_PHYS32_ENTRY (include/xen/interface/elfnote.h)
)

func (img *image) pvh() bool {
	if img.elf == nil {
		return false
	}
	for n := range img.elf.Notes() {
		if n.Name == "Xen" && n.Type == notePhys32Entry {
			return true
		}
	}
	return false
}

func (img *image) buildID() string {
	if img.elf == nil {
		return rawBuildID(img.payload)
	}
	for n := range img.elf.Notes() {
		if n.Name == "GNU" && n.Type == noteBuildID {
			return hex.EncodeToString(n.Desc)
		}
	}
	return ""
}

// rawBuildID searches a raw Image, which has no headers, for the build-ID
// note. The embedded vDSOs carry one each; those lie inside complete ELF
// files and are passed over. "" unless exactly one ID is left.
func rawBuildID(b []byte) string {
	vdsos := embeddedELFs(b)
	found := ""
	magic := []byte("\x03\x00\x00\x00GNU\x00")
	for at := 0; ; {
		i := bytes.Index(b[at:], magic)
		if i < 0 {
			return found
		}
		pos := at + i
		at = pos + len(magic)
		if pos < 8 || pos%4 != 0 || binary.LittleEndian.Uint32(b[pos-8:]) != 4 || inside(vdsos, pos) {
			continue
		}
		size := int(binary.LittleEndian.Uint32(b[pos-4:]))
		if size < 8 || size > 64 || at+size > len(b) {
			continue
		}
		id := hex.EncodeToString(b[at : at+size])
		if found != "" && found != id {
			return ""
		}
		found = id
	}
}

type span struct{ start, end int }

func inside(spans []span, pos int) bool {
	for _, s := range spans {
		if pos >= s.start && pos < s.end {
			return true
		}
	}
	return false
}

// embeddedELFs lists the ELF files inside the bytes, 32-bit ones included
// (the compat vDSO); each ends with its section headers.
func embeddedELFs(b []byte) []span {
	const maxFound = 64
	le := binary.LittleEndian
	var out []span
	for at := 0; len(out) < maxFound; {
		i := bytes.Index(b[at:], []byte("\x7fELF"))
		if i < 0 {
			return out
		}
		pos := at + i
		at = pos + 4
		h := b[pos:]
		if len(h) < 64 {
			return out
		}
		var end uint64
		switch h[4] {
		case 1:
			end = uint64(le.Uint32(h[0x20:])) + uint64(le.Uint16(h[0x2e:]))*uint64(le.Uint16(h[0x30:]))
		case 2:
			end = le.Uint64(h[0x28:]) + uint64(le.Uint16(h[0x3a:]))*uint64(le.Uint16(h[0x3c:]))
		}
		if end > 64 && end <= uint64(min(len(h), 1<<20)) {
			out = append(out, span{pos, pos + int(end)})
			at = pos + int(end)
		}
	}
	return out
}
