package isa

import (
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/arch/arm64/arm64asm"
)

// armPlain are the instructions that may stand in a loop of which nothing is left to
// chance, but for those that load and store. arm64asm names aliases of theirs, too.
var armPlain = names("ADC ADD ADDS ADR ADRP AND ANDS ASR B BFI BFXIL BIC BICS BL BLR BR CBNZ CBZ CCMN CCMP CINC CINV CLREX CLS CLZ CMN CMP CNEG CSEL CSET CSETM CSINC CSINV CSNEG DMB DSB EON EOR EXTR HINT ISB LSL LSR MADD MNEG MOV MOVK MOVN MOVZ MSUB MUL MVN NEG NEGS NOP ORN ORR RBIT RET REV REV16 REV32 ROR SBC SBFIZ SBFX SDIV SEV SEVL SUB SUBS SXTB SXTH SXTW TBNZ TBZ TST UBFIZ UBFX UDIV UXTB UXTH WFE YIELD")

// armLoads and armStores name the others by their beginnings. Exclusive and atomic
// stores are none: they say whether somebody else was there, or compute in memory.
var (
	armLoads  = names("LDR LDRB LDRH LDRSB LDRSH LDRSW LDUR LDURB LDURH LDURSB LDURSH LDURSW LDP LDPSW LDAR LDARB LDARH LDXR LDXRB LDXRH LDAXR LDAXRB LDAXRH")
	armStores = names("STR STRB STRH STUR STURB STURH STP STLR STLRB STLRH")
)

// armSteady are the system registers that only the loop itself could change: SP_EL0,
// TPIDR_EL1, TPIDR_EL0, TPIDRRO_EL0, DAIF, CurrentEL.
var armSteady = names("S3_0_C4_C1_0 S3_0_C13_C0_4 S3_3_C13_C0_2 S3_3_C13_C0_3 S3_3_C4_C2_1 S3_0_C4_C2_2")

// armInsn is the Arm ARM, C6.
func armInsn(code []byte) (Insn, int) {
	const size = 4
	if len(code) < size {
		return Insn{}, 0
	}
	in, err := arm64asm.Decode(code)
	if err != nil {
		return Insn{}, 0
	}
	op := in.Op.String()
	switch {
	case armLoads[op]:
		out := Insn{Plain: true}
		out.At, out.Reads = armAddress(in)
		return out, size
	case armStores[op], armPlain[op]:
		return Insn{Plain: true}, size
	case op == "MRS":
		return Insn{Plain: armSteady[in.Args[1].String()]}, size
	case op == "MSR": // of DAIF's bits, by a number
		_, is := in.Args[0].(arm64asm.Pstatefield)
		return Insn{Plain: is}, size
	}
	return Insn{}, size
}

// armAt is how arm64asm writes an address of a register and a number. Post-indexed ones
// add the number later.
var armAt = regexp.MustCompile(`^\[(X\d+|SP)(?:,#(-?\d+))?\](!|,#-?\d+)?$`)

// armAddress is where an instruction reads memory that is not the stack's.
func armAddress(in arm64asm.Inst) (at Address, reads bool) {
	for _, arg := range in.Args {
		switch m := arg.(type) {
		case arm64asm.MemImmediate:
			parts := armAt.FindStringSubmatch(m.String())
			if parts == nil {
				return Address{}, true
			}
			if parts[1] == "SP" {
				return Address{}, false
			}
			base, err1 := strconv.Atoi(parts[1][1:])
			disp, err2 := strconv.ParseInt("0"+strings.TrimPrefix(parts[2], "-"), 10, 64)
			if strings.HasPrefix(parts[2], "-") {
				disp = -disp
			}
			return Address{Known: err1 == nil && err2 == nil, Base: base, Index: NoRegister, Disp: uint64(disp)}, true
		case arm64asm.MemExtend:
			return Address{}, true
		case arm64asm.PCRel: // of a literal in the code
			return Address{}, false
		}
	}
	return Address{}, true
}
