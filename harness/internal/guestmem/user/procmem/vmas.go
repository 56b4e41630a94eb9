package procmem

import (
	"encoding/binary"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/guestmem/mmu"
)

// Mapping is one mapping of a process.
type Mapping struct {
	Start, End uint64
	// Flags are vm_flags, see Read, Write and Exec.
	Flags uint64
	// File is what is mapped, nil for memory without a file; Offset is where
	// in it, in bytes.
	File   *File
	Offset uint64
	// Name is the file's path, or [heap], [stack], [vdso], or "".
	Name string
}

// The low bits of vm_flags (include/linux/mm.h).
const (
	Read   = 1 << 0
	Write  = 1 << 1
	Exec   = 1 << 2
	Shared = 1 << 3
)

// String is the mapping as a line of /proc/PID/maps, without device and inode.
func (m Mapping) String() string {
	perm := []byte("---p")
	for i, c := range []byte("rwxs") {
		if m.Flags>>i&1 != 0 {
			perm[i] = c
		}
	}
	return fmt.Sprintf("%x-%x %s %08x %s", m.Start, m.End, perm, m.Offset, m.Name)
}

// Contains says whether an address lies in the mapping.
func (m *Mapping) Contains(a uint64) bool { return a >= m.Start && a < m.End }

// Bounds: of the mappings of one process (the kernel's default is 65530), of
// the nodes of a maple tree and its depth.
const (
	maxMappings = 1 << 14
	maxNodes    = 1 << 13
	maxDepth    = 10
)

// vmas collects the addresses of a process's vm_area_structs.
type vmas struct {
	l     *Layout
	space *mmu.Space
	out   []uint64
	nodes int
}

// readMaple walks a maple tree (lib/maple_tree.c). A root that is no node is of
// a tree with one entry at most, which no process has.
func (v *vmas) readMaple(root uint64) error {
	const isNode = 2 // xa_is_internal: the two low bits are 10
	if root&3 != isNode || root <= 4096 {
		return fmt.Errorf("read mappings: the maple tree's root is %#x", root)
	}
	return v.mapleNode(root, ^uint64(0), 0)
}

// mapleNode reads a node, whose addresses end at last. Nodes are aligned to 256
// bytes, and the address has the type in its bits 3 to 6.
func (v *vmas) mapleNode(enode, last uint64, depth int) error {
	typ, addr := enode>>3&0xf, enode&^0xff
	if v.nodes++; depth > maxDepth || v.nodes > maxNodes || typ < mapleLeaf64 || typ > mapleARange64 {
		return fmt.Errorf("read mappings: maple node %#x of type %d in depth %d, after %d others", addr, typ, depth, v.nodes)
	}
	lay := v.l.maple[typ]
	b := make([]byte, 256)
	if lay.slots.Size == 0 || lay.slots.Off+lay.slots.Size > 256 || lay.pivots.Off+lay.pivots.Size > 256 {
		return fmt.Errorf("read mappings: unknown maple node type %d", typ)
	}
	if err := v.space.Read(addr, b); err != nil {
		return fmt.Errorf("read mappings: %w", err)
	}
	for i := range lay.slots.Size / 8 {
		end := last
		if i < lay.pivots.Size/8 {
			if p := binary.LittleEndian.Uint64(b[lay.pivots.Off+8*i:]); p != 0 || i == 0 {
				end = min(p, last)
			}
		}
		slot := binary.LittleEndian.Uint64(b[lay.slots.Off+8*i:])
		switch {
		case typ != mapleLeaf64:
			if err := v.mapleNode(slot, end, depth+1); err != nil {
				return err
			}
		case slot > 4096 && slot&3 == 0: // else a gap
			if len(v.out) >= maxMappings {
				return fmt.Errorf("read mappings: more than %d", len(v.out))
			}
			v.out = append(v.out, slot)
		}
		if end >= last {
			break
		}
	}
	return nil
}

// readList follows mm->mmap, of kernels before 6.1.
func (v *vmas) readList(first uint64) error {
	for at := first; at != 0; {
		if len(v.out) >= maxMappings {
			return fmt.Errorf("read mappings: more than %d", len(v.out))
		}
		v.out = append(v.out, at)
		var err error
		if at, err = v.space.Uint64(at + v.l.next.Off); err != nil {
			return fmt.Errorf("read mappings: %w", err)
		}
	}
	return nil
}
