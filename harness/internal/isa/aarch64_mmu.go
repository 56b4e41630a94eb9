package isa

// ARM64Tables are aarch64's stage 1 tables of one half of the address space (Arm
// ARM, D8.3: VMSAv8-64).
type ARM64Tables struct {
	Root  uint64 // physical address of the top table
	Page  uint   // log2 of the granule: 12, 14 or 16
	VA    uint   // bits of virtual address: 64 - TCR_EL1.TnSZ
	Lower bool   // the half of user space, TTBR0
	// Wide says that entries have 52-bit addresses: LPA2 with granules of 4
	// and 16 KiB, LPA with 64 KiB.
	Wide bool
}

// Walk implements Tables.
func (t ARM64Tables) Walk(m PhysMemory, va uint64) (pa, page uint64, err error) {
	if t.Page < 12 || t.Page > 16 || t.VA <= t.Page || t.VA > 52 {
		return 0, 0, ErrNotMapped
	}
	ext := ^uint64(0)
	if t.Lower {
		ext, va = 0, va&(1<<56-1) // the top byte may be a tag (TCR_EL1.TBI0)
	}
	if va>>t.VA != ext>>t.VA {
		return 0, 0, ErrNotMapped
	}
	bits := t.Page - 3 // index bits of a full table
	levels := (t.VA - t.Page + bits - 1) / bits
	table := t.Root
	for level := levels; level > 0; level-- {
		shift := t.Page + (level-1)*bits
		width := min(bits, t.VA-shift)
		e, err := entry(m, table, va>>shift&(1<<width-1))
		if err != nil {
			return 0, 0, err
		}
		switch {
		case e&1 == 0:
			return 0, 0, ErrNotMapped
		case e&3 == 3 && level > 1: // a table
			table = t.addr(e)
		case e&3 == 3 || level > 1 && shift <= 30+3*(t.Page-12): // a page, or a block
			size := uint64(1) << shift
			return t.addr(e)&^(size-1) | va&(size-1), size, nil
		default:
			return 0, 0, ErrNotMapped
		}
	}
	return 0, 0, ErrNotMapped
}

// addr returns an entry's output address.
func (t ARM64Tables) addr(e uint64) uint64 {
	low := uint64(1)<<t.Page - 1
	switch a := e & 0x0000ffffffffffff &^ low; {
	case !t.Wide:
		return a
	case t.Page == 16: // bits 15:12 are the address's 51:48
		return a | e>>12&0xf<<48
	default: // LPA2: bits 49:48 in place, 9:8 are 51:50
		return a | e&(3<<48) | e>>8&3<<50
	}
}

// User implements Tables.
func (t ARM64Tables) User(root uint64) (Tables, uint) {
	t.Root, t.Lower = root, true
	return t, t.VA
}

// armTables are the shapes for each size of the address space, which the CPU decides.
func armTables(root uint64, pageShift uint) []Tables {
	var all []Tables
	for _, va := range []uint{48, 52, 47, 42, 39, 36} {
		all = append(all, ARM64Tables{Root: root, Page: pageShift, VA: va, Wide: va == 52})
	}
	return all
}
