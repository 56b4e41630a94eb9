package extmod_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/images/extmod"
	"github.com/unwedge/unwedge/images/extmod/extmodtest"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

const (
	release = "6.1.0-unwedge" // kerneltest's
	magic   = release + " SMP preempt mod_unload modversions "
)

// good is a module that the kernel of facts takes.
func good() extmodtest.Module {
	return extmodtest.Module{
		Info:     []string{"license=GPL", "name=probe", "depends=", "vermagic=" + magic},
		Versions: map[string]uint32{"module_layout": 1, "_printk": 2, "jiffies_to_msecs": 3},
		Uses:     []string{"_printk", "jiffies_to_msecs"},
	}
}

func facts() *extmod.Facts {
	return &extmod.Facts{
		Release: release, Arch: arch.X86_64, Vermagic: magic,
		Exports: map[string]extmod.Export{
			"module_layout":    {CRC: 1, HasCRC: true},
			"_printk":          {CRC: 2, HasCRC: true},
			"jiffies_to_msecs": {CRC: 3, HasCRC: true},
			"gpl_only":         {CRC: 4, HasCRC: true, GPL: true},
			"in_ns":            {CRC: 5, HasCRC: true, Namespace: "CRYPTO"},
			"for_probe":        {CRC: 6, HasCRC: true, Namespace: "module:kvm,pro*"},
			"for_kvm":          {CRC: 7, HasCRC: true, Namespace: "module:kvm"},
			"no_crc":           {},
			"of_other":         {CRC: 8, HasCRC: true, Owner: "other"},
		},
	}
}

// config is the configuration of a kernel with modules.
func config(t *testing.T, lines ...string) *kernel.Config {
	t.Helper()
	return bare(t, append(lines, "CONFIG_MODULES=y")...)
}

