package kerneltest

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// WithoutBTF returns a kernel's payload with its types wiped, as one that was built
// without CONFIG_DEBUG_INFO_BTF has none. ok is false where it had none.
func WithoutBTF(payload []byte) (wiped []byte, ok bool) {
	// include/uapi/linux/btf.h, struct btf_header
	magic := []byte{0x9f, 0xeb, 1, 0, 24, 0, 0, 0}
	const strings = 16 // str_off and str_len
	out := slices.Clone(payload)
	for at := 0; ; {
		i := bytes.Index(out[at:], magic)
		if i < 0 {
			return out, ok
		}
		at += i
		if h := out[at:]; len(h) > 24 {
			end := 24 + uint64(binary.LittleEndian.Uint32(h[strings:])) + uint64(binary.LittleEndian.Uint32(h[strings+4:]))
			if end <= uint64(len(h)) {
				clear(h[:end])
				ok = true
			}
		}
		at += len(magic)
	}
}
