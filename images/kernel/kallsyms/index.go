package kallsyms

import "hash/maphash"

// index finds a symbol by its name: a hash table of numbers of symbols, open
// addressing. A map with the names in it takes five times as long to make, and it
// is made for each boot that stalls.
type index struct {
	seed  maphash.Seed
	slots []int32 // number + 1; 0 is free. Half of them at most are used.
}

func newIndex(syms []Symbol) *index {
	size := 2
	for size < 2*len(syms) {
		size *= 2
	}
	x := &index{maphash.MakeSeed(), make([]int32, size)}
	for i := range syms {
		if at := x.slot(syms, syms[i].Name); x.slots[at] == 0 { // the first of a name counts
			x.slots[at] = int32(i + 1)
		}
	}
	return x
}

// slot is where a name is, or where it would be put.
func (x *index) slot(syms []Symbol, name string) int {
	mask := len(x.slots) - 1
	at := int(maphash.String(x.seed, name)) & mask
	for x.slots[at] != 0 && syms[x.slots[at]-1].Name != name {
		at = (at + 1) & mask
	}
	return at
}

func (x *index) find(syms []Symbol, name string) (int, bool) {
	at := x.slot(syms, name)
	return int(x.slots[at]) - 1, x.slots[at] != 0
}
