package isa

import "encoding/binary"

func insn(m Memory, a uint64) (uint32, bool) {
	var b [4]byte
	if a%4 != 0 || m.Read(a, b[:]) != nil {
		return 0, false
	}
	return binary.LittleEndian.Uint32(b[:]), true
}

func armAfterCall(m Memory, a uint64) bool {
	in, ok := insn(m, a-4)
	return ok && isCall(in)
}

// isCall says whether the instruction is BL, BLR or one of BLR's forms with
// pointer authentication (Arm ARM, C4.1).
func isCall(in uint32) bool {
	return in&0xfc000000 == 0x94000000 || // BL
		in&0xfffffc1f == 0xd63f0000 || // BLR
		in&0xfefff800 == 0xd63f0800 // BLRAA, BLRAB, BLRAAZ, BLRABZ
}

// branch returns the target of a BL.
func branch(pc uint64, in uint32) (target uint64, ok bool) {
	return pc + uint64(int64(int32(in<<6))>>4), in>>26 == 0x25
}

// armStrip removes a pointer authentication code from a kernel address. It lies in
// the bits between the size of the virtual addresses and bit 55, and above it; with
// all of them set again a kernel address is itself. The size depends on the
// kernel's configuration: the one that gives code is taken.
func armStrip(p uint64, isCode func(uint64) bool) uint64 {
	if p>>55&1 == 0 || isCode(p) {
		return p
	}
	for _, bits := range []int{48, 47, 42, 39, 36} {
		if q := p | ^uint64(0)<<(bits-1); isCode(q) {
			return q
		}
	}
	return p
}

func armLeaf(m Memory, sp, lr uint64) (pc, callerSP, target uint64, ok bool) {
	in, ok := insn(m, lr-4)
	if !ok {
		return 0, 0, 0, false
	}
	target, ok = branch(lr-4, in)
	return lr, sp, target, ok
}

// armReturns finds the calls of a function.
func armReturns(addr uint64, code []byte, callee uint64) []uint64 {
	var out []uint64
	for i := 0; i+4 <= len(code); i += 4 {
		at := addr + uint64(i)
		if to, ok := branch(at, binary.LittleEndian.Uint32(code[i:])); ok && to == callee {
			out = append(out, at+4)
		}
	}
	return out
}

// armRefs follows ADRP and what depends on it by ADD, LDR and STR (Arm ARM, C4.1);
// compilers address many variables from one of them (-fsection-anchors).
func armRefs(addr uint64, code []byte) []uint64 {
	var out []uint64
	var pages adrp
	for i := 0; i+4 <= len(code); i += 4 {
		if a, ok := pages.step(addr+uint64(i), binary.LittleEndian.Uint32(code[i:])); ok {
			out = append(out, a)
		}
	}
	return out
}

// adrp are the addresses that are known to be in x0 to x30, 0 for what is
// not known. Branches are not followed.
type adrp [32]uint64

// step runs one instruction. ok is true where it makes or uses an address that
// is not merely a page's.
func (r *adrp) step(pc uint64, in uint32) (addr uint64, ok bool) {
	rd, rn := in&31, in>>5&31
	base := r[rn]
	imm := uint64(in >> 10 & 0xfff)
	switch {
	case in&0x9f000000 == 0x90000000: // ADRP: 21 bits, in pages
		pages := int64(in>>29&3|in>>3&0x1ffffc) << 43 >> 31
		r[rd] = pc&^0xfff + uint64(pages)
		return 0, false
	case in&0xffc00000 == 0x91000000: // ADD, 64 bits, not shifted
		addr = base + imm
		r[rd] = 0
		if base != 0 {
			r[rd] = addr
		}
	case in&0xffe00c00 == 0xf8400c00: // LDR with pre-index: the base moves
		addr = base + uint64(int64(in>>12&0x1ff)<<55>>55)
		r[rd] = 0
		if base != 0 {
			r[rn] = addr
		}
	case in&0xffc00000 == 0xf9400000: // LDR, 64 bits
		addr, r[rd] = base+imm*8, 0
	case in&0xffc00000 == 0xb9400000: // LDR, 32 bits
		addr, r[rd] = base+imm*4, 0
	case in&0xffc00000 == 0xf9000000: // STR, 64 bits
		addr = base + imm*8
	case in&0xffc00000 == 0xb9000000: // STR, 32 bits
		addr = base + imm*4
	case in&0xffe0ffe0 == 0xaa0003e0: // MOV, 64 bits
		r[rd] = r[in>>16&31]
		return 0, false
	case in&0xfc000000 == 0x94000000: // BL: the called function's to change
		clear(r[:19])
		return 0, false
	case in&0x1c000000 == 0x10000000, in&0x0e000000 == 0x0a000000: // other arithmetic
		r[rd] = 0
		return 0, false
	}
	return addr, base != 0 && addr != 0
}

// armLinkLive says whether nothing before off stores x30, or what is around it has
// just loaded x30 back.
func armLinkLive(code []byte, off int) bool {
	saved, any := false, false
	for i := 0; i+4 <= len(code); i += 4 {
		if savesLR(binary.LittleEndian.Uint32(code[i:])) {
			any = true
			saved = saved || i < off
		}
	}
	if !any || !saved && off <= 32 {
		return true
	}
	return saved && takenDown(code, off)
}

// takenDown says whether the instruction at off is between the load of x30 and
// the return.
func takenDown(code []byte, off int) bool {
	const window = 6 * 4
	for i := off; i+4 <= len(code) && i < off+window; i += 4 {
		in := binary.LittleEndian.Uint32(code[i:])
		if loadsLR(in) || isCall(in) {
			return false
		}
		if isReturn(in) {
			for j := off - 4; j >= 0 && j >= off-window; j -= 4 {
				if loadsLR(binary.LittleEndian.Uint32(code[j:])) {
					return true
				}
			}
			return false
		}
	}
	return false
}

// arm64 instructions (Arm ARM, C4.1).
const (
	opRET   = 0xd65f03c0
	opRETAA = 0xd65f0bff
	opRETAB = 0xd65f0fff
)

// savesLR says whether the instruction is `stp x29, x30, [sp, ...]`,
// loadsLR whether it is the `ldp` of the same.
func savesLR(in uint32) bool { return pairLR(in) && in&(1<<22) == 0 }
func loadsLR(in uint32) bool { return pairLR(in) && in&(1<<22) != 0 }

func pairLR(in uint32) bool {
	// opc=10, 101, V=0; the index mode is bits 23 and 24; L is bit 22.
	return in&0xfe000000 == 0xa8000000 && in>>23&3 != 0 && // not the no-allocate form
		in&0x1f == 29 && in>>10&0x1f == 30 && in>>5&0x1f == 31
}

func isReturn(in uint32) bool {
	return in == opRET || in == opRETAA || in == opRETAB
}
