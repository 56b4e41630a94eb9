package isa

import (
	"bytes"
	"strings"

	"golang.org/x/arch/x86/x86asm"
)

// x86Plain are the instructions that may stand in a loop of which nothing is left to
// chance: those that move and compute in registers, and those that test memory. Jcc,
// SETcc and CMOVcc are told by their beginnings.
var x86Plain = names("ADD AND BT CALL CBW CDQ CDQE CLC CLD CLI CMP CQO CWDE DEC IMUL INC JMP LEA LEAVE LFENCE MFENCE MOV MOVSX MOVSXD MOVZX NEG NOP NOT OR PAUSE POP PUSH RET ROL ROR SAR SBB SFENCE SHL SHR STC SUB TEST XOR")

// x86Reads are those of them that only read the memory that they name first.
var x86Reads = names("BT CALL CMP JMP PUSH TEST")

// x86GDB are the general registers in the order of i386-64bit.xml.
var x86GDB = []x86asm.Reg{
	x86asm.RAX, x86asm.RBX, x86asm.RCX, x86asm.RDX, x86asm.RSI, x86asm.RDI, x86asm.RBP, x86asm.RSP,
	x86asm.R8, x86asm.R9, x86asm.R10, x86asm.R11, x86asm.R12, x86asm.R13, x86asm.R14, x86asm.R15, x86asm.RIP,
}

// endbr64 is not known to x86asm.
var endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}

// x86Insn is Intel's SDM, volume 2.
func x86Insn(code []byte) (Insn, int) {
	if bytes.HasPrefix(code, endbr64) {
		return Insn{Plain: true}, len(endbr64)
	}
	in, err := x86asm.Decode(code, 64)
	if err != nil {
		return Insn{}, 0
	}
	op := in.Op.String()
	conditional := op[0] == 'J' || strings.HasPrefix(op, "SET") || strings.HasPrefix(op, "CMOV")
	out := Insn{Plain: x86Plain[op] || conditional}
	for i, arg := range in.Args {
		m, ok := arg.(x86asm.Mem)
		if !ok || op == "LEA" || op == "NOP" {
			continue
		}
		// What it names first it writes: a value that it has, or one that it computes of
		// what was there, which is a counter.
		writes := i == 0 && !x86Reads[op]
		if writes && op != "MOV" && !strings.HasPrefix(op, "SET") && op != "POP" {
			out.Plain = false
		}
		if writes || m.Base == x86asm.RSP {
			continue
		}
		out.Reads, out.At = true, x86Address(m)
	}
	return out, in.Len
}

func x86Address(m x86asm.Mem) Address {
	base, ok1 := x86Number(m.Base)
	index, ok2 := x86Number(m.Index)
	return Address{Known: ok1 && ok2 && m.Segment == 0, Base: base, Index: index, Scale: uint64(m.Scale), Disp: uint64(m.Disp)}
}

// x86Number is the number of a register, NoRegister for none.
func x86Number(r x86asm.Reg) (int, bool) {
	if r == 0 {
		return NoRegister, true
	}
	for n, is := range x86GDB {
		if r == is {
			return n, true
		}
	}
	return NoRegister, false
}

// names is a set.
func names(list string) map[string]bool {
	out := map[string]bool{}
	for _, n := range strings.Fields(list) {
		out[n] = true
	}
	return out
}
