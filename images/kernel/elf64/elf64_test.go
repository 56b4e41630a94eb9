package elf64_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/kernel/elf64"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestParse(t *testing.T) {
	b := kerneltest.Vmlinux()
	f, err := elf64.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if f.Machine != arch.X86_64.Facts().ELF || f.Type != elf64.TypeExec || f.Entry != kerneltest.TextAddr {
		t.Errorf("header %+v", f)
	}
	s, ok := f.Section(".rodata")
	if !ok || !bytes.HasPrefix(f.Data(s), []byte(kerneltest.Banner)) || s.Addr != kerneltest.TextAddr+0x100000 {
		t.Errorf(".rodata %+v", s)
	}
	off, ok := f.FileOffset(s.Addr + 6)
	if !ok || !bytes.HasPrefix(b[off:], []byte("version")) {
		t.Errorf("FileOffset = %d, %v", off, ok)
	}
	if addr, ok := f.Addr(off); !ok || addr != s.Addr+6 {
		t.Errorf("Addr = %#x, %v", addr, ok)
	}
	if at, ok := f.SectionAt(s.Addr + 6); !ok || at.Name != ".rodata" {
		t.Errorf("SectionAt = %+v, %v", at, ok)
	}
	if _, ok := f.FileOffset(s.Addr + s.Size); ok {
		t.Error("FileOffset behind the segment")
	}
	var notes []string
	for n := range f.Notes() {
		notes = append(notes, n.Name)
	}
	if !slices.Equal(notes, []string{"Xen", "GNU"}) {
		t.Errorf("notes %v", notes)
	}
}

func TestParseErrors(t *testing.T) {
	good := kerneltest.Vmlinux()
	le := binary.LittleEndian
	edit := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	for name, tc := range map[string]struct {
		b    []byte
		want string
	}{
		"header cut":      {good[:40], "truncated ELF header"},
		"32 bits":         {edit(func(b []byte) { b[4] = 1 }), "32-bit"},
		"big-endian":      {edit(func(b []byte) { b[5] = 2 }), "big-endian"},
		"program headers": {edit(func(b []byte) { le.PutUint64(b[32:], 1<<63) }), "truncated: program headers"},
		"header size":     {edit(func(b []byte) { le.PutUint16(b[54:], 1) }), "program header size"},
		"segment":         {edit(func(b []byte) { le.PutUint64(b[64+32:], ^uint64(0)) }), "truncated: segment 0"},
		"section headers": {good[:len(good)-10], "truncated: section headers"},
		"many sections":   {edit(func(b []byte) { le.PutUint16(b[60:], 0xffff) }), "truncated: section headers"},
		"section size":    {edit(func(b []byte) { le.PutUint16(b[58:], 1) }), "section header size"},
		"section wraps":   {edit(func(b []byte) { le.PutUint64(b[le.Uint64(b[40:])+64+24:], ^uint64(0)-5) }), "truncated: section 1"},
	} {
		f, err := elf64.Parse(tc.b)
		if err == nil || f != nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
	if _, err := elf64.Parse([]byte("MZ")); !errors.Is(err, elf64.ErrNotELF) {
		t.Errorf("error %v, want ErrNotELF", err)
	}
}

func TestParseNotesStopsAtGarbage(t *testing.T) {
	b := append(kerneltest.Notes(true), bytes.Repeat([]byte{0xff}, 40)...)
	n := 0
	for range elf64.ParseNotes(b) {
		n++
	}
	if n != 2 {
		t.Errorf("%d notes, want the 2 before the garbage", n)
	}
}
