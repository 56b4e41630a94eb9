package plan_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/extmod"
	"github.com/unwedge/unwedge/images/extmod/extmodtest"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// The module is what "make" leaves; what is tried of it, and what is predicted,
// is the planner's.
func TestExternalModule(t *testing.T) {
	data := []byte("6.1.0-unwedge SMP modversions \x00")
	for (len(kerneltest.Banner)+2+len(data))%4 != 0 { // behind the banner
		data = append(data, 0)
	}
	exports := []extmodtest.Export{{Name: "module_layout", CRC: 1}, {Name: "_printk", CRC: 2}, {Name: "kfree", CRC: 3}, {Name: "msleep", CRC: 4}}
	dir := t.TempDir()
	file, built := filepath.Join(dir, "vmlinux"), filepath.Join(dir, "built.ko")
	module := extmodtest.Module{
		Info:     []string{"license=GPL", "name=" + extmod.ProbeName, "vermagic=6.1.0-unwedge SMP modversions "},
		Versions: map[string]uint32{"module_layout": 1, "_printk": 2}, Uses: []string{"_printk"},
	}
	headers := filepath.Join(dir, "headers")
	for path, b := range map[string][]byte{
		file:  kerneltest.Vmlinux(append(data, extmodtest.Layout{CRCs: true}.Tables(exports...)...)...),
		built: module.Bytes(), filepath.Join(headers, "Makefile"): nil, filepath.Join(headers, "include/generated/autoconf.h"): nil,
		filepath.Join(headers, ".config"): []byte("CONFIG_X86_64=y\n"),
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	prefix := ""
	if arch.Host() != arch.X86_64 {
		prefix = arch.X86_64.Facts().Multiarch + "-"
	}
	script := "/bin/cp " + built + " \"${3#M=}/" + extmod.ProbeName + ".ko\""
	programs := map[string]string{"qemu-system-x86_64": says("7.2.22"), "make": script, prefix + "gcc": "echo 12", prefix + "ld": ""}
	p := planner(t, programs)
	c, err := p.Candidate(t.Context(), file, "")
	if err != nil {
		t.Fatal(err)
	}
	sc := scenario(t, arch.X86_64)
	sc.Initramfs, sc.ExternalModule = scenarios.Tiny, true

	var none *candidate.NotFoundError
	if _, err := p.Request(t.Context(), sc, c); !errors.As(err, &none) || !strings.Contains(err.Error(), "--headers") {
		t.Errorf("without headers: %v", err)
	}
	c.HeadersDir = headers
	req, err := p.Request(t.Context(), sc, c)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]extmod.Verdict{
		"as-built": extmod.Loads, "vermagic": extmod.RefusedVermagic, "crc": extmod.RefusedCRC, "unknown-symbol": extmod.RefusedSymbol,
	}
	if len(req.Modules) != len(want) || req.Modules[len(want)-1].Label != "as-built" {
		t.Fatalf("%+v: the one that loads must be the last", req.Modules)
	}
	image, err := os.ReadFile(req.Machine.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range req.Modules {
		if m.Want != want[m.Label] || m.Predicted.Verdict != want[m.Label] {
			t.Errorf("%s: wanted %s, predicted %+v", m.Label, m.Want, m.Predicted)
		}
		if !strings.Contains(string(image), `{"label":"`+m.Label+`","path":"/lib/unwedge/unwedge_probe-`+m.Label+`.ko"`) {
			t.Errorf("the initramfs does not list %s", m.Label)
		}
	}

	c.Kernel.Config = config(t, "CONFIG_X86_64=y")
	var unsupported *plan.UnsupportedError
	if _, err := p.Request(t.Context(), sc, c); !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "CONFIG_MODULES") {
		t.Errorf("a kernel without modules: %v", err)
	}
	c.Kernel.Config = nil
	programs["make"] = "echo 'x.c:1: error: no'; echo more; exit 2"
	p = planner(t, programs)
	var failed *extmod.BuildError
	_, err = p.Request(t.Context(), sc, c)
	log := filepath.Join(p.State, "module-build.log")
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "x.c:1: error: no") || !strings.Contains(err.Error(), log) {
		t.Errorf("a build that fails: %v", err)
	}
	if b, err := os.ReadFile(log); err != nil || !strings.HasSuffix(string(b), "more\n") {
		t.Errorf("log %q, %v", b, err)
	}
	delete(programs, prefix+"gcc")
	p = planner(t, programs)
	var missing *extmod.MissingToolError
	if _, err := p.Request(t.Context(), sc, c); !errors.As(err, &missing) || !strings.Contains(err.Error(), "`apt-get install gcc") {
		t.Errorf("without a compiler: %v", err)
	}
}

func config(t *testing.T, text string) *kernel.Config {
	t.Helper()
	c, err := kernel.ParseConfig(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