func bare(t *testing.T, lines ...string) *kernel.Config {
	t.Helper()
	c, err := kernel.ParseConfig(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The lines are those of kernel/module/main.c, version.c and signing.c; what of
// them 6.1, 6.12 and 7.3 print was seen on real guests.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name   string
		module func(*extmodtest.Module)
		facts  func(*extmod.Facts)
		want   extmod.Prediction // Verdict, Symbol, Errno, Lines, Needs
	}{
		{name: "as it was built", want: extmod.Prediction{Verdict: extmod.Loads}},
		{
			name: "another release is no matter where CRCs are compared",
			module: func(m *extmodtest.Module) {
				m.Info[3] = "vermagic=6.1.0-other SMP preempt mod_unload modversions "
			},
			want: extmod.Prediction{Verdict: extmod.Loads},
		},
		{
			name:   "another release where they are not",
			module: func(m *extmodtest.Module) { m.Info[3], m.Versions = "vermagic=6.1.0-other SMP ", nil },
			facts: func(f *extmod.Facts) {
				f.Vermagic = release + " SMP "
				f.Exports = map[string]extmod.Export{"_printk": {}, "jiffies_to_msecs": {}}
			},
			want: extmod.Prediction{Verdict: extmod.RefusedVermagic, Errno: "ENOEXEC",
				Lines: []string{"probe: version magic '6.1.0-other SMP ' should be '" + release + " SMP '"}},
		},
		{
			name:   "another flag",
			module: func(m *extmodtest.Module) { m.Info[3] = "vermagic=" + release + " SMP mod_unload modversions " },
			want: extmod.Prediction{Verdict: extmod.RefusedVermagic, Errno: "ENOEXEC",
				Lines: []string{"probe: version magic '" + release + " SMP mod_unload modversions ' should be '" + magic + "'"}},
		},
		{
			name:   "another layout, before another vermagic",
			module: func(m *extmodtest.Module) { m.Versions["module_layout"], m.Info[3] = 9, "vermagic=x y " },
			want: extmod.Prediction{Verdict: extmod.RefusedCRC, Symbol: "module_layout", Errno: "ENOEXEC",
				Lines: []string{"probe: disagrees about version of symbol module_layout"}},
		},
		{
			name:   "another CRC",
			module: func(m *extmodtest.Module) { m.Versions["_printk"] = 9 },
			want: extmod.Prediction{Verdict: extmod.RefusedCRC, Symbol: "_printk", Errno: "EINVAL",
				Lines: []string{"probe: disagrees about version of symbol _printk", "probe: Unknown symbol _printk (err -22)"}},
		},
		{
			name: "an extended CRC counts from 6.14 on",
			module: func(m *extmodtest.Module) {
				m.Extended = map[string]uint32{"module_layout": 1, "_printk": 9, "jiffies_to_msecs": 3}
			},
			facts: func(f *extmod.Facts) { f.Release = "6.14.0" },
			want: extmod.Prediction{Verdict: extmod.RefusedCRC, Symbol: "_printk", Errno: "EINVAL",
				Lines: []string{"probe: disagrees about version of symbol _printk", "probe: Unknown symbol _printk (err -22)"}},
		},
		{
			name:   "an extended CRC is nothing before 6.14",
			module: func(m *extmodtest.Module) { m.Extended = map[string]uint32{"_printk": 9} },
			want:   extmod.Prediction{Verdict: extmod.Loads},
		},
		{
			name:   "a symbol without CRC in the module",
			module: func(m *extmodtest.Module) { delete(m.Versions, "_printk") },
			want:   extmod.Prediction{Verdict: extmod.Loads},
		},
		{
			name:   "a symbol without CRC in the module, Debian",
			module: func(m *extmodtest.Module) { delete(m.Versions, "_printk") },
			facts:  func(f *extmod.Facts) { f.Strict = true },
			want: extmod.Prediction{Verdict: extmod.RefusedCRC, Symbol: "_printk", Errno: "EINVAL",
				Lines: []string{"probe: no symbol version for _printk", "probe: Unknown symbol _printk (err -22)"}},
		},
		{
			name:   "no CRCs at all, where that is forbidden",
			module: func(m *extmodtest.Module) { m.Versions = nil },
			facts:  func(f *extmod.Facts) { f.Config = config(t, "CONFIG_MODVERSIONS=y") },
			want:   extmod.Prediction{Verdict: extmod.RefusedCRC, Errno: "ENOEXEC"},
		},
		{
			name:   "no CRCs at all, where modprobe --force is allowed",
			module: func(m *extmodtest.Module) { m.Versions = nil },
			facts:  func(f *extmod.Facts) { f.Config = config(t, "CONFIG_MODULE_FORCE_LOAD=y") },
			want:   extmod.Prediction{Verdict: extmod.Loads},
		},
		{
			name:   "no vermagic, where that is forbidden",
			module: func(m *extmodtest.Module) { m.Info = m.Info[:3] },
			facts:  func(f *extmod.Facts) { f.Config = config(t, "CONFIG_MODVERSIONS=y") },
			want:   extmod.Prediction{Verdict: extmod.RefusedVermagic, Errno: "ENOEXEC"},
		},
		{
			name:   "unknown symbols: the last one's error",
			module: func(m *extmodtest.Module) { m.Uses, m.Versions["_printk"] = []string{"nowhere", "_printk"}, 9 },
			want: extmod.Prediction{Verdict: extmod.RefusedSymbol, Symbol: "nowhere", Errno: "EINVAL",
				Lines: []string{"probe: Unknown symbol nowhere (err -2)", "probe: disagrees about version of symbol _printk", "probe: Unknown symbol _printk (err -22)"}},
		},
		{
			name:   "weak and odd symbols may be unknown",
			module: func(m *extmodtest.Module) { m.Weak, m.Uses = []string{"nowhere"}, []string{"_GLOBAL_OFFSET_TABLE_"} },
			want:   extmod.Prediction{Verdict: extmod.Loads},
		},
		{
			name:   "a symbol that the kernel has no CRC of",
			module: func(m *extmodtest.Module) { m.Uses = []string{"no_crc"} },
			want:   extmod.Prediction{Verdict: extmod.Loads},
		},
		{
			name:   "a GPL symbol of another licence's module",
			module: func(m *extmodtest.Module) { m.Uses, m.Info[0] = []string{"gpl_only"}, "license=Proprietary" },
			want: extmod.Prediction{Verdict: extmod.RefusedSymbol, Symbol: "gpl_only", Errno: "ENOENT",
				Lines: []string{"probe: Unknown symbol gpl_only (err -2)"}},
		},
		{
			name:   "a GPL symbol",
			module: func(m *extmodtest.Module) { m.Uses, m.Info[0] = []string{"gpl_only"}, "license=Dual MIT/GPL" },
			want:   extmod.Prediction{Verdict: extmod.Loads},
		},
		{
			name:   "a namespace that is not imported",
			module: func(m *extmodtest.Module) { m.Uses = []string{"in_ns"} },
			want: extmod.Prediction{Verdict: extmod.RefusedNamespace, Symbol: "in_ns", Errno: "EINVAL",
				Lines: []string{"probe: module uses symbol (in_ns) from namespace CRYPTO, but does not import it.", "probe: Unknown symbol in_ns (err -22)"}},
		},
		{
			name: "a namespace that is imported",
			module: func(m *extmodtest.Module) {
				m.Uses, m.Info = []string{"in_ns"}, append(m.Info, "import_ns=X", "import_ns=CRYPTO")
			},
			want: extmod.Prediction{Verdict: extmod.Loads},
		},
		{
			name:   "a symbol for this module, and one for another",
			module: func(m *extmodtest.Module) { m.Uses = []string{"for_probe", "for_kvm"} },
			want: extmod.Prediction{Verdict: extmod.RefusedNamespace, Symbol: "for_kvm", Errno: "EINVAL",
				Lines: []string{"probe: module uses symbol (for_kvm) from namespace module:kvm, but does not import it.", "probe: Unknown symbol for_kvm (err -22)"}},
		},
		{
			name:   "a symbol of another module",
			module: func(m *extmodtest.Module) { m.Uses, m.Versions["of_other"] = []string{"of_other"}, 8 },
			want:   extmod.Prediction{Verdict: extmod.Loads, Needs: []string{"other"}},
		},
		{
			name:   "another machine",
			module: func(m *extmodtest.Module) { m.Machine = 183 },
			want:   extmod.Prediction{Verdict: extmod.RefusedFormat, Errno: "ENOEXEC"},
		},
		{
			name:   "stripped",
			module: func(m *extmodtest.Module) { m.NoSymbols = true },
			want:   extmod.Prediction{Verdict: extmod.RefusedFormat, Errno: "ENOEXEC"},
		},
		{
			name:   "an object file",
			module: func(m *extmodtest.Module) { m.NoThis = true },
			want:   extmod.Prediction{Verdict: extmod.RefusedFormat, Errno: "ENOEXEC"},
		},
		{
			name:  "another struct module",
			facts: func(f *extmod.Facts) { f.Release, f.StructSize = "6.4.0", 1088 },
			want: extmod.Prediction{Verdict: extmod.RefusedFormat, Errno: "ENOEXEC",
				Lines: []string{"module probe: .gnu.linkonce.this_module section size must match the kernel's built struct module size at run time"}},
		},
		{
			name:  "another struct module, before 6.4",
			facts: func(f *extmod.Facts) { f.Release, f.StructSize = "6.3.13", 1088 },
			want:  extmod.Prediction{Verdict: extmod.Loads},
		},
		{
			name:  "unsigned, by the configuration",
			facts: func(f *extmod.Facts) { f.Config = config(t, "CONFIG_MODULE_SIG=y", "CONFIG_MODULE_SIG_FORCE=y") },
			want:  extmod.Prediction{Verdict: extmod.RefusedSignature, Errno: "EKEYREJECTED", Lines: []string{"Loading of unsigned module is rejected"}},
		},
		{
			name:  "unsigned, by the command line",
			facts: func(f *extmod.Facts) { f.Cmdline = []string{"module.sig_enforce=1"} },
			want:  extmod.Prediction{Verdict: extmod.RefusedSignature, Errno: "EKEYREJECTED", Lines: []string{"Loading of unsigned module is rejected"}},
		},
		{
			name: "unsigned, where the kernel knows no signatures",
			facts: func(f *extmod.Facts) {
				f.Config, f.Cmdline = config(t), []string{"module.sig_enforce"}
			},
			want: extmod.Prediction{Verdict: extmod.Loads},
		},
		{
			name:  "unsigned, locked down",
			facts: func(f *extmod.Facts) { f.Cmdline = []string{"lockdown=integrity"} },
			want:  extmod.Prediction{Verdict: extmod.RefusedSignature, Errno: "EPERM", Lines: []string{"unsigned module loading is restricted; see man kernel_lockdown.7"}},
		},
		{
			name: "unsigned, locked down in vain",
			facts: func(f *extmod.Facts) {
				f.Config, f.Cmdline = config(t, "CONFIG_MODULE_SIG=y"), []string{"lockdown=integrity"}
			},
			want: extmod.Prediction{Verdict: extmod.Loads},
		},
		{
			name: "unsigned, locked down by an LSM that is left out",
			facts: func(f *extmod.Facts) {
				f.Config = config(t, "CONFIG_MODULE_SIG=y", "CONFIG_SECURITY_LOCKDOWN_LSM=y")
				f.Cmdline = []string{"lockdown=integrity", "lsm=yama,apparmor"}
			},
			want: extmod.Prediction{Verdict: extmod.Loads},
		},
		{
			name: "unsigned, locked down early",
			facts: func(f *extmod.Facts) {
				f.Config = config(t, "CONFIG_MODULE_SIG=y", "CONFIG_SECURITY_LOCKDOWN_LSM=y", "CONFIG_SECURITY_LOCKDOWN_LSM_EARLY=y")
				f.Cmdline = []string{"lockdown=integrity", "lsm=yama,apparmor"}
			},
			want: extmod.Prediction{Verdict: extmod.RefusedSignature, Errno: "EPERM", Lines: []string{"unsigned module loading is restricted; see man kernel_lockdown.7"}},
		},
		{
			name:  "unsigned, which the command line allows",
			facts: func(f *extmod.Facts) { f.Cmdline = []string{"module.sig_enforce=off"} },
			want:  extmod.Prediction{Verdict: extmod.Loads},
		},
		{
			name:  "of a kernel without modules",
			facts: func(f *extmod.Facts) { f.Config, f.Exports, f.Vermagic = bare(t, "CONFIG_HZ=250"), nil, "" },
			want:  extmod.Prediction{Verdict: extmod.RefusedAll, Errno: "ENOSYS"},
		},
		{
			name:  "of a kernel whose image has nothing for modules",
			facts: func(f *extmod.Facts) { f.NoModules, f.Exports, f.Vermagic = true, nil, "" },
			want:  extmod.Prediction{Verdict: extmod.RefusedAll, Errno: "ENOSYS"},
		},
		{
			name:  "blocked",
			facts: func(f *extmod.Facts) { f.Cmdline = []string{"module_blacklist=a,probe"} },
			want:  extmod.Prediction{Verdict: extmod.RefusedBlocked, Errno: "EPERM", Lines: []string{"Module probe is blacklisted"}},
		},
		{
			name:  "of a kernel of which nothing is known",
			facts: func(f *extmod.Facts) { *f = extmod.Facts{} },
			want:  extmod.Prediction{Verdict: extmod.Loads},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, f := good(), facts()
			if tt.module != nil {
				tt.module(&m)
			}
			if tt.facts != nil {
				tt.facts(f)
			}
			parsed, err := extmod.Parse(m.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			got := extmod.Check(parsed, f)
			if got.Module != "probe" || got.Why == "" || got.Loads() != (got.Errno == "") {
				t.Errorf("%+v", got)
			}
			got.Module, got.Why, got.Notes, got.Sources = "", "", nil, nil
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSigned(t *testing.T) {
	f := facts()
	f.Cmdline = []string{"module.sig_enforce"}
	m, err := extmod.Parse(append(good().Bytes(), "~Module signature appended~\n"...))
	if err != nil {
		t.Fatal(err)
	}
	if p := extmod.Check(m, f); !p.Loads() || len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "was not checked") {
		t.Errorf("%+v", p)
	}
}

// What is not compared is told, where it may decide.
func TestUncomparedBTF(t *testing.T) {
	for _, tt := range []struct {
		name    string
		release string
		config  []string
		base    bool
		notes   int
	}{
		{"a kernel that compares", "6.1.0", []string{"CONFIG_DEBUG_INFO_BTF_MODULES=y"}, false, 1},
		{"one that takes any", "6.1.0", []string{"CONFIG_DEBUG_INFO_BTF_MODULES=y", "CONFIG_MODULE_ALLOW_BTF_MISMATCH=y"}, false, 0},
		{"one that does not read it", "6.1.0", nil, false, 0},
		{"a module with its base", "6.12.0", []string{"CONFIG_DEBUG_INFO_BTF_MODULES=y"}, true, 0},
		{"a base that is not understood", "6.10.0", []string{"CONFIG_DEBUG_INFO_BTF_MODULES=y"}, true, 1},
	} {
		f := facts()
		f.Release, f.StructSize, f.Config = tt.release, 1024, config(t, tt.config...)
		m := good()
		m.BTF, m.BTFBase = true, tt.base
		parsed, err := extmod.Parse(m.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if p := extmod.Check(parsed, f); !p.Loads() || len(p.Notes) != tt.notes || tt.notes > 0 && !strings.Contains(p.Notes[0], "failed to validate module [probe] BTF") {
			t.Errorf("%s: %+v", tt.name, p)
		}
	}
}

func TestParseErrors(t *testing.T) {
	half := good()
	half.Extended = map[string]uint32{"a": 1}
	long := good()
	long.Uses = []string{strings.Repeat("x", 600)}
	for name, tt := range map[string]struct {
		b    []byte
		want string
	}{
		"text":       {[]byte("#!/bin/sh"), "not an ELF file"},
		"nothing":    {nil, "not an ELF file"},
		"executable": {kerneltest.Vmlinux(), "not a kernel module"},
		"half of the extended CRCs": {bytes.Replace(half.Bytes(), []byte("__version_ext_names\x00"), []byte("__version_ext_nomes\x00"), 1),
			"only one of __version_ext_crcs and __version_ext_names"},
		"more CRCs than names": {bytes.Replace(half.Bytes(), []byte("a\x00"), []byte("aa"), 1), ""},
		"a long name":          {long.Bytes(), "bad name"},
	} {
		if tt.want == "" {
			continue
		}
		if m, err := extmod.Parse(tt.b); m != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
}

func TestSpoil(t *testing.T) {
	m := good()
	m.Extended = map[string]uint32{"module_layout": 1, "_printk": 2, "jiffies_to_msecs": 3}
	m.Uses = append([]string{"__fentry__"}, m.Uses...)
	b := m.Bytes()
	for _, tt := range []struct {
		how    extmod.Mismatch
		symbol string
		want   extmod.Verdict
	}{
		{extmod.WrongVermagic, "", extmod.RefusedVermagic},
		{extmod.WrongCRC, "_printk", extmod.RefusedCRC},
		{extmod.UnknownSymbol, "Xprintk", extmod.RefusedSymbol},
	} {
		for _, release := range []string{"6.1.0", "6.14.0"} { // each with its own CRCs
			f := facts()
			f.Release = release
			f.Exports["__fentry__"] = extmod.Export{}
			spoilt, symbol, err := extmod.Spoil(b, tt.how)
			if err != nil || symbol != tt.symbol || len(spoilt) != len(b) || bytes.Equal(spoilt, b) {
				t.Fatalf("%s: %q, %v", tt.how, symbol, err)
			}
			parsed, err := extmod.Parse(spoilt)
			if err != nil {
				t.Fatal(err)
			}
			if p := extmod.Check(parsed, f); p.Verdict != tt.want || p.Symbol != tt.symbol {
				t.Errorf("%s on %s: %+v", tt.how, release, p)
			}
		}
	}
	if !bytes.Equal(b, m.Bytes()) {
		t.Error("the module itself was changed")
	}
	bare := extmodtest.Module{Info: []string{"license=GPL"}}.Bytes()
	for _, how := range extmod.Mismatches() {
		if b, _, err := extmod.Spoil(bare, how); b != nil || !errors.Is(err, extmod.ErrNotApplicable) {
			t.Errorf("%s of a bare module: %v", how, err)
		}
	}
	if _, _, err := extmod.Spoil(b, "nothing"); err == nil {
		t.Error("a mismatch that is none")
	}
	if _, _, err := extmod.Spoil([]byte("x"), extmod.WrongCRC); err == nil {
		t.Error("no module")
	}
	// Without flags the release is all there is.
	plain := extmodtest.Module{Info: []string{"vermagic=6.1.0 "}}.Bytes()
	spoilt, _, err := extmod.Spoil(plain, extmod.WrongVermagic)
	if err != nil || !bytes.Contains(spoilt, []byte("vermagic=6.1.X \x00")) {
		t.Errorf("%v", err)
	}
}

// exported are enough symbols for a table.
func exported() []extmodtest.Export {
	out := []extmodtest.Export{
		{Name: "module_layout", CRC: 1}, {Name: "_printk", CRC: 2}, {Name: "kfree", CRC: 3}, {Name: "in_ns", CRC: 4, Namespace: "CRYPTO"},
	}
	for i := range 40 {
		out = append(out, extmodtest.Export{Name: "sym_" + string(rune('a'+i%26)) + string(rune('a'+i/26)), CRC: uint32(100 + i), GPL: i%2 == 0})
	}
	return out
}

func TestImageExports(t *testing.T) {
	for _, l := range []extmodtest.Layout{{}, {CRCs: true}, {Flags: true}, {CRCs: true, Flags: true}} {
		want := map[string]extmod.Export{}
		for _, e := range exported() {
			x := extmod.Export{GPL: e.GPL, Namespace: e.Namespace}
			if l.CRCs {
				x.CRC, x.HasCRC = e.CRC, true
			}
			want[e.Name] = x
		}
		image := slices.Concat(bytes.Repeat([]byte{0x90, 0, 0, 0}, 100), l.Tables(exported()...), []byte("more text\x00"))
		got, err := extmod.ImageExports(image)
		if err != nil {
			t.Errorf("%+v: %v", l, err)
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%+v: %s", l, d)
		}
	}
	for name, image := range map[string][]byte{
		"nothing": nil, "text": []byte("_printk\x00kfree\x00module_layout\x00"), "zeros": make([]byte, 1<<16), "kernel": kerneltest.Vmlinux(),
	} {
		if got, err := extmod.ImageExports(image); got != nil || !errors.Is(err, extmod.ErrNoExports) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestImageVermagic(t *testing.T) {
	for text, want := range map[string]string{
		"Linux version 6.1.0 (x@y)\x00.6.1.0 SMP preempt mod_unload modversions \x00": "6.1.0 SMP preempt mod_unload modversions ",
		"6.1.0 SMP mod_unload aarch64\x00":                                            "6.1.0 SMP mod_unload aarch64",
		"6.1.0 \x00":                                                                  "6.1.0 ",
		"6.1.0 SMP RANDSTRUCT_0123abcdef\x00":                                         "6.1.0 SMP RANDSTRUCT_0123abcdef",
		"6.1.0\x00":                                                                   "",
		"6.1.0 #1 SMP PREEMPT\x00":                                                    "",
		"":                                                                            "",
	} {
		if got := extmod.ImageVermagic([]byte(text), "6.1.0"); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := extmod.ImageVermagic([]byte(" SMP \x00"), ""); got != "" {
		t.Errorf("without a release: %q", got)
	}
}

// kernelFile is a kernel with the exports and vermagic of tests.
func kernelFile(t *testing.T, l extmodtest.Layout) *kernel.Kernel {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vmlinux")
	data := []byte(magic + "\x00")
	for (len(kerneltest.Banner)+2+len(data))%4 != 0 { // behind the banner
		data = append(data, 0)
	}
	if err := os.WriteFile(path, kerneltest.Vmlinux(append(data, l.Tables(exported()...)...)...), 0o644); err != nil {
		t.Fatal(err)
	}
	k, err := kernel.Identify(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestGather(t *testing.T) {
	k := kernelFile(t, extmodtest.Layout{CRCs: true})
	headers := t.TempDir()
	symvers := "0x00000001\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n0x00000009\t_printk\tvmlinux\tEXPORT_SYMBOL\t\n" +
		"0x0000000a\tof_other\tdrivers/x/a-b\tEXPORT_SYMBOL_GPL\tNS\n"
	if err := os.WriteFile(filepath.Join(headers, "Module.symvers"), []byte(symvers), 0o644); err != nil {
		t.Fatal(err)
	}
	modulesDir := t.TempDir()
	other := extmodtest.Module{Info: []string{"name=dep", "vermagic=" + magic}, Exports: map[string]uint32{"of_dep": 11}}
	if err := os.MkdirAll(filepath.Join(modulesDir, "kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(modulesDir, "kernel", "dep.ko"), other.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := extmod.Gather(t.Context(), extmod.Source{Kernel: k, Headers: headers, ModulesDir: modulesDir}, "dep")
	if err != nil {
		t.Fatal(err)
	}
	if f.Vermagic != magic || f.Release != release || f.Arch != arch.X86_64 || f.Strict || f.StructSize != 1024 {
		t.Errorf("%+v", f)
	}
	for name, want := range map[string]extmod.Export{
		"_printk":  {CRC: 2, HasCRC: true},
		"of_other": {CRC: 10, HasCRC: true, GPL: true, Namespace: "NS", Owner: "a_b"},
		"of_dep":   {CRC: 11, HasCRC: true, GPL: true, Owner: "dep"},
	} {
		if f.Exports[name] != want {
			t.Errorf("%s: %+v, want %+v", name, f.Exports[name], want)
		}
	}
	if len(f.Notes) != 1 || !strings.Contains(f.Notes[0], "the headers belong to another kernel") || !strings.Contains(f.Notes[0], "_printk") {
		t.Errorf("notes %q", f.Notes)
	}
	// a_b is none of the kernel's modules, but its symbols are known; nowhere is not.
	f, err = extmod.Gather(t.Context(), extmod.Source{Kernel: k, Headers: headers, ModulesDir: modulesDir}, "dep", "nowhere", "a_b")
	if err != nil || len(f.Notes) != 2 || !strings.Contains(f.Notes[1], "it depends on nowhere, which is not") {
		t.Errorf("notes %q, %v", f.Notes, err)
	}
	if f.NoModules {
		t.Error("the kernel has modules")
	}
	path := filepath.Join(t.TempDir(), "vmlinux")
	if err := os.WriteFile(path, kerneltest.Vmlinux(), 0o644); err != nil {
		t.Fatal(err)
	}
	none, err := kernel.Identify(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if f, err = extmod.Gather(t.Context(), extmod.Source{Kernel: none}); err != nil || !f.NoModules {
		t.Errorf("a kernel without modules: %+v, %v", f, err)
	}
	if _, err := extmod.Gather(t.Context(), extmod.Source{Kernel: k, Headers: t.TempDir()}); err != nil {
		t.Errorf("headers without symbols: %v", err)
	}
}

func TestReadSymvers(t *testing.T) {
	for text, want := range map[string]string{
		"0x1\ta\tvmlinux\tEXPORT_SYMBOL\t\n\n": "",
		"0x1 a vmlinux EXPORT_SYMBOL":          "line 1 is not a line",
		"x\ta\tvmlinux\tEXPORT_SYMBOL":         "line 1 has no CRC",
		"0x1ffffffff\ta\tvmlinux\tEXPORT_X":    "line 1 has no CRC",
		"0x1\ta\tvmlinux":                      "line 1 is not a line",
	} {
		_, err := extmod.ReadSymvers(strings.NewReader(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	m := good()
	m.Extended = map[string]uint32{"_printk": 2}
	m.Exports = map[string]uint32{"mine": 5}
	f.Add(m.Bytes())
	f.Add(extmodtest.Module{NoSymbols: true}.Bytes())
	kernel := facts()
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := extmod.Parse(b)
		if (err == nil) != (m != nil) {
			t.Fatalf("%v, %v", m, err)
		}
		if m != nil {
			p := extmod.Check(m, kernel)
			if p.Verdict == "" || p.Why == "" || p.Loads() != (p.Errno == "") {
				t.Fatalf("%+v", p)
			}
		}
		for _, how := range extmod.Mismatches() {
			if spoilt, _, err := extmod.Spoil(b, how); err == nil && (len(spoilt) != len(b) || bytes.Equal(spoilt, b)) {
				t.Fatalf("%s changed nothing, or the size", how)
			}
		}
	})
}

func FuzzImageExports(f *testing.F) {
	f.Add(extmodtest.Layout{CRCs: true, Flags: true}.Tables(exported()...))
	f.Add(binary.LittleEndian.AppendUint32([]byte("_printk\x00"), 1<<31))
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := extmod.ImageExports(b); (err == nil) != (x != nil) {
			t.Fatalf("%v, %v", x, err)
		}
		extmod.ImageVermagic(b, "6.1.0")
	})
}
