package isa

// X86Tables are x86_64's tables with 4 or 5 levels (Intel SDM, volume 3, 4.5).
type X86Tables struct {
	Root  uint64 // physical address of the top table: CR3 without its low 12 bits
	Five  bool   // CR4.LA57
	Users bool   // refuse pages without the user bit
}

const (
	x86Present  = 1 << 0
	x86UserPage = 1 << 2
	x86Large    = 1 << 7
	x86Addr     = 0x000ffffffffff000
)

// Walk implements Tables.
func (t X86Tables) Walk(m PhysMemory, va uint64) (pa, page uint64, err error) {
	top := uint(39)
	if t.Five {
		top = 48
	}
	if signs := int64(va) >> (top + 8); signs != 0 && signs != -1 {
		return 0, 0, ErrNotMapped // not canonical
	}
	table := t.Root & x86Addr
	for shift := top; ; shift -= 9 {
		e, err := entry(m, table, va>>shift&0x1ff)
		if err != nil {
			return 0, 0, err
		}
		if e&x86Present == 0 || t.Users && e&x86UserPage == 0 {
			return 0, 0, ErrNotMapped
		}
		if shift == 12 || e&x86Large != 0 && shift <= 30 {
			size := uint64(1) << shift
			return e&x86Addr&^(size-1) | va&(size-1), size, nil
		}
		table = e & x86Addr
	}
}

// User implements Tables.
func (t X86Tables) User(root uint64) (Tables, uint) {
	t.Root, t.Users = root, true
	if t.Five {
		return t, 56
	}
	return t, 47
}
