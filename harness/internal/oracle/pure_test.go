package oracle

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/elfdump"
	fake "github.com/unwedge/unwedge/harness/internal/guestmem/guestmemtest"
	"github.com/unwedge/unwedge/harness/internal/model"
)

const vmcoreinfo = "OSRELEASE=6.1.0\nSYMBOL(swapper_pg_dir)=ffffffff82a10000\nNUMBER(phys_base)=-27262976\nKERNELOFFSET=0\n"

// guest writes the dump of a guest of 32 MiB that has vmcoreinfo somewhere, behind
// what only looks like it.
func guest(t *testing.T, text string) string {
	t.Helper()
	ram := make([]byte, 32<<20)
	copy(ram[9<<20:], "VMCOREINFO\x00\x00OSRELEASE=") // in a string of the kernel's: no header
	if text != "" {
		copy(ram[12<<20-40:], note(text)) // across what is read at once
	}
	copy(ram[0x1010000:], "the table") // phys_base + 0x2a10000
	path := filepath.Join(t.TempDir(), "dump")
	core := fake.Core(elf.EM_X86_64, fake.Note("CORE", 1, make([]byte, 336)), fake.Segment{Phys: 0, Data: ram})
	if err := os.WriteFile(path, core, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFindVMCoreInfo(t *testing.T) {
	if got, err := FindVMCoreInfo(guest(t, vmcoreinfo)); got != vmcoreinfo || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := FindVMCoreInfo(guest(t, "")); got != "" || !errors.Is(err, ErrNoVMCoreInfo) {
		t.Errorf("of a guest without: %q, %v", got, err)
	}
}

// The oracle is debug/elf.
func TestHelp(t *testing.T) {
	path := guest(t, "")
	before, err := elfdump.Open(path)
	check(t, err)
	defer before.Close()
	check(t, Help(path, vmcoreinfo))
	e, err := elf.Open(path)
	check(t, err)
	defer e.Close()
	var notes, table []byte
	for _, p := range e.Progs {
		b, err := io.ReadAll(p.Open())
		check(t, err)
		switch {
		case p.Type == elf.PT_NOTE:
			notes = b
		case p.Vaddr == 0xffffffff82a10000:
			table = b
		case p.Vaddr>>48 != 1:
			t.Errorf("a segment at %#x", p.Vaddr)
		}
	}
	if !bytes.Contains(notes, []byte(vmcoreinfo)) || !bytes.Contains(notes, []byte("CORE\x00")) {
		t.Errorf("notes %q", notes)
	}
	if len(table) != pageSize || !strings.HasPrefix(string(table), "the table") {
		t.Errorf("%d bytes of the page table", len(table))
	}
	after, err := elfdump.Open(path)
	check(t, err)
	defer after.Close()
	if !after.VMCoreInfo || len(after.VCPUs) != len(before.VCPUs) {
		t.Errorf("VMCOREINFO %v, %d of %d vCPUs", after.VMCoreInfo, len(after.VCPUs), len(before.VCPUs))
	}
	a, b := make([]byte, 1<<20), make([]byte, 1<<20)
	check(t, errors.Join(before.ReadPhys(0x1000000, a), after.ReadPhys(0x1000000, b)))
	if !bytes.Equal(a, b) {
		t.Error("the memory has changed")
	}
}

func TestHelpErrors(t *testing.T) {
	for text, want := range map[string]string{
		"": "no SYMBOL(swapper_pg_dir)",
		"SYMBOL(swapper_pg_dir)=ffffffff82a10000\n":                        "no NUMBER(phys_base)",
		"SYMBOL(swapper_pg_dir)=ffffffff82a10000\nNUMBER(phys_base)=x\n":   "invalid syntax",
		"SYMBOL(swapper_pg_dir)=ffffffff92a10000\nNUMBER(phys_base)=0x0\n": "is not in it",
	} {
		if err := Help(guest(t, ""), text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestCompare(t *testing.T) {
	symbols := Symbols{"schedule": {0x8000000000001000}, "__do_sys_flock": {0x8000000000002000}, "__x64_sys_flock": {0x8000000000002000}, "patched": {0x8000000000003000}}
	frame := func(name string, off uint64) model.Frame { return model.Frame{Func: name, Off: off, Reliable: true} }
	view := func() *guestmem.View {
		return &guestmem.View{Offset: 0x100000, Tasks: []model.Task{
			{PID: 0, CPU: 0, Comm: "swapper/0", State: "R", Running: true, Frames: []model.Frame{frame("schedule", 9)}},
			{PID: 1, TGID: 1, Comm: "init", State: "S", UserIP: 0x40a7ae, Frames: []model.Frame{
				frame("schedule", 5), {Func: "left", Off: 1}, frame("__x64_sys_flock", 7), frame("patched", 1), frame("schedule", 6),
			}},
		}}
	}
	answer := func() *Answer {
		return &Answer{Tasks: []Task{
			{PID: 0, CPU: 0, Comm: "swapper/0", State: "R", OnCPU: true, Frames: []Frame{{0x8000000000101009, "schedule", 9}}},
			{PID: 1, TGID: 1, CPU: -1, Comm: "init", State: "S", Frames: []Frame{
				{0x8000000000101005, "schedule", 5}, {0x8000000000102007, "__do_sys_flock", 7}, {0x8000000000103001, "patched", 1},
				{0x8000000000101006, "schedule", 6}, {0x40a7ae, "", 0},
			}},
		}}
	}
	for _, tt := range []struct {
		name     string
		change   func(*guestmem.View, *Answer)
		replaced string
		want     string // without "(x %)"
		differ   int
	}{
		{"all the same", func(*guestmem.View, *Answer) {}, "", "tasks 2 of 2; frames of sleeping tasks 4 of 4, 3 with the same name, 0 in modules; below replaced code 0 of 0; of running tasks 1 of 1; user-space PCs 1 of 1; 1 guesses", 0},
		{"another offset", func(v *guestmem.View, _ *Answer) { v.Tasks[1].Frames[0].Off++ }, "", "tasks 2 of 2; frames of sleeping tasks 3 of 4, 2 with the same name, 0 in modules; below replaced code 0 of 0; of running tasks 1 of 1; user-space PCs 1 of 1; 1 guesses", 1},
		{"a frame less", func(v *guestmem.View, _ *Answer) { v.Tasks[1].Frames = v.Tasks[1].Frames[:4] }, "", "tasks 2 of 2; frames of sleeping tasks 3 of 4, 2 with the same name, 0 in modules; below replaced code 0 of 0; of running tasks 1 of 1; user-space PCs 1 of 1; 1 guesses", 1},
		{"a frame less below", func(_ *guestmem.View, a *Answer) { a.Tasks[1].Frames = a.Tasks[1].Frames[:3] }, "patched", "tasks 2 of 2; frames of sleeping tasks 3 of 3, 2 with the same name, 0 in modules; below replaced code 0 of 1; of running tasks 1 of 1; user-space PCs 0 of 0; 1 guesses", 1},
		{"another state, place and PC", func(v *guestmem.View, _ *Answer) { v.Tasks[1].State, v.Tasks[1].UserIP = "D", 1 }, "", "tasks 1 of 2; frames of sleeping tasks 4 of 4, 3 with the same name, 0 in modules; below replaced code 0 of 0; of running tasks 1 of 1; user-space PCs 0 of 1; 1 guesses", 2},
		{"one each alone", func(v *guestmem.View, _ *Answer) { v.Tasks[1].PID = 2 }, "", "tasks 1 of 3; frames of sleeping tasks 0 of 0, 0 with the same name, 0 in modules; below replaced code 0 of 0; of running tasks 1 of 1; user-space PCs 0 of 0; 0 guesses", 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, a := view(), answer()
			tt.change(v, a)
			c := Compare(v, a, symbols, tt.replaced)
			got := c.String()
			for _, s := range []Share{c.Tasks, c.Frames, c.Below, c.Running, c.User} {
				got = strings.ReplaceAll(got, s.String(), strings.Split(s.String(), " (")[0])
			}
			if got != tt.want || len(c.Differences) != tt.differ {
				t.Errorf("got  %s\nwant %s\n%q", got, tt.want, c.Differences)
			}
		})
	}
}

func TestFind(t *testing.T) {
	python := func(says string) string {
		path := filepath.Join(t.TempDir(), "python")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+says+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tt := range []struct{ name, python, want string }{
		{"not asked for", "", "no drgn"},
		{"not there", "/nowhere/python", "no such file"},
		{"without drgn", python("exit 1"), "exit status 1"},
		{"too old", python("echo 0.0.22"), "0.0.31 or later"},
	} {
		t.Setenv(Env, tt.python)
		if d, err := Find(t.Context()); d != nil || !errors.Is(err, ErrNoDrgn) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v", tt.name, d, err)
		}
	}
	t.Setenv(Env, python("echo 0.1.0+7.gabcdef"))
	if d, err := Find(t.Context()); err != nil || d.Version != "0.1.0+7.gabcdef" {
		t.Errorf("%v, %v", d, err)
	}
}
