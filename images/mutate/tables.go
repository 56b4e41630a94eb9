package mutate

import (
	"encoding/binary"
	"slices"

	"github.com/unwedge/unwedge/images/kernel/elf64"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
)

// tables are a kernel's lists of code that boot rewrites. A changed byte in
// such a place would be overwritten, or make boot stop with a BUG.
type tables struct {
	payload []byte
	machine *machine
	table   *kallsyms.Table
	elf     *elf64.File // nil for a raw Image
}

// siteTable describes one list.
type siteTable struct {
	name string
	// section is its section in an ELF vmlinux; start and stop are the
	// symbols around it, used where section is "".
	section, start, stop string
	entry                int // bytes; 0: alt_instr, which grew over time
	// site decodes an entry at its address into the code it is about.
	site func(e []byte, addr uint64) (at uint64, size int)
}

var le = binary.LittleEndian

func rel32(e []byte, addr uint64) uint64 { return addr + uint64(int64(int32(le.Uint32(e)))) }

func relative(size int) func([]byte, uint64) (uint64, int) {
	return func(e []byte, addr uint64) (uint64, int) { return rel32(e, addr), size }
}

// callSites lists every direct call. Where boot rewrites them, for return stack
// depth tracking, it leaves alone one that is no call any more (call_get_dest,
// arch/x86/kernel/callthunks.c, 6.2).
const callSites = ".call_sites"

// clash names the first list with a site in [from, to). unchecked names the
// lists that this kernel's symbols do not show, and harmless those that do not
// matter.
func (t *tables) clash(from, to uint64, harmless ...string) (name string, unchecked []string) {
	for _, s := range t.machine.sites {
		if slices.Contains(harmless, s.name) {
			continue
		}
		data, addr, ok := t.bytes(s)
		if !ok {
			if s.section == "" { // a section that is not there has no sites
				unchecked = append(unchecked, s.name)
			}
			continue
		}
		if s.entry == 0 {
			if s.entry, s.site = t.altInstr(data, addr); s.entry == 0 {
				unchecked = append(unchecked, s.name)
				continue
			}
		}
		for i := 0; i+s.entry <= len(data); i += s.entry {
			at, size := s.site(data[i:i+s.entry], addr+uint64(i))
			if at < to && at+uint64(size) > from {
				return s.name, nil
			}
		}
	}
	return "", unchecked
}

// bytes returns a list's bytes and address.
func (t *tables) bytes(s siteTable) (data []byte, addr uint64, ok bool) {
	if s.section != "" {
		sec, ok := t.elf.Section(s.section)
		if !ok {
			return nil, 0, false
		}
		return t.elf.Data(sec), sec.Addr, true
	}
	start, ok1 := t.table.Lookup(s.start)
	stop, ok2 := t.table.Lookup(s.stop)
	if !ok1 || !ok2 || stop < start {
		return nil, 0, false
	}
	off, ok := t.table.FileOffset(start)
	if !ok || stop-start > uint64(len(t.payload))-off {
		return nil, 0, false
	}
	return t.payload[off : off+stop-start], start, true
}

// altInstr finds the entry size of .altinstructions: the one with which every
// entry points into code. 0 where none does.
func (t *tables) altInstr(data []byte, addr uint64) (int, func([]byte, uint64) (uint64, int)) {
	for _, f := range []struct{ size, length int }{{14, 12}, {12, 10}, {13, 10}} {
		if len(data)%f.size == 0 && t.allCode(data, addr, f.size) {
			return f.size, func(e []byte, addr uint64) (uint64, int) { return rel32(e, addr), int(e[f.length]) }
		}
	}
	return 0, nil
}

func (t *tables) allCode(data []byte, addr uint64, size int) bool {
	var code elf64.Section
	for i := 0; i < len(data); i += size {
		at := rel32(data[i:], addr+uint64(i))
		if at-code.Addr < code.Size {
			continue
		}
		s, ok := t.elf.SectionAt(at)
		if !ok || s.Flags&elf64.FlagExec == 0 {
			return false
		}
		code = s
	}
	return true
}
