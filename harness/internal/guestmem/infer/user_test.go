package infer_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem/infer"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/mmu"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/isa"
)

// The process of PID 1: its code is six pages of a file, its data one page of memory.
const (
	mm, areas, program    = 0x60000, 0x61000, 0x63000
	inode, mapping        = 0x63400, 0x63800
	xaNode, leafNode      = 0x64000, 0x6c000
	dentry, root, names   = 0x65000, 0x65100, 0x65200
	pageArray             = 0x66000
	pgd, pud, pmd, pte    = 0x68000, 0x69000, 0x6a000, 0x6b000
	kernelRoot, codeFrame = 0x6d000, 0x70
	codePages             = 6
	code, userData        = 0x400000, 0x500000
)

// The layout that is to be inferred.
const (
	oRoot, oPGD, oExe             = 0x18, 0x30, 0x48
	oVMM, oVFlags, oPgoff, oVFile = 0x10, 0x20, 0x50, 0x58
	oPath, oFMapping              = 0x10, 0x28
)

func withProcess() memory {
	const here = link + moved
	const present = 7
	m := running()
	m.put(mm+oRoot, here+leafNode|1<<3|2)
	m.put(mm+oPGD, here+pgd)
	m.put(mm+oExe, here+program)
	for i, p := range []uint64{code - 1, code + codePages<<12 - 1, userData - 1, userData + 0xfff} {
		m.put(leafNode+8+8*uint64(i), p)
	}
	m.put(leafNode+128+8*1, here+areas)
	m.put(leafNode+128+8*3, here+areas+0x100)
	area := func(i, start, end, flags, pgoff, file uint64) {
		at := areas + 0x100*i
		m.put(at, start)
		m.put(at+8, end)
		m.put(at+oVMM, here+mm)
		m.put(at+oVMM+8, 0x8000000000000025)
		m.put(at+oVFlags, flags)
		m.put(at+oPgoff, pgoff)
		m.put(at+oVFile, file)
	}
	area(0, code, code+codePages<<12, 0x75, 0, here+program)
	area(1, userData, userData+0x1000, 0x73, userData>>12, 0)

	m.put(program+oPath+8, here+dentry)
	m.put(program+oFMapping, here+mapping)
	m.put(inode+48, here+mapping)
	m.put(mapping, here+inode)
	m.put(mapping+16, here+xaNode|2)
	m.put(dentry+24, here+root)
	m.put(dentry+32, 4<<32)
	m.put(dentry+40, here+names)
	m.put(dentry+48, here+inode)
	copy(m[names:], "init\x00")

	m.put(pgd, pud|present)
	m.put(pud, pmd|present)
	m.put(pmd+8*(code>>21), pte|present)
	for i := range uint64(codePages) {
		m.put(pte+8*i, (codeFrame+i)<<12|present)
		m.put(xaNode+40+8*i, here+pageArray+64*(codeFrame+i))
		m.put(pageArray+64*(codeFrame+i)+32, i)
	}
	return m
}

func inferredWithTables(t *testing.T, m memory) *kimage.Types {
	t.Helper()
	img := image(t, linked())
	first, err := infer.Image(img)
	if err != nil {
		t.Fatal(err)
	}
	ram := physmem.New(bytes.NewReader(m), []physmem.Range{{Size: size}})
	space := mmu.NewSpace(ram, isa.X86Tables{Root: kernelRoot}, mmu.Linear{Virt: link + moved, Size: size})
	types, err := infer.Memory(t.Context(), &locate.Kernel{Image: img.WithTypes(first), Space: space, Offset: moved}, ram, 1)
	if err != nil {
		t.Fatal(err)
	}
	return types
}

func TestUserSpace(t *testing.T) {
	types := inferredWithTables(t, withProcess())
	for _, w := range []struct {
		typ  string
		path []string
		off  uint64
	}{
		{"mm_struct", []string{"mm_mt", "ma_root"}, oRoot},
		{"mm_struct", []string{"pgd"}, oPGD},
		{"mm_struct", []string{"exe_file"}, oExe},
		{"vm_area_struct", []string{"vm_flags"}, oVFlags},
		{"vm_area_struct", []string{"vm_pgoff"}, oPgoff},
		{"vm_area_struct", []string{"vm_file"}, oVFile},
		{"file", []string{"f_mapping"}, oFMapping},
		{"file", []string{"f_path", "dentry"}, oPath + 8},
		{"dentry", []string{"d_name", "name"}, 40},
	} {
		if got, err := types.Field(w.typ, w.path...); err != nil || got.Off != w.off {
			t.Errorf("%s %v: %+v, %v; want %#x", w.typ, w.path, got, err, w.off)
		}
	}
}

