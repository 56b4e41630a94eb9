package infer

import (
	"encoding/binary"
	"slices"
)

// How much of a mm_struct and of a vm_area_struct is looked at, in bytes. Both may be
// shorter: what lies behind them is of others.
const (
	maxMM   = 2 << 10
	maxArea = 256
)

// Bounds of what is read: address spaces, and the mappings of all.
const (
	maxSpaces = 256
	maxAreas  = 1 << 14
	maxDepth  = 10
)

// space is an address space: a mm_struct, and a task that has it.
type space struct {
	task, addr uint64
	b          []byte
	areas      []area
}

// area is a vm_area_struct.
type area struct {
	addr uint64
	b    []byte
}

func (s *space) at(off uint64) uint64 { return binary.LittleEndian.Uint64(s.b[off:]) }
func (a *area) at(off uint64) uint64  { return binary.LittleEndian.Uint64(a.b[off:]) }

// isPointer says that a word may point to an object of the kernel's.
func isPointer(v uint64) bool { return v>>63 != 0 && v&7 == 0 && v < ^uint64(0xfff) }

// bytes reads up to n bytes, at least half of them.
func (g *guess) bytes(addr uint64, n int) ([]byte, bool) {
	b := make([]byte, n)
	for size := n; size >= n/2; size -= n / 8 {
		if g.k.Space.Read(addr, b[:size]) == nil {
			return b[:size], true
		}
	}
	return nil, false
}

// spaces reads every address space of which a task is known.
func (g *guess) spaces() ([]*space, bool) {
	mm := g.out["task_struct.mm"]
	if mm.Size == 0 {
		return nil, false
	}
	var out []*space
	seen := map[uint64]bool{}
	for _, t := range g.all {
		addr := t.at(mm.Off)
		if addr == 0 || seen[addr] {
			continue
		}
		seen[addr] = true
		b, ok := g.bytes(addr, maxMM)
		if !ok || len(out) >= maxSpaces {
			return nil, false
		}
		out = append(out, &space{task: t.addr, addr: addr, b: b})
	}
	return out, len(out) > 0
}

// mappings finds where a mm_struct keeps its mappings, a maple tree since 6.1, a list
// before that, and reads them. The tree must be the only one in each address space that
// has every mapping where it says itself that it is.
func (g *guess) mappings(spaces []*space) bool {
	found := map[string]field{}
	for off := uint64(0); off < maxArea; off += word {
		if all := g.everyTree(spaces, off); all != nil {
			found = map[string]field{"mm_struct.mm_mt.ma_root": {Off: off, Size: word}}
			if spaces[0].areas != nil {
				return false // a second one
			}
			for i, s := range spaces {
				s.areas = all[i]
			}
		}
	}
	if spaces[0].areas == nil {
		for _, s := range spaces {
			var ok bool
			if s.areas, ok = g.list(s); !ok {
				return false
			}
		}
		found = map[string]field{"mm_struct.mmap": {Off: listAt, Size: word}, "vm_area_struct.vm_next": {Off: nextAt, Size: word}}
	}
	for name, f := range found {
		g.out[name] = f
	}
	g.set("vm_area_struct.vm_start", 0, word)
	g.set("vm_area_struct.vm_end", word, word)
	return true
}

// Where a kernel before 6.1 has its list: mm_struct begins with it, vm_area_struct with
// vm_start, vm_end, vm_next and vm_prev (include/linux/mm_types.h).
const (
	listAt = 0
	nextAt = 16
)

// list follows the list of mappings of a kernel before 6.1, which is in order.
func (g *guess) list(s *space) ([]area, bool) {
	var out []area
	prev, end := uint64(0), uint64(0)
	for at := s.at(listAt); at != 0; {
		a, ok := g.area(at)
		if !ok || len(out) >= maxAreas || a.at(nextAt+word) != prev || a.at(0) < end || a.at(word) <= a.at(0) {
			return nil, false
		}
		out = append(out, a)
		prev, end, at = at, a.at(word), a.at(nextAt)
	}
	return out, len(out) > 0
}

