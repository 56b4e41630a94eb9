package mutate

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kallsyms"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

const text = kerneltest.TextAddr

// x86 is an ELF kernel with a function of each kind every 16 bytes. edit may
// change the code and add sites that boot would rewrite.
func x86(t *testing.T, edit func(code []byte, sites *[]uint64)) []byte {
	t.Helper()
	code := bytes.Repeat([]byte{0xcc}, 0x200)
	put := func(off int, b ...byte) { copy(code[off:], b) }
	put(0x10, 0xf3, 0x0f, 0x1e, 0xfa, 0xe8, 0xe7, 0x00, 0x00, 0x00, 0x55, 0x53, 0xb9) // endbr64; call 0x100; push...
	put(0x20, 0xe8, 0xdb, 0x00, 0x00, 0x00, 0x55, 0x53, 0xb9)                         // call 0x100
	put(0x30, 0xe8, 0x01, 0x00, 0x00, 0x00, 0x55, 0x53, 0xb9)                         // a call of something else
	put(0x40, 0x0f, 0x1f, 0x44, 0x00, 0x00, 0x55, 0x53, 0xb9)                         // the nop of 5 bytes
	put(0x50, 0x55, 0x53, 0xb9)
	put(0x60, 0xf3, 0x0f, 0x1e, 0xfa, 0xc3) // too short: the next symbol follows at once
	var sites []uint64
	if edit != nil {
		edit(code, &sites)
	}
	const siteAddr, orcIPs, orcs = text + 0x10000, text + 0x11000, text + 0x12000
	var list []byte
	for i, s := range sites {
		list = binary.LittleEndian.AppendUint32(list, uint32(s-(siteAddr+4*uint64(i))))
	}
	return kerneltest.ELF(2, 62,
		kerneltest.Section{Name: ".text", Type: 1, Flags: 6, Addr: text, Data: code},
		kerneltest.Section{Name: ".return_sites", Type: 1, Flags: 2, Addr: siteAddr, Data: list},
		kerneltest.Section{Name: ".orc_unwind_ip", Type: 1, Flags: 2, Addr: orcIPs, Data: orcIPTable(orcIPs)},
		kerneltest.Section{Name: ".orc_unwind", Type: 1, Flags: 2, Addr: orcs, Data: []byte{
			8, 0, 0, 0, 0x05, 0, // text: nothing pushed
			24, 0, 0, 0, 0x05, 0, // text+0x52: two registers
			16, 0, 0, 0, 0x04, 0, // text+0x70: counted from the frame pointer
		}},
		kerneltest.Section{Name: ".rodata", Type: 1, Flags: 2, Addr: text + 0x20000, Data: kerneltest.Kallsyms(text, symbols())},
		kerneltest.Section{Name: ".notes", Type: 7, Flags: 2, Addr: text + 0x40000, Data: append(kerneltest.Notes(true), kerneltest.Banner+"\n"...)},
	)
}

func orcIPTable(at uint64) []byte {
	var b []byte
	for i, ip := range []uint64{text, text + 0x52, text + 0x70} {
		b = binary.LittleEndian.AppendUint32(b, uint32(ip-(at+4*uint64(i))))
	}
	return b
}

func symbols() []kerneltest.Symbol {
	syms := []kerneltest.Symbol{
		{Off: 0, Type: 'T', Name: "_text"}, {Off: 0, Type: 'T', Name: "start_kernel"},
		{Off: 0x10, Type: 'T', Name: "both"}, {Off: 0x20, Type: 't', Name: "fentry"}, {Off: 0x30, Type: 't', Name: "call"},
		{Off: 0x40, Type: 't', Name: "nop"}, {Off: 0x50, Type: 't', Name: "plain"}, {Off: 0x60, Type: 't', Name: "short"},
		{Off: 0x65, Type: 't', Name: "split.isra.0"}, {Off: 0x70, Type: 't', Name: "split.cold"},
		{Off: 0x80, Type: 't', Name: "twice"}, {Off: 0x90, Type: 't', Name: "twice2"}, {Off: 0xa0, Type: 't', Name: "twice"}, {Off: 0xa8, Type: 'r', Name: "data"},
		{Off: 0xb0, Type: 't', Name: "next"}, {Off: 0x100, Type: 'T', Name: "__fentry__"},
	}
	for i := range 40 {
		syms = append(syms, kerneltest.Symbol{Off: 0x110 + uint64(i), Type: 't', Name: "filler"})
	}
	syms = append(syms, kerneltest.Symbol{Off: 0x180, Type: 'T', Name: "msleep"},
		kerneltest.Symbol{Off: 0x11000, Type: 'D', Name: "__start_orc_unwind_ip"}, kerneltest.Symbol{Off: 0x1100c, Type: 'D', Name: "__stop_orc_unwind_ip"},
		kerneltest.Symbol{Off: 0x12000, Type: 'D', Name: "__start_orc_unwind"}, kerneltest.Symbol{Off: 0x12012, Type: 'D', Name: "__stop_orc_unwind"})
	return append(syms, kerneltest.Symbol{Off: 0x20000, Type: 'T', Name: "in_rodata"}, kerneltest.Symbol{Off: 0x30000, Type: 'T', Name: "_end"})
}

