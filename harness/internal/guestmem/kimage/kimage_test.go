package kimage_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

var le = binary.LittleEndian

// The fake arm64 Image: a kernel without data symbols (CONFIG_KALLSYMS_ALL off),
// as Debian's before 6.12.
const (
	start = 0xffff800008000000
	size  = 0x40000 // in memory
	code  = 0x1000  // of function idle_task
	tab   = 0x3000  // __ksymtab
	strs  = 0x3800  // __ksymtab_strings
	rela  = 0x3900  // .rela.dyn
	types = 0x8000  // .BTF
)

// instructions of idle_task, and what they reach.
var instructions = []uint32{
	0xd503233f, // paciasp
	0xf0000080, // adrp x0, 0x...14000
	0x91010001, // add x1, x0, #0x40
	0xf9400422, // ldr x2, [x1, #8]
	0xf8410c23, // ldr x3, [x1, #0x10]!
	0xb9000423, // str w3, [x1, #4]
	0xf9400444, // ldr x4, [x2, #8]: nothing is known of x2
	0xaa0203e0, // mov x0, x2: no page any more
	0x91010001, // add x1, x0, #0x40
	0xd65f03c0, // ret
}

func types64(t *testing.T) []byte {
	t.Helper()
	u64 := &btf.Int{Name: "long unsigned int", Size: 8}
	list := &btf.Struct{Name: "list_head", Size: 16, Members: []btf.Member{{Name: "next", Type: u64}, {Name: "prev", Type: u64, Offset: 64}}}
	anon := &btf.Union{Size: 8, Members: []btf.Member{{Name: "state", Type: u64}, {Name: "raw", Type: u64}}}
	task := &btf.Struct{Name: "task_struct", Size: 40, Members: []btf.Member{
		{Name: "tasks", Type: &btf.Typedef{Name: "list_t", Type: list}},
		{Name: "", Type: anon, Offset: 128},
		{Name: "stack", Type: u64, Offset: 192},
	}}
	b, err := btf.NewBuilder([]btf.Type{&btf.Struct{Name: "task_struct", Size: 0}, task}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func fakeImage(t *testing.T) []byte {
	t.Helper()
	b := make([]byte, types)
	copy(b, "MZ")
	le.PutUint64(b[16:], size)
	le.PutUint64(b[24:], 3<<1) // pages of 64 KiB
	copy(b[56:], "ARM\x64")
	copy(b[0x100:], "Linux version %s\nLinux version 6.1.0-test (tester) #1 SMP\n")
	for i, in := range instructions {
		le.PutUint32(b[code+4*i:], in)
	}
	// Three exported symbols; only init_task is one that is looked for.
	at := uint64(strs + 1)
	for i, s := range []struct {
		name string
		addr uint64
	}{{"ignored_one", 0x2000}, {"init_task", 0x30000}, {"ignored_two", 0x2008}} {
		e := uint64(tab + 12*i)
		le.PutUint32(b[e:], uint32(s.addr-e))
		le.PutUint32(b[e+4:], uint32(at-e-4))
		copy(b[at:], s.name)
		at += uint64(len(s.name)) + 1
	}
	copy(b[0x200:], "\x00init_task\x00") // the name alone, elsewhere
	for i, v := range []uint64{start + 0x5000, 0x403, start + 0x12345, start + 0x5008, 0x403, 0x1234} {
		le.PutUint64(b[rela+8*i:], v)
	}
	le.PutUint64(b[0x5010:], start+0x777)
	b = append(b, types64(t)...)
	b = append(b, make([]byte, -len(b)&7)...)
	return append(b, kerneltest.Kallsyms(start+0x1000, []kerneltest.Symbol{
		{Off: 0, Type: 'T', Name: "_stext"}, {Off: 0, Type: 'T', Name: "idle_task"},
		{Off: 0x800, Type: 'T', Name: "start_kernel"}, {Off: 0x900, Type: 'T', Name: "fn_a"}, {Off: 0x910, Type: 'T', Name: "fn_b"},
		{Off: 0x920, Type: 'T', Name: "fn_c"}, {Off: 0x930, Type: 'T', Name: "fn_d"}, {Off: 0x940, Type: 'T', Name: "fn_e"},
		{Off: 0x950, Type: 'T', Name: "fn_f"}, {Off: 0x960, Type: 'T', Name: "fn_g"}, {Off: 0x970, Type: 'T', Name: "fn_h"},
		{Off: 0x980, Type: 'T', Name: "fn_i"}, {Off: 0x990, Type: 'T', Name: "fn_j"}, {Off: 0x9a0, Type: 'T', Name: "fn_k"},
		{Off: 0x9b0, Type: 'T', Name: "fn_l"}, {Off: 0x9c0, Type: 'T', Name: "_etext"}, {Off: 0x9d0, Type: 'T', Name: "_einittext"},
	})...)
}

func load(t *testing.T, payload []byte) (*kimage.Image, error) {
	t.Helper()
	table, err := kallsyms.Parse(payload, arch.AArch64)
	if err != nil {
		t.Fatal(err)
	}
	return kimage.Load(payload, arch.AArch64, table, nil)
}

func TestImageWithoutDataSymbols(t *testing.T) {
	img, err := load(t, fakeImage(t))
	if err != nil {
		t.Fatal(err)
	}
	if img.Start != start || img.End != start+size || img.PageShift != 16 {
		t.Errorf("%#x to %#x, pages of 2^%d", img.Start, img.End, img.PageShift)
	}
	if a, ok := img.Lookup("init_task"); !ok || a != start+0x30000 {
		t.Errorf("init_task at %#x, %v", a, ok)
	}
	if a, ok := img.Lookup("ignored_one"); ok {
		t.Errorf("ignored_one at %#x", a)
	}
	want := []uint64{start + 0x14040, start + 0x14048, start + 0x14050, start + 0x14054}
	if d := cmp.Diff(want, img.Refs("idle_task")); d != "" {
		t.Errorf("what idle_task refers to (-want +got):\n%s", d)
	}
	if addr, text, ok := img.Banner(); !ok || addr != start+0x111 || string(text) != "Linux version 6.1.0-test (tester) #1 SMP" {
		t.Errorf("banner %q at %#x", text, addr)
	}
	for place, want := range map[uint64]uint64{0x5000: start + 0x12345, 0x5008: 0, 0x5010: start + 0x777, 0x5018: 0} {
		if a, ok := img.Pointer(start + place); ok != (want != 0) || ok && a != want {
			t.Errorf("Pointer(%#x) = %#x, %v; want %#x", place, a, ok, want)
		}
	}
	if _, ok := img.Bytes(start+size-8, 8); ok {
		t.Error("bytes of .bss")
	}
}

func TestTypes(t *testing.T) {
	img, err := load(t, fakeImage(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path []string
		want kimage.Field
	}{
		{[]string{"tasks"}, kimage.Field{Off: 0, Size: 16}},
		{[]string{"tasks", "prev"}, kimage.Field{Off: 8, Size: 8}},
		{[]string{"raw"}, kimage.Field{Off: 16, Size: 8}}, // in the unnamed union
		{[]string{"stack"}, kimage.Field{Off: 24, Size: 8}},
	} {
		if f, err := img.Types.Field("task_struct", tc.path...); err != nil || f != tc.want {
			t.Errorf("%v: %+v, %v; want %+v", tc.path, f, err, tc.want)
		}
	}
	for _, path := range [][]string{{"task_struct", "gone"}, {"task_struct", "stack", "deeper"}, {"no_struct"}, {"list_t", "gone"}} {
		if f, err := img.Types.Field(path[0], path[1:]...); !errors.Is(err, kimage.ErrNoType) {
			t.Errorf("%v: %+v, %v", path, f, err)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	good := fakeImage(t)
	noBTF := bytes.ReplaceAll(good, []byte{0x9f, 0xeb, 1, 0}, []byte{0, 0, 0, 0})
	if _, err := load(t, noBTF); !errors.Is(err, kimage.ErrNoBTF) {
		t.Errorf("without BTF: %v", err)
	}
	huge := bytes.Clone(good)
	le.PutUint64(huge[16:], 1<<40)
	if _, err := load(t, huge); err == nil {
		t.Error("an Image of 1 TiB was loaded")
	}
	broken := bytes.Clone(good)
	i := bytes.Index(broken, []byte{0x9f, 0xeb, 1, 0})
	le.PutUint32(broken[i+24:], 1<<30) // the first type's name
	if _, err := load(t, broken); err == nil {
		t.Error("broken BTF was read")
	}
}