func (g *guess) area(addr uint64) (area, bool) {
	if !isPointer(addr) {
		return area{}, false
	}
	b, ok := g.bytes(addr, maxArea)
	return area{addr, b}, ok
}

// everyTree reads the tree at an offset of each address space; nil where one has none.
func (g *guess) everyTree(spaces []*space, off uint64) [][]area {
	var all [][]area
	for _, s := range spaces {
		t := tree{g: g}
		if root := s.at(off); root&3 != 2 || root>>63 == 0 || !t.node(root, 0, ^uint64(0), 0) || len(t.out) == 0 {
			return nil
		}
		all = append(all, t.out)
	}
	return all
}

// The nodes of maple trees (include/linux/maple_tree.h, since 6.1): their types, and where
// pivots and slots are.
const (
	leaf   = 1
	ranges = 2
	alloc  = 3
)

type shape struct{ pivots, pivot, slots, slot uint64 }

var shapes = map[uint64]shape{
	leaf: {15, 8, 16, 128}, ranges: {15, 8, 16, 128}, alloc: {9, 8, 10, 80},
}

// nodeSize is the size of a node, and what it is aligned to.
const nodeSize = 256

// mapleTypes are the fields of struct maple_range_64 and maple_arange_64.
func mapleTypes(out map[string]field) {
	for name, typ := range map[string]uint64{"maple_range_64": leaf, "maple_arange_64": alloc} {
		s := shapes[typ]
		out[name+".pivot"] = field{Off: s.pivot, Size: word * s.pivots}
		out[name+".slot"] = field{Off: s.slot, Size: word * s.slots}
	}
}

// tree is a maple tree of mappings that is read.
type tree struct {
	g     *guess
	out   []area
	nodes int
}

// node reads a node, whose slots cover first to last. It is false where a mapping is not
// where the tree has it.
func (t *tree) node(enode, first, last uint64, depth int) bool {
	typ := enode >> 3 & 0xf
	s, ok := shapes[typ]
	if t.nodes++; !ok || depth > maxDepth || t.nodes > maxAreas || t.g.ctx.Err() != nil {
		return false
	}
	b := make([]byte, nodeSize)
	if t.g.k.Space.Read(enode&^(nodeSize-1), b) != nil {
		return false
	}
	at := func(off, i uint64) uint64 { return binary.LittleEndian.Uint64(b[off+word*i:]) }
	for i := range s.slots {
		end := last
		if i < s.pivots && (at(s.pivot, i) != 0 || i == 0) {
			end = min(at(s.pivot, i), last)
		}
		if end < first || !t.slot(at(s.slot, i), typ, first, end, depth) {
			return false
		}
		if end >= last {
			return true
		}
		first = end + 1
	}
	return false // it does not cover all
}

func (t *tree) slot(v, typ, first, last uint64, depth int) bool {
	switch {
	case typ != leaf:
		return t.node(v, first, last, depth+1)
	case v == 0: // a gap
		return true
	}
	a, ok := t.g.area(v)
	if !ok || a.at(0) != first || a.at(word) != last+1 || len(t.out) >= maxAreas {
		return false
	}
	t.out = append(t.out, a)
	return true
}

// first is the lowest offset of a vm_area_struct, from one on, that holds for every
// mapping: what lies behind the structure may be of another one.
func first(spaces []*space, from uint64, holds func(s *space, a *area, off uint64) bool) (uint64, bool) {
	for off := from; off+2*word <= maxArea; off += word {
		if every(spaces, func(s *space, a *area) bool { return off+2*word <= uint64(len(a.b)) && holds(s, a, off) }) {
			return off, true
		}
	}
	return 0, false
}

func every(spaces []*space, holds func(s *space, a *area) bool) bool {
	return !slices.ContainsFunc(spaces, func(s *space) bool {
		return slices.ContainsFunc(s.areas, func(a area) bool { return !holds(s, &a) })
	})
}
