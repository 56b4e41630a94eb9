package ehframe

import (
	"encoding/binary"
	"fmt"
)

// evaluator runs DWARF expressions (DWARF 5, 2.5): those that need registers
// and memory only.
type evaluator struct {
	mem   Memory
	regs  *Registers
	stack []uint64
}

// maxStack bounds the stack of an expression, maxOps its operations.
const (
	maxStack = 64
	maxOps   = 1 << 10
)

func (e *evaluator) read(addr uint64, size int) (uint64, error) {
	var b [8]byte
	if err := e.mem.Read(addr, b[:size]); err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// The operations.
const (
	exAddr, exDeref                                   = 0x03, 0x06
	exConst1U, exConst8S, exConstU, exConstS          = 0x08, 0x0f, 0x10, 0x11
	exDup, exDrop, exOver, exPick, exSwap, exRot      = 0x12, 0x13, 0x14, 0x15, 0x16, 0x17
	exAbs, exAnd, exDiv, exMinus, exMod, exMul, exNeg = 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f
	exNot, exOr, exPlus, exPlusUConst                 = 0x20, 0x21, 0x22, 0x23
	exShl, exShr, exShra, exXor                       = 0x24, 0x25, 0x26, 0x27
	exBra, exEq, exGe, exGt, exLe, exLt, exNe, exSkip = 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f
	exLit0, exLit31, exBreg0, exBreg31                = 0x30, 0x4f, 0x70, 0x8f
	exBregX, exDerefSize, exNop                       = 0x92, 0x94, 0x96
)

// run evaluates an expression, on a stack that begins with first where that is
// not nil.
func (e *evaluator) run(expr []byte, first *uint64) (uint64, error) {
	e.stack = e.stack[:0]
	if first != nil {
		e.stack = append(e.stack, *first)
	}
	c := &cursor{b: expr}
	for ops := 0; !c.done(); ops++ {
		if ops >= maxOps || len(e.stack) > maxStack {
			return 0, fmt.Errorf("evaluate expression: %w: it does not end", ErrDamaged)
		}
		op := c.byte()
		ok, err := e.push(op, c)
		if err != nil {
			return 0, err
		}
		if !ok && !e.shuffle(op, c) && !e.unary(op, c) && !e.binary(op) {
			return 0, fmt.Errorf("evaluate expression: %w: operation %#x with %d values", ErrDamaged, op, len(e.stack))
		}
	}
	if c.bad || len(e.stack) == 0 {
		return 0, fmt.Errorf("evaluate expression: %w", ErrDamaged)
	}
	return e.stack[len(e.stack)-1], nil
}

// push runs an operation that gives a value without taking one, and the reads
// of memory. ok is false for any other.
func (e *evaluator) push(op byte, c *cursor) (ok bool, err error) {
	var v uint64
	switch {
	case op == exAddr:
		v = c.word(8)
	case op >= exConst1U && op <= exConst8S: // unsigned and signed in turns
		size := 1 << ((op - exConst1U) / 2)
		if v = c.word(size); op&1 != 0 {
			c.at -= size
			v = c.signed(size)
		}
	case op == exConstU:
		v = c.uleb()
	case op == exConstS:
		v = uint64(c.sleb())
	case op >= exLit0 && op <= exLit31:
		v = uint64(op - exLit0)
	case op >= exBreg0 && op <= exBreg31, op == exBregX:
		reg := uint64(op - exBreg0)
		if op == exBregX {
			reg = c.uleb()
		}
		r, known := e.regs.Get(int(min(reg, columns)))
		if !known {
			return false, fmt.Errorf("evaluate expression: register %d is unknown", reg)
		}
		v = r + uint64(c.sleb())
	case op == exDeref || op == exDerefSize:
		size := byte(8)
		if op == exDerefSize {
			size = c.byte()
		}
		n := len(e.stack)
		if n == 0 || size < 1 || size > 8 {
			return false, nil
		}
		v, err = e.read(e.stack[n-1], int(size))
		e.stack = e.stack[:n-1]
	default:
		return false, nil
	}
	e.stack = append(e.stack, v)
	return err == nil && !c.bad, err
}

// shuffle runs the operations on the stack itself, and those on where to go on.
func (e *evaluator) shuffle(op byte, c *cursor) bool {
	s := e.stack
	n := len(s)
	from := 0 // the top is 0
	switch op {
	case exNop:
		return true
	case exDup:
	case exOver:
		from = 1
	case exPick:
		from = int(c.byte())
	case exDrop:
		if n > 0 {
			e.stack = s[:n-1]
		}
		return n > 0
	case exSwap:
		if n > 1 {
			s[n-1], s[n-2] = s[n-2], s[n-1]
		}
		return n > 1
	case exRot:
		if n > 2 {
			s[n-1], s[n-2], s[n-3] = s[n-2], s[n-3], s[n-1]
		}
		return n > 2
	case exSkip, exBra:
		return e.jump(op, c)
	default:
		return false
	}
	if c.bad || from >= n {
		return false
	}
	e.stack = append(s, s[n-1-from])
	return true
}

func (e *evaluator) jump(op byte, c *cursor) bool {
	by := int(int16(c.word(2)))
	if op == exBra {
		n := len(e.stack)
		if n == 0 {
			return false
		}
		if e.stack[n-1] == 0 {
			by = 0
		}
		e.stack = e.stack[:n-1]
	}
	if c.at += by; c.at < 0 || c.at > len(c.b) {
		c.at, c.bad = 0, true
	}
	return !c.bad
}

func (e *evaluator) unary(op byte, c *cursor) bool {
	n := len(e.stack)
	if n == 0 {
		return false
	}
	top := &e.stack[n-1]
	switch op {
	case exAbs:
		*top = uint64(max(int64(*top), -int64(*top)))
	case exNeg:
		*top = -*top
	case exNot:
		*top = ^*top
	case exPlusUConst:
		*top += c.uleb()
	default:
		return false
	}
	return !c.bad
}

func (e *evaluator) binary(op byte) bool {
	n := len(e.stack)
	if n < 2 {
		return false
	}
	a, b := e.stack[n-2], e.stack[n-1]
	v, ok := arithmetic(op, a, b)
	if !ok {
		if v, ok = comparison(op, int64(a), int64(b)); !ok {
			return false
		}
	}
	e.stack = append(e.stack[:n-2], v)
	return true
}

func arithmetic(op byte, a, b uint64) (uint64, bool) {
	switch op {
	case exAnd:
		return a & b, true
	case exOr:
		return a | b, true
	case exXor:
		return a ^ b, true
	case exPlus:
		return a + b, true
	case exMinus:
		return a - b, true
	case exMul:
		return a * b, true
	case exDiv:
		if b == 0 {
			return 0, false
		}
		return uint64(int64(a) / int64(b)), true
	case exMod:
		if b == 0 {
			return 0, false
		}
		return a % b, true
	case exShl:
		return a << min(b, 64), true
	case exShr:
		return a >> min(b, 64), true
	case exShra:
		return uint64(int64(a) >> min(b, 63)), true
	}
	return 0, false
}

func comparison(op byte, a, b int64) (uint64, bool) {
	var is bool
	switch op {
	case exEq:
		is = a == b
	case exNe:
		is = a != b
	case exLt:
		is = a < b
	case exLe:
		is = a <= b
	case exGt:
		is = a > b
	case exGe:
		is = a >= b
	default:
		return 0, false
	}
	if is {
		return 1, true
	}
	return 0, true
}
