package object_test

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/guestmem/user/object"
	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// base is where the tests' objects are mapped.
const base = 0x7f1200000000

// mapped is an object as a loader maps it at base.
type mapped []byte

var errFault = errors.New("not mapped")

func (m mapped) Read(addr uint64, p []byte) error {
	off := addr - base
	if off > uint64(len(m)) || uint64(len(p)) > uint64(len(m))-off {
		return errFault
	}
	copy(p, m[off:])
	return nil
}

func load(t *testing.T, f *elf.File) mapped {
	t.Helper()
	var m mapped
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD {
			continue
		}
		m = append(m, make([]byte, p.Vaddr+p.Memsz-uint64(len(m)))...)
		if _, err := io.ReadFull(p.Open(), m[p.Vaddr:p.Vaddr+p.Filesz]); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// libraries are C libraries of the host and of its cross compiler.
var libraries = map[string]arch.Arch{
	"/lib/x86_64-linux-gnu/libc.so.6":        arch.X86_64,
	"/lib64/libc.so.6":                       arch.X86_64,
	"/usr/aarch64-linux-gnu/lib/libc.so.6":   arch.AArch64,
	"/lib/aarch64-linux-gnu/libc.so.6":       arch.AArch64,
	"/lib/x86_64-linux-gnu/libgcrypt.so.20":  arch.X86_64,
	"/lib/x86_64-linux-gnu/libcrypto.so.3":   arch.X86_64,
	"/usr/aarch64-linux-gnu/lib/libm.so.6":   arch.AArch64,
	"/usr/aarch64-linux-gnu/lib/libgcc_s.so": arch.AArch64,
}

// TestLibraries compares with what debug/elf says of the files.
func TestLibraries(t *testing.T) {
	some := false
	for name, a := range libraries {
		if _, err := os.Stat(name); err != nil {
			continue
		}
		f, err := elf.Open(name)
		if err != nil {
			continue // a linker script
		}
		some = true
		t.Run(name, func(t *testing.T) {
			defer f.Close()
			o, err := object.Load(load(t, f), nil, name, base, isa.Of(a))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, o, f, filepath.Base(name))
		})
	}
	if !some {
		t.Skip("the host has none of the libraries")
	}
}

func compare(t *testing.T, o *object.Object, f *elf.File, name string) {
	t.Helper()
	if sonames, err := f.DynString(elf.DT_SONAME); err == nil && len(sonames) > 0 {
		name = sonames[0]
	}
	if o.Name != name || o.Bias != base || o.Go {
		t.Errorf("%q, moved by %#x, Go %v; want %q, %#x", o.Name, o.Bias, o.Go, name, base)
	}
	if s := f.Section(".note.gnu.build-id"); s != nil {
		b, err := s.Data()
		if err != nil || len(b) < 16 || o.BuildID != hex.EncodeToString(b[16:]) {
			t.Errorf("build ID %s, want that of % x (%v)", o.BuildID, b, err)
		}
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	table, err := o.Frames()
	if err != nil {
		t.Fatal(err)
	}
	at := map[uint64]map[string]bool{} // the names of each address
	for _, s := range symbols {
		if elf.ST_TYPE(s.Info) == elf.STT_FUNC && s.Section != elf.SHN_UNDEF && s.Size > 0 {
			if at[s.Value] == nil {
				at[s.Value] = map[string]bool{}
			}
			at[s.Value][s.Name] = true
		}
	}
	found := 0
	for addr, names := range at {
		if y, ok := o.Symbols().Find(addr); !ok || y.Addr != addr || !names[y.Name] {
			t.Errorf("%#x is %q (at %#x), want one of %v", addr, y.Name, y.Addr, names)
		}
		if fn, err := table.Find(base + addr); err == nil && fn.Start == base+addr {
			found++
		}
	}
	// Assembly and aliases into the middle of functions have no entries.
	if 10*found < 9*len(at) {
		t.Errorf("%d of %d functions have an entry in .eh_frame", found, len(at))
	}
	t.Logf("%d functions, %d with an entry", len(at), found)
}

func TestNotELF(t *testing.T) {
	for _, m := range []mapped{bytes.Repeat([]byte{0}, 64), bytes.Repeat([]byte{0xff}, 64)} {
		if _, err := object.Load(m, nil, "x", base, isa.Of(arch.X86_64)); !errors.Is(err, object.ErrNotELF) {
			t.Errorf("got %v, want ErrNotELF", err)
		}
	}
	if _, err := object.Load(mapped{}, nil, "x", base, isa.Of(arch.X86_64)); !errors.Is(err, errFault) {
		t.Errorf("got %v, want the memory's error", err)
	}
}

// FuzzLoad wants an end, whatever is mapped.
func FuzzLoad(f *testing.F) {
	if b, err := os.ReadFile(self(f)); err == nil {
		f.Add(b[:min(len(b), 4096)])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		for _, a := range []arch.Arch{arch.X86_64, arch.AArch64} {
			o, err := object.Load(mapped(b), bytes.NewReader(b), "/x", base, isa.Of(a))
			if err != nil {
				if o != nil {
					t.Fatal("an object beside an error")
				}
				continue
			}
			last := uint64(0)
			for _, s := range o.Symbols() {
				if s.Addr < last || s.Name == "" {
					t.Fatalf("symbol %+v behind %#x", s, last)
				}
				last = s.Addr
			}
			if table, err := o.Frames(); err == nil {
				_, _ = table.Find(base + 0x1000) // that it ends is all that is asked
			}
		}
	})
}

func self(f *testing.F) string {
	f.Helper()
	name, err := os.Executable()
	if err != nil {
		f.Fatal(err)
	}
	return name
}