// A list of mappings, as before 6.1, is found where there is no tree.
func TestListOfMappings(t *testing.T) {
	const here = link + moved
	m := withProcess()
	m.put(mm+oRoot, 0)
	m.put(mm, here+areas)
	for i, at := range []uint64{areas, areas + 0x100} {
		m.put(at+oVMM, [2]uint64{here + areas + 0x100, 0}[i])
		m.put(at+oVMM+8, [2]uint64{0, here + areas}[i])
		m.put(at+0x40, here+mm)
		flags := [2]uint64{0x75, 0x73}[i]
		m.put(at+oVFlags, 0)
		m.put(at+0x50, flags)
		m.put(at+0x60, [2]uint64{0, userData >> 12}[i])
		m.put(at+0x58, 0)
		m.put(at+0x68, [2]uint64{here + program, 0}[i])
	}
	types := inferredWithTables(t, m)
	if types.Has("mm_struct", "mm_mt", "ma_root") || !types.Has("mm_struct", "mmap") {
		t.Error("the list was not found")
	}
	if got, err := types.Field("vm_area_struct", "vm_file"); err != nil || got.Off != 0x68 {
		t.Errorf("vm_file: %+v, %v", got, err)
	}
}

// What page tables and page cache do not prove is not used, and tasks are read all the same.
func TestUserSpaceIsProven(t *testing.T) {
	const here = link + moved
	for name, spoil := range map[string]func(memory){
		"a page of the file is elsewhere":        func(m memory) { m.put(pte+8*3, (codeFrame+4)<<12|7) },
		"too few pages":                          func(m memory) { m.put(pte, 0); m.put(pte+8, 0); m.put(pte+16, 0) },
		"a mapping is not where the tree has it": func(m memory) { m.put(areas+8, code+0x1000) },
		"the tree ends early":                    func(m memory) { m.put(leafNode+8, code+0x1000) },
		"a mapping is of another process":        func(m memory) { m.put(areas+0x100+oVMM, here) },
		"code that nobody may run":               func(m memory) { m.put(areas+oVFlags, 0x35) },
		"no code":                                func(m memory) { m.put(areas+oVFlags, 0x71) },
		"the inode has other pages":              func(m memory) { m.put(inode+48, here) },
		"no page tables":                         func(m memory) { m.put(mm+oPGD, 0) },
		"the process has no mappings":            func(m memory) { m.put(mm+oRoot, 0) },
		"a wild tree":                            func(m memory) { m.put(mm+oRoot, here+names|3<<3|2) },
		"a tree of itself":                       func(m memory) { m.put(mm+oRoot, here+leafNode|2<<3|2); m.put(leafNode+128, here+leafNode|2<<3|2) },
	} {
		m := withProcess()
		spoil(m)
		types := inferredWithTables(t, m)
		if types.Has("mm_struct", "pgd") || types.Has("vm_area_struct", "vm_file") || !types.Has("task_struct", "mm") {
			t.Errorf("%s: it was used", name)
		}
	}
}

// Without names, or the program's file, the rest is known.
func TestNamelessFiles(t *testing.T) {
	for field, spoil := range map[string]func(memory){
		"dentry.d_parent":    func(m memory) { m.put(dentry+32, 5<<32) }, // the name is shorter
		"mm_struct.exe_file": func(m memory) { m.put(mm+oExe, link+moved+inode) },
	} {
		m := withProcess()
		spoil(m)
		types := inferredWithTables(t, m)
		typ, name, _ := strings.Cut(field, ".")
		if types.Has(typ, name) || !types.Has("vm_area_struct", "vm_file") {
			t.Errorf("%s was taken, or all was dropped", field)
		}
	}
}
