package identity_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"strings"
	"testing"

	fake "github.com/unwedge/unwedge/harness/internal/guestmem/guestmemtest"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/identity"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
)

const own = "Linux version 6.1.0 (a@b) (gcc 12) #1 SMP Mon"

func TestOther(t *testing.T) {
	const size = 3 << 20
	for _, tt := range []struct {
		name string
		at   int
		text string
		want string
	}{
		{"none", 0, "", ""},
		{"its own", 100, own + "\n", ""},
		{"another", 100, "Linux version 6.12.3-x (a@b) (gcc (Debian 12) 12.2, ld) #7 SMP Tue\n", "6.12.3-x #7 SMP Tue"},
		{"behind its own", 100, own + "\n\x00" + "Linux version 7.0 (a@b) (gcc) #2 Wed\n", "7.0 #2 Wed"},
		{"over the end of a piece", 1<<20 - 10, "Linux version 7.0 (a@b) (gcc) #2 Wed\n", "7.0 #2 Wed"},
		{"at the end", size - 37, "Linux version 7.0 (a@b) (gcc) #2 Wed\n", "7.0 #2 Wed"},
		{"a format", 100, "Linux version %s (a@b) (gcc) %s\n", ""},
		{"without its number", 100, "Linux version 7.0 (a@b) (gcc) # SMP Wed\n", ""},
		{"without an end", 100, "Linux version 7.0 (a@b) (gcc) #2 " + strings.Repeat("x", 600) + "\n", ""},
		{"with an escape", 100, "Linux version 7.0 (a@b) (gcc) #2 \x1b[2J\n", ""},
	} {
		ram := make(fake.Guest, size)
		copy(ram[tt.at:], tt.text)
		if got := identity.Other(t.Context(), ram.Reader(), own); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ram := make(fake.Guest, size)
	copy(ram, "Linux version 7.0 (a@b) (gcc) #2 Wed\n")
	if got := identity.Other(ctx, ram.Reader(), own); got != "" {
		t.Errorf("%q without time", got)
	}
}

func TestShort(t *testing.T) {
	for in, want := range map[string]string{own: "6.1.0 #1 SMP Mon", "": "", "Linux version 6.1": "6.1", "Linux version \x1b[2J x": "␛[2J"} {
		if got := identity.Short(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// The build ID is compared where it is in memory.
func TestSameBuild(t *testing.T) {
	const start, phys, at = fake.Link, fake.PhysBase, 0x200
	id := bytes.Repeat([]byte{0xab}, 20)
	note := append([]byte("GNU\x00"), id...)
	data := make([]byte, 0x1000)
	copy(data[at:], note)
	vmlinux := kerneltest.ELF(2, 62, kerneltest.Section{Name: ".notes", Type: 1, Flags: 2, Addr: start, Data: data})
	k := &kernel.Kernel{Path: "vmlinux", BuildID: hex.EncodeToString(id)}
	memory := func(b []byte) physmem.Reader {
		g := make(fake.Guest, fake.RamSize)
		copy(g[phys+at:], b)
		return g.Reader()
	}
	other := append([]byte("GNU\x00"), bytes.Repeat([]byte{0xcd}, 20)...)
	for _, tt := range []struct {
		name    string
		kernel  *kernel.Kernel
		payload []byte
		ram     physmem.Reader
		phys    uint64
		differ  bool
	}{
		{"the same", k, vmlinux, memory(note), phys, false},
		{"another", k, vmlinux, memory(other), phys, true},
		{"another, a raw image", k, data, memory(other), phys, true},
		{"no note in memory", k, vmlinux, memory(nil), phys, false},
		{"no memory", k, vmlinux, memory(other), 1 << 40, false},
		{"no build ID", &kernel.Kernel{}, vmlinux, memory(other), phys, false},
		{"no note in the image", k, make([]byte, 100), memory(other), phys, false},
	} {
		err := identity.SameBuild(tt.kernel, tt.payload, start, tt.ram, tt.phys)
		if (err != nil) != tt.differ {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "cdcdcd") || !strings.Contains(err.Error(), "ababab") || !strings.Contains(err.Error(), "--kernel")) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
