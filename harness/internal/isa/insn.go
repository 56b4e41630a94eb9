package isa

// Insn is what an instruction does, as far as it takes to say that a loop never ends.
type Insn struct {
	// Plain says that registers and memory alone decide what it does, and that what it
	// writes is registers, or a register's value to memory: where both come back, so does
	// all that it did. A clock, a device's port and a counter in memory are not plain.
	Plain bool
	// Reads says that it reads memory which is not the stack's.
	Reads bool
	// At is where it reads it.
	At Address
}

// Address is the sum of registers (by GDB's numbers, NoRegister for none) and a number.
// Known is false where it is not of that kind.
type Address struct {
	Known       bool
	Base, Index int
	Scale       uint64
	Disp        uint64
}

// NoRegister stands for no register.
const NoRegister = -1

// Of computes the address of an instruction that ends at next.
func (a Address) Of(registers []uint64, pc int, next uint64) (uint64, bool) {
	if !a.Known {
		return 0, false
	}
	sum := a.Disp
	for _, part := range []struct {
		register int
		scale    uint64
	}{{a.Base, 1}, {a.Index, a.Scale}} {
		switch r := part.register; {
		case r == NoRegister:
		case r == pc:
			sum += next * part.scale
		case r < 0 || r >= len(registers):
			return 0, false
		default:
			sum += registers[r] * part.scale
		}
	}
	return sum, true
}
