package isa

import "encoding/binary"

func x86AfterCall(m Memory, a uint64) bool {
	var b [7]byte
	return m.Read(a-7, b[:]) == nil && x86Call(b)
}

// x86Call says whether the bytes can end in a call: `e8 rel32`, or `ff /2` with
// any ModRM form, with and without a REX prefix. Where the kernel has patched
// retpolines in it is always the first.
func x86Call(b [7]byte) bool {
	if b[2] == 0xe8 {
		return true
	}
	for n := 2; n <= 7; n++ { // length of `ff /2`
		i := 7 - n
		if b[i] == 0xff && b[i+1]>>3&7 == 2 && x86ModRMLen(b[i+1:]) == n-1 {
			return true
		}
	}
	return false
}

// x86ModRMLen is the length of a ModRM byte with its SIB and displacement
// (Intel SDM volume 2, tables 2-2 and 2-3).
func x86ModRMLen(b []byte) int {
	mod, rm := b[0]>>6, b[0]&7
	if mod == 3 {
		return 1
	}
	n := 1
	if rm == 4 {
		n = 2
		if len(b) > 1 && mod == 0 && b[1]&7 == 5 {
			return 6
		}
	}
	switch {
	case mod == 1:
		n++
	case mod == 2, mod == 0 && rm == 5:
		n += 4
	}
	return n
}

// x86Leaf takes the return address from the stack.
func x86Leaf(m Memory, sp, _ uint64) (pc, callerSP, target uint64, ok bool) {
	var b [8]byte
	if m.Read(sp, b[:]) != nil {
		return 0, 0, 0, false
	}
	pc = binary.LittleEndian.Uint64(b[:])
	if m.Read(pc-5, b[:5]) != nil || b[0] != 0xe8 {
		return 0, 0, 0, false
	}
	return pc, sp + 8, pc + uint64(int64(int32(binary.LittleEndian.Uint32(b[1:])))), true
}
