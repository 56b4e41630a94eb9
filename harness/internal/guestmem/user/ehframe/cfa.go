package ehframe

import (
	"fmt"
)

// columns bounds the registers that are followed: all general ones. Rules for
// others, such as the floating-point registers, change no caller.
const columns = 34

// Registers are general registers by their DWARF numbers (System V ABI, AMD64
// supplement, figure 3.36; DWARF for the Arm 64-bit Architecture, 4.1).
type Registers struct {
	PC    uint64
	value [columns]uint64
	known [columns]bool
}

// Set gives a register a value. A number that is not followed is ignored.
func (r *Registers) Set(number int, v uint64) {
	if number >= 0 && number < columns {
		r.value[number], r.known[number] = v, true
	}
}

// Get returns a register that is known.
func (r *Registers) Get(number int) (uint64, bool) {
	if number < 0 || number >= columns {
		return 0, false
	}
	return r.value[number], r.known[number]
}

type ruleKind byte

const (
	same      ruleKind = iota // keeps its value; also what is not said
	undefined                 // is lost
	atOffset                  // is saved at CFA + off
	isOffset                  // is CFA + off
	inReg                     // is in the register off
	atExpr                    // is saved where the expression says
	isExpr                    // is what the expression says
)

type rule struct {
	kind ruleKind
	off  int64
	expr []byte
}

// row is the rules at one address.
type row struct {
	cfa  rule // isOffset of reg, or isExpr
	reg  uint64
	regs [columns]rule
}

// maxSteps bounds a program's instructions, maxStates its remembered states.
const (
	maxSteps  = 1 << 14
	maxStates = 16
)

// machine runs the programs of an entry.
type machine struct {
	f        *Function
	now      row
	initial  row
	states   []row
	loc      uint64
	steps    int
	inCommon bool
}

// rules returns the rules that hold at an address in the function.
func (f *Function) rules(pc uint64) (*row, error) {
	m := &machine{f: f, loc: f.Start, inCommon: true}
	if !m.run(f.cie.program, f.cie.addr, ^uint64(0)) {
		return nil, fmt.Errorf("unwind %#x: %w: bad program in CIE", pc, ErrDamaged)
	}
	m.initial, m.inCommon, m.loc = m.now, false, f.Start
	if !m.run(f.program, f.addr, pc) {
		return nil, fmt.Errorf("unwind %#x: %w: bad program", pc, ErrDamaged)
	}
	return &m.now, nil
}

// The call frame instructions (DWARF 5, 6.4.2 and 7.24).
const (
	opAdvance, opOffset, opRestore = 1, 2, 3 // the upper two bits

	opNop, opSetLoc, opAdvance1, opAdvance2, opAdvance4      = 0x00, 0x01, 0x02, 0x03, 0x04
	opOffsetExtended, opRestoreExtended                      = 0x05, 0x06
	opUndefined, opSameValue, opRegister                     = 0x07, 0x08, 0x09
	opRememberState, opRestoreState                          = 0x0a, 0x0b
	opDefCFA, opDefCFARegister, opDefCFAOffset, opDefCFAExpr = 0x0c, 0x0d, 0x0e, 0x0f
	opExpression, opOffsetExtendedSF, opDefCFASF             = 0x10, 0x11, 0x12
	opDefCFAOffsetSF, opValOffset, opValOffsetSF, opValExpr  = 0x13, 0x14, 0x15, 0x16
	// DW_CFA_AARCH64_negate_ra_state(_with_pc): the return address is signed.
	opNegateRAPC, opNegateRA     = 0x2c, 0x2d
	opArgsSize, opNegativeOffset = 0x2e, 0x2f // DW_CFA_GNU_*
)

// run follows a program up to an address. false: the program is damaged.
func (m *machine) run(program []byte, addr, pc uint64) bool {
	c := &cursor{b: program, addr: addr}
	for !c.done() && m.loc <= pc {
		if m.steps++; m.steps > maxSteps {
			return false
		}
		before := m.loc
		op := c.byte()
		low := uint64(op & 0x3f)
		switch op >> 6 {
		case opAdvance:
			m.loc += low * m.f.cie.codeAlign
		case opOffset:
			m.set(low, rule{kind: atOffset, off: int64(c.uleb()) * m.f.cie.dataAlign})
		case opRestore:
			m.restore(low)
		default:
			if !m.place(op, c) && !m.defCFA(op, c) && !m.register(op, c) {
				return false
			}
		}
		if m.loc > pc && !m.inCommon {
			m.loc = before
			break
		}
	}
	return !c.bad
}

// place runs the instructions that say for which addresses rules hold.
func (m *machine) place(op byte, c *cursor) bool {
	switch op {
	case opNop, opNegateRA, opNegateRAPC:
	case opSetLoc:
		m.loc = c.pointer(m.f.cie.enc, 0)
	case opAdvance1:
		m.loc += c.word(1) * m.f.cie.codeAlign
	case opAdvance2:
		m.loc += c.word(2) * m.f.cie.codeAlign
	case opAdvance4:
		m.loc += c.word(4) * m.f.cie.codeAlign
	case opArgsSize:
		c.uleb()
	case opRememberState:
		if len(m.states) >= maxStates {
			return false
		}
		m.states = append(m.states, m.now)
	case opRestoreState:
		n := len(m.states)
		if n == 0 {
			return false
		}
		m.now, m.states = m.states[n-1], m.states[:n-1]
	default:
		return false
	}
	return true
}

