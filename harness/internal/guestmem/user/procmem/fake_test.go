package procmem

import (
	"bytes"
	"encoding/binary"

	"github.com/unwedge/unwedge/harness/internal/guestmem/mmu"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// The fake guest's RAM: an x86_64 kernel that maps it all at direct, and one
// process.
const (
	direct  = 0xffff888000000000
	vmemmap = 0xffffea0000000000
	ramSize = 0x60000

	kernelPGD, kernelPUD                        = 0x1000, 0x2000
	userPGD, userPUD, userPMD, userPTE          = 0x3000, 0x4000, 0x5000, 0x6000
	task, mm, maple, leafA, leafB               = 0x7000, 0x7100, 0x7200, 0x7300, 0x7400
	vmas0                                       = 0x8000 // 0x80 each
	fileLib, inodeLib, mappingLib, fileExe      = 0x9000, 0x9040, 0x9080, 0x90c0
	dentryLib, dentryDir, dentryRoot, dentryMnt = 0x9100, 0x9140, 0x9180, 0x91c0
	mountUsr, mountRoot, names                  = 0x9200, 0x9280, 0x9300
	special, nodeTop, nodeLeaf                  = 0x9400, 0xa000, 0xb000
	pageArray                                   = 0xc000 // struct page of the first frames
	data                                        = 0x20000
)

// fakeLayout is one that no kernel has.
func fakeLayout() *Layout {
	sized := func(off, size uint64) field { return field{Off: off, Size: size} }
	f := func(off uint64) field { return sized(off, 8) }
	l := &Layout{
		pageShift: 12, mm: f(0), pgd: f(0), mapleRoot: f(8), list: f(16), exe: f(24),
		brkStart: f(32), brkEnd: f(40), stack: f(48), vdso: f(56),
		start: f(0), end: f(8), flags: f(16), pgoff: f(24), vmFile: f(32), next: f(40), private: f(48), vmaSize: 56,
		specialName: f(0), dentry: f(0), mount: f(8), mapping: f(16), inode: f(24), size: f(0),
		dParent: f(0), dName: f(8), mnt: f(32), mntParent: f(0), mntPoint: f(8), mRoot: f(0),
		pages: f(0), shift: sized(0, 1), slots: sized(8, 512), pageSize: 64, index: f(32),
	}
	l.maple[mapleLeaf64] = node{sized(8, 120), sized(128, 128)}
	l.maple[mapleRange64] = l.maple[mapleLeaf64]
	l.maple[mapleARange64] = node{sized(8, 72), sized(80, 80)}
	return l
}

type ram []byte

func (r ram) put(at int, words ...uint64) {
	for i, w := range words {
		binary.LittleEndian.PutUint64(r[at+8*i:], w)
	}
}

// fakeMapping is one mapping of the fake process.
type fakeMapping struct{ start, end, flags, pgoff, file, private uint64 }

// fakeMaps are its mappings: a library, whose code is at page 1 of the file,
// the heap, a gap, the stack and [vvar].
var fakeMaps = []fakeMapping{
	{0x400000, 0x401000, Read, 0, direct + fileLib, 0},
	{0x401000, 0x404000, Read | Exec, 1, direct + fileLib, 0},
	{0x404000, 0x405000, Read | Write, 4, direct + fileLib, 0},
	{0x500000, 0x502000, Read | Write, 0x500, 0, 0},
	{0x7ff0000, 0x8000000, Read | Write, 0, 0, 0},
	{0x8001000, 0x8002000, Read, 0, 0, direct + special},
}

const (
	present = 1 | 4 // for user space, too
	large   = 0x80
)

// booted is the fake guest.
func booted() ram {
	r := make(ram, ramSize)
	r.put(kernelPGD+8*(direct>>39&511), kernelPUD|present)
	r.put(kernelPUD, 0|present|large)
	// vmemmap: page frame n is at vmemmap + 64 n, that is pageArray + 64 n.
	const vmPUD, vmPMD, vmPTE = 0xd000, 0xe000, 0xf000
	r.put(kernelPGD+8*(vmemmap>>39&511), vmPUD|present)
	r.put(vmPUD+8*(vmemmap>>30&511), vmPMD|present)
	r.put(vmPMD, vmPTE|present)
	r.put(vmPTE, pageArray|present)

	r.put(userPGD, userPUD|present)
	r.put(userPUD, userPMD|present)
	r.put(userPMD+8*2, userPTE|present)
	r.put(userPTE+8*1, data+0x1000|present, data+0x2000|present) // two pages of code

	r.put(task, direct+mm)
	r.put(mm, direct+userPGD, direct+maple|mapleARange64<<3|2, direct+vmas0, direct+fileExe, 0x500000, 0x501800, 0x7fff000, 0)
	r.put(maple+8, 0x47ffff, 0)
	r.put(maple+80, direct+leafA|mapleLeaf64<<3, direct+leafB|mapleLeaf64<<3)
	r.put(leafA+8, 0x3fffff, 0x400fff, 0x403fff, 0x404fff)
	r.put(leafA+128, 0, direct+vmas0, direct+vmas0+0x80, direct+vmas0+0x100)
	r.put(leafB+8, 0x4fffff, 0x501fff, 0x7feffff, 0x7ffffff, 0x8000fff, 0x8001fff)
	r.put(leafB+128, 0, direct+vmas0+0x180, 0, direct+vmas0+0x200, 0, direct+vmas0+0x280, 0)
	for i, m := range fakeMaps {
		next := uint64(0)
		if i+1 < len(fakeMaps) {
			next = direct + vmas0 + 0x80*uint64(i+1)
		}
		r.put(vmas0+0x80*i, m.start, m.end, m.flags, m.pgoff, m.file, next, m.private)
	}
	r.files()
	return r
}

// files makes /usr/lib/libx.so.1, on a file system that is mounted at /usr, of
// five pages and a bit: page 3 is not in memory.
func (r ram) files() {
	r.put(fileLib, direct+dentryLib, direct+mountUsr+32, direct+mappingLib, direct+inodeLib)
	r.put(fileExe, direct+dentryLib, direct+mountUsr+32, direct+mappingLib, direct+inodeLib)
	r.put(inodeLib, 0x5010)
	r.put(dentryLib, direct+dentryDir, direct+names)
	r.put(dentryDir, direct+dentryRoot, direct+names+0x20)
	r.put(dentryRoot, direct+dentryRoot, direct+names+0x40)
	r.put(mountUsr, direct+mountRoot+32, direct+dentryMnt, 0, 0, direct+dentryRoot)
	r.put(mountUsr, direct+mountRoot)
	r.put(dentryMnt, direct+dentryMnt+0x20, direct+names+0x60)
	r.put(dentryMnt+0x20, direct+dentryMnt+0x20, direct+names+0x40)
	r.put(mountRoot, direct+mountRoot, 0, 0, 0, direct+dentryMnt+0x20)
	for i, s := range []string{"libx.so.1", "lib", "/", "usr", "[vvar]"} {
		copy(r[names+0x20*i:], s+"\x00")
	}
	r.put(special, direct+names+0x80)

	r.put(mappingLib, direct+nodeTop+2)
	r[nodeTop] = 6
	r.put(nodeTop+8, direct+nodeLeaf+2)
	page := func(frame uint64) uint64 { return vmemmap + 64*frame }
	for i, frame := range []uint64{data>>12 + 0, data>>12 + 1, data>>12 + 2, 0, data>>12 + 4, data>>12 + 5} {
		if frame != 0 {
			r.put(nodeLeaf+8+8*i, page(frame))
			r.put(pageArray+int(64*frame)+32, uint64(i))
		}
	}
	for i := range 6 {
		copy(r[data+0x1000*i:], bytes.Repeat([]byte{byte('0' + i)}, 0x1000))
	}
}

func (r ram) guest(l *Layout) *Guest {
	m := physmem.New(bytes.NewReader(r), physmem.Ranges(arch.X86_64, ramSize))
	return l.Guest(mmu.NewSpace(m, isa.X86Tables{Root: kernelPGD}), m)
}