func parse(t *testing.T, b []byte, a arch.Arch) *kallsyms.Table {
	t.Helper()
	tab, err := kallsyms.Parse(b, a)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func mustError(t *testing.T, errno int) Fault {
	t.Helper()
	f, err := ReturnError(errno)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPatchX86(t *testing.T) {
	b := x86(t, nil)
	tab := parse(t, b, arch.X86_64)
	for _, tc := range []struct {
		function string
		fault    Fault
		skip     uint64
		code     string
	}{
		{"both", Return, 9, "\x31\xc0\xc3"},
		{"fentry", Return, 5, "\x31\xc0\xc3"},
		{"call", Return, 0, "\x31\xc0\xc3"},
		{"nop", Return, 5, "\x31\xc0\xc3"},
		{"plain", mustError(t, -12), 0, "\x48\xc7\xc0\xf4\xff\xff\xff\xc3"},
		// The following are as `objdump -d` reads them.
		{"both", Spin, 9, "\xeb\xfe"},
		{"both", SpinIRQsOff, 9, "\xfa\xeb\xfd"},
		{"both", Crash, 9, "\x0f\x0b"},
		{"plain", Reset, 0, "\x6a\x00\x6a\x00\x0f\x01\x1c\x24\xcc"},
		// sub $0x10,%rsp; mov $0x7fffffff,%edi; call 0x180; jmp 0x54: the
		// unwinder expects two registers at the call.
		{"plain", Sleep, 0, "\x48\x83\xec\x10\xbf\xff\xff\xff\x7f\xe8\x22\x01\x00\x00\xeb\xf4"},
		{"twice2", Sleep, 0, "\x48\x83\xec\x00\xbf\xff\xff\xff\x7f\xe8\xe2\x00\x00\x00\xeb\xf4"},
	} {
		out, truth, err := Patch(b, arch.X86_64, tab, tc.function, tc.fault)
		if err != nil {
			t.Errorf("%s: %v", tc.function, err)
			continue
		}
		want := bytes.Clone(b)
		addr, _ := tab.Lookup(tc.function)
		off, _ := tab.FileOffset(addr + tc.skip)
		copy(want[off:], tc.code)
		if !bytes.Equal(out, want) {
			t.Errorf("%s: the change is not %x behind %d bytes", tc.function, tc.code, tc.skip)
		}
		if truth.PatchAddress != addr+tc.skip || truth.Offset != off || truth.Fault != tc.fault.String() || truth.Section != ".text" {
			t.Errorf("%s: truth %+v", tc.function, truth)
		}
	}
}

func TestPatchRefuses(t *testing.T) {
	clean := x86(t, nil)
	atReturn := x86(t, func(_ []byte, sites *[]uint64) { *sites = append(*sites, text+0x50+2) })
	behind := x86(t, func(_ []byte, sites *[]uint64) { *sites = append(*sites, text+0x50+3) })
	for _, tc := range []struct {
		function string
		kernel   []byte
		want     string
	}{
		{"gone", clean, "no such function"},
		{"split", clean, "split.isra.0: name one"},
		{"twice", clean, "2 functions"},
		{"data", clean, "data symbol"},
		{"short", clean, "too short"},
		{"in_rodata", clean, "section .rodata, which holds no code"},
		{"_end", clean, "not in the kernel image"},
		{"plain", atReturn, ".return_sites"},
		{"plain", behind, ""},
	} {
		out, _, err := Patch(tc.kernel, arch.X86_64, parse(t, tc.kernel, arch.X86_64), tc.function, Return)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.function, err)
			}
			continue
		}
		var refused *RefusedError
		if !errors.As(err, &refused) || out != nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.function, err, tc.want)
		}
	}
}