// defCFA runs the instructions that say where the frame is.
func (m *machine) defCFA(op byte, c *cursor) bool {
	align := m.f.cie.dataAlign
	switch op {
	case opDefCFA:
		m.now.reg = c.uleb()
		m.now.cfa = rule{kind: isOffset, off: int64(c.uleb())}
	case opDefCFASF:
		m.now.reg = c.uleb()
		m.now.cfa = rule{kind: isOffset, off: c.sleb() * align}
	case opDefCFARegister:
		m.now.reg = c.uleb()
	case opDefCFAOffset:
		m.now.cfa = rule{kind: isOffset, off: int64(c.uleb())}
	case opDefCFAOffsetSF:
		m.now.cfa = rule{kind: isOffset, off: c.sleb() * align}
	case opDefCFAExpr:
		m.now.cfa = rule{kind: isExpr, expr: c.bytes(c.uleb())}
	default:
		return false
	}
	return true
}

// register runs the instructions that say where a register is saved.
func (m *machine) register(op byte, c *cursor) bool {
	reg, align := c.uleb(), m.f.cie.dataAlign
	switch op {
	case opOffsetExtended:
		m.set(reg, rule{kind: atOffset, off: int64(c.uleb()) * align})
	case opOffsetExtendedSF:
		m.set(reg, rule{kind: atOffset, off: c.sleb() * align})
	case opNegativeOffset:
		m.set(reg, rule{kind: atOffset, off: -int64(c.uleb()) * align})
	case opValOffset:
		m.set(reg, rule{kind: isOffset, off: int64(c.uleb()) * align})
	case opValOffsetSF:
		m.set(reg, rule{kind: isOffset, off: c.sleb() * align})
	case opRestoreExtended:
		m.restore(reg)
	case opUndefined:
		m.set(reg, rule{kind: undefined})
	case opSameValue:
		m.set(reg, rule{kind: same})
	case opRegister:
		m.set(reg, rule{kind: inReg, off: int64(c.uleb())})
	case opExpression:
		m.set(reg, rule{kind: atExpr, expr: c.bytes(c.uleb())})
	case opValExpr:
		m.set(reg, rule{kind: isExpr, expr: c.bytes(c.uleb())})
	default:
		return false
	}
	return true
}

func (m *machine) set(reg uint64, r rule) {
	if reg < columns {
		m.now.regs[reg] = r
	}
}

func (m *machine) restore(reg uint64) {
	if reg < columns {
		m.now.regs[reg] = m.initial.regs[reg]
	}
}

// Step returns the registers of the caller. pc is the address in the function
// whose rules are used: one byte before a return address, since a call may be
// the last instruction of its function.
func (f *Function) Step(m Memory, r *Registers, pc uint64) (Registers, error) {
	rules, err := f.rules(pc)
	if err != nil {
		return Registers{}, err
	}
	now := *r
	now.Set(f.isa.DWARF.PC, r.PC) // expressions of the PLT ask for it
	e := &evaluator{mem: m, regs: &now}
	cfa, err := f.frame(rules, e)
	if err != nil {
		return Registers{}, err
	}
	out := *r
	for i := range rules.regs {
		v, known, err := f.value(rules.regs[i], i, cfa, e)
		if err != nil {
			return Registers{}, fmt.Errorf("unwind %#x: register %d: %w", pc, i, err)
		}
		out.value[i], out.known[i] = v, known
	}
	sp := f.isa.DWARF.SP
	if rules.regs[sp].kind == same {
		out.value[sp], out.known[sp] = cfa, true
	}
	if f.cie.ra >= columns {
		return Registers{}, fmt.Errorf("unwind %#x: %w: return address in column %d", pc, ErrDamaged, f.cie.ra)
	}
	kind := rules.regs[f.cie.ra].kind
	if kind == undefined || !out.known[f.cie.ra] || kind == same && f.isa.DWARF.LR < 0 {
		return Registers{}, ErrOutermost
	}
	out.PC = out.value[f.cie.ra]
	return out, nil
}

// frame is the canonical frame address.
func (f *Function) frame(rules *row, e *evaluator) (uint64, error) {
	switch rules.cfa.kind {
	case isExpr:
		return e.run(rules.cfa.expr, nil)
	case isOffset:
		if v, ok := e.regs.Get(int(min(rules.reg, columns))); ok {
			return v + uint64(rules.cfa.off), nil
		}
		return 0, fmt.Errorf("find frame: register %d is unknown", rules.reg)
	}
	return 0, fmt.Errorf("find frame: %w: no rule", ErrDamaged)
}

func (f *Function) value(r rule, i int, cfa uint64, e *evaluator) (v uint64, known bool, err error) {
	switch r.kind {
	case atOffset:
		v, err = e.read(cfa+uint64(r.off), 8)
	case isOffset:
		v = cfa + uint64(r.off)
	case inReg:
		v, known = e.regs.Get(int(min(uint64(r.off), columns)))
		return v, known, nil
	case atExpr:
		if v, err = e.run(r.expr, &cfa); err == nil {
			v, err = e.read(v, 8)
		}
	case isExpr:
		v, err = e.run(r.expr, &cfa)
	case undefined:
		return 0, false, nil
	default:
		v, known = e.regs.Get(i)
		return v, known, nil
	}
	return v, err == nil, err
}
