package oracle

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/elfdump"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// TestDrgn boots guests that stop, and compares their dumps as guestmem and drgn
// read them. UNWEDGE_TEST_ARCHIVE lists more kernels of the archive, such as
// deb:linux-image-cloud-amd64@trixie: 0.3 GB each for the debug information, 2 GB
// unpacked.
func TestDrgn(t *testing.T) {
	d, err := Find(t.Context())
	if err != nil {
		t.Skip(err)
	}
	t.Logf("drgn %s", d.Version)
	type guest struct {
		name string
		hang Hang
	}
	guests := []guest{
		{"x86_64 in user space", Hang{Arch: arch.X86_64}},
		{"x86_64 in user space, KASLR", Hang{Arch: arch.X86_64, Moved: true}},
		{"x86_64 in a device initcall", Hang{Arch: arch.X86_64, Sleeps: "hwrng_modinit"}},
		{"x86_64 in a core initcall", Hang{Arch: arch.X86_64, Sleeps: "ksysfs_init"}},
		{"x86_64 in systemd", Hang{Arch: arch.X86_64, Distro: true}},
		{"aarch64 in user space", Hang{Arch: arch.AArch64}},
		{"aarch64 in a device initcall", Hang{Arch: arch.AArch64, Sleeps: "hwrng_modinit"}},
		{"aarch64 in a core initcall", Hang{Arch: arch.AArch64, Sleeps: "ksysfs_init"}},
	}
	for _, kernel := range strings.Fields(os.Getenv("UNWEDGE_TEST_ARCHIVE")) {
		h := Hang{Kernel: kernel, Arch: arch.X86_64}
		if strings.Contains(kernel, arch.AArch64.Facts().Debian) {
			h.Arch = arch.AArch64
		}
		guests = append(guests, guest{kernel + " in user space", h})
	}
	for _, g := range guests {
		t.Run(g.name, func(t *testing.T) { compareHang(t, d, g.hang) })
	}
}

func compareHang(t *testing.T, d *Drgn, h Hang) {
	g, err := h.Boot(t.Context(), t.TempDir())
	check(t, err)
	debug, err := g.Debug(t.Context())
	check(t, err)
	symbols, err := ReadSymbols(debug.Vmlinux)
	check(t, err)
	k, v, took := look(t, g)
	t.Logf("%s: guestmem reads %d tasks, kernel moved by %#x, at physical %#x, problems %q", g.Kernel.Release, len(v.Tasks), v.Offset, v.PhysBase, v.Problems)
	files, err := debug.Files(v.Modules)
	check(t, err)
	_, err = d.Read(t.Context(), g.Dump, files...)
	t.Logf("the dump as QEMU writes it: drgn says %v", err)
	text, err := FindVMCoreInfo(g.Dump)
	switch {
	case errors.Is(err, ErrNoVMCoreInfo):
		t.Logf("%v: drgn cannot open it, and is given one made of what guestmem found", err)
		text, err = madeUp(k, v, g, symbols)
		fallthrough
	default:
		check(t, err)
	}
	check(t, Help(g.Dump, text))
	a, err := d.Read(t.Context(), g.Dump, files...)
	check(t, err)
	for _, s := range a.Said {
		t.Logf("drgn: %s", s)
	}
	t.Logf("speed: %s", took.Against(a))
	c := Compare(v, a, symbols, h.Sleeps)
	t.Log(c)
	for _, s := range c.Differences {
		t.Log(s)
	}
	if c.Frames.Percent() < 99 || c.Tasks.Percent() < 99 || c.Frames.All < 50 || c.Tasks.All < 10 {
		t.Errorf("too much differs: %v", c)
	}
}

// look reads the dump, twice: what is timed has the file in the page cache, as it is
// for drgn, which reads it twice too.
func look(t *testing.T, g *Guest) (*guestmem.Kernel, *guestmem.View, Took) {
	t.Helper()
	var took Took
	start := time.Now()
	k, err := g.Load(t.Context())
	check(t, err)
	took.Load = time.Since(start)
	e, err := elfdump.Open(g.Dump)
	check(t, err)
	defer e.Close()
	var v *guestmem.View
	for range 2 {
		start = time.Now()
		v, err = k.LookAt(t.Context(), e, e.VCPUs)
		check(t, err)
		took.Tasks = time.Since(start)
	}
	return k, v, took
}

// madeUp is a VMCOREINFO of what guestmem found where the kernel has none yet.
func madeUp(k *guestmem.Kernel, v *guestmem.View, g *Guest, s Symbols) (string, error) {
	start := k.Start() + v.Offset
	name, numbers := "init_top_pgt", fmt.Sprintf("NUMBER(phys_base)=%d\nNUMBER(pgtable_l5_enabled)=0\n", int64(v.PhysBase-(start-0xffffffff80000000)))
	if g.Kernel.Arch == arch.AArch64 {
		name, numbers = "swapper_pg_dir", fmt.Sprintf("NUMBER(VA_BITS)=48\nNUMBER(TCR_EL1_T1SZ)=0x10\nNUMBER(kimage_voffset)=%#x\n", start-v.PhysBase)
	}
	if len(s[name]) != 1 {
		return "", fmt.Errorf("the vmlinux has %d symbols %s", len(s[name]), name)
	}
	return fmt.Sprintf("OSRELEASE=%s\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=%x\n%sKERNELOFFSET=%x\n", g.Kernel.Release, s[name][0]+v.Offset, numbers, v.Offset), nil
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