func TestEntryARM64(t *testing.T) {
	const nop, paciasp, btic, stp = 0xd503201f, 0xd503233f, 0xd503245f, 0xa9bf7bfd
	for name, tc := range map[string]struct {
		words []uint32
		want  int
	}{
		"ftrace":      {[]uint32{nop, nop, paciasp, stp}, 8},
		"bti, ftrace": {[]uint32{btic, nop, nop, paciasp}, 12},
		"notrace":     {[]uint32{paciasp, stp}, 0},
		"plain":       {[]uint32{stp}, 0},
		"one nop":     {[]uint32{nop, stp}, 0},
		"empty":       {nil, 0},
	} {
		var b []byte
		for _, w := range tc.words {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		if got := entryARM64(nil, b, 0); got != tc.want {
			t.Errorf("%s: entry of %d bytes, want %d", name, got, tc.want)
		}
	}
}

func TestFaultCode(t *testing.T) {
	c, err := mustError(t, -12).change(function{body: make([]byte, 8), t: &tables{machine: &aarch64}})
	// From `aarch64-linux-gnu-as`: mov x0, #-12; ret.
	if want := "\x60\x01\x80\x92\xc0\x03\x5f\xd6"; err != nil || string(c.code) != want {
		t.Errorf("code %x, %v; want %x", c.code, err, want)
	}
	for _, s := range []string{"return", "return:-12", "spin", "spin-irqs-off", "sleep", "leak-lock", "crash", "reset"} {
		if f, err := ParseFault(s); err != nil || f.String() != s {
			t.Errorf("ParseFault(%s) = %v, %v", s, f, err)
		}
	}
	for _, s := range []string{"", "spin!", "return:", "return:5", "return:-4096"} {
		if f, err := ParseFault(s); err == nil {
			t.Errorf("ParseFault(%q) = %v", s, f)
		}
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	stock, out := filepath.Join(dir, "vmlinux"), filepath.Join(dir, "out")
	if err := os.WriteFile(stock, x86(t, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Identify(t.Context(), stock)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := WriteFile(t.Context(), k, out, "both", Return)
	if err != nil {
		t.Fatal(err)
	}
	mutated, err := kernel.Identify(t.Context(), out)
	if err != nil {
		t.Fatal(err)
	}
	if mutated.SHA256 != truth.SHA256 || mutated.BuildID != truth.BuildID || k.SHA256 != truth.SourceSHA256 {
		t.Errorf("truth %+v", truth)
	}
	var read Truth
	b, err := os.ReadFile(out + TruthSuffix)
	if err != nil || json.Unmarshal(b, &read) != nil || read.Function != "both" || read.New != "31c0c3" {
		t.Errorf("truth file: %s, %v", b, err)
	}
}

func TestSleepNeedsMsleep(t *testing.T) {
	b := x86(t, nil)
	b = bytes.ReplaceAll(b, []byte("msleep"), []byte("mslept"))
	_, _, err := Patch(b, arch.X86_64, parse(t, b, arch.X86_64), "both", Sleep)
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "no msleep") {
		t.Errorf("error %v, want a refusal", err)
	}
}

// From `aarch64-linux-gnu-as`.
func TestFaultCodeARM64(t *testing.T) {
	b := x86(t, nil)
	tab := parse(t, b, arch.X86_64) // any table with an msleep
	for _, tc := range []struct {
		fault Fault
		want  []uint32
	}{
		{Spin, []uint32{0x14000000}},
		{SpinIRQsOff, []uint32{0xd5034fdf, 0x14000000}},
		{Crash, []uint32{0xd4200020}},
		{Reset, []uint32{0x52800120, 0x72b08000, 0xd4000002, 0x14000000}},
		// bl from 0x50+12 to 0x180: 0x124 bytes
		{Sleep, []uint32{0xa9bf7bfd, 0x910003fd, 0x12b00000, 0x94000049, 0x17fffffe}},
	} {
		got, err := tc.fault.change(function{addr: text + 0x50, body: make([]byte, 64), t: &tables{machine: &aarch64, table: tab}})
		if err != nil || got.off != 0 || !bytes.Equal(got.code, words(tc.want...)) {
			t.Errorf("%s: %x, %v; want %x", tc.fault, got.code, err, words(tc.want...))
		}
	}
}
