package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/extmod"
	"github.com/unwedge/unwedge/images/extmod/extmodtest"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
)

// modularKernel is a kernel that exports symbols with CRCs.
func modularKernel() []byte {
	data := []byte("6.1.0-unwedge SMP modversions \x00")
	for (len(kerneltest.Banner)+2+len(data))%4 != 0 { // behind the banner
		data = append(data, 0)
	}
	exports := []extmodtest.Export{{Name: "module_layout", CRC: 1}, {Name: "_printk", CRC: 2}, {Name: "kfree", CRC: 3}, {Name: "msleep", CRC: 4}}
	return kerneltest.Vmlinux(append(data, extmodtest.Layout{CRCs: true}.Tables(exports...)...)...)
}

func TestModuleCheck(t *testing.T) {
	isolated(t)
	k := write(t, "vmlinux", modularKernel())
	m := extmodtest.Module{
		Info:     []string{"license=GPL", "name=probe", "vermagic=6.1.0-other SMP modversions "},
		Versions: map[string]uint32{"module_layout": 1, "_printk": 2}, Uses: []string{"_printk"},
	}
	write(t, "good.ko", m.Bytes())
	m.Versions["_printk"] = 9
	m.Info[1] = "name=\x1b[2Jprobe"
	write(t, "bad.ko", m.Bytes())
	write(t, "text.ko", []byte("no module"))
	for _, tt := range []struct {
		args  []string
		code  int
		words []string
	}{
		{[]string{"good.ko", k}, exitFine, []string{"probe on 6.1.0-unwedge: loads", "CRCs match this kernel", "the kernel image (__ksymtab, __kcrctab)"}},
		{[]string{"bad.ko", k}, exitKernel, []string{"refused-crc(_printk), EINVAL", "disagrees about version of symbol _printk", "Unknown symbol _printk (err -22)"}},
		{[]string{"good.ko", k, "-a", "quiet module.sig_enforce"}, exitKernel, []string{"refused-signature, EKEYREJECTED"}},
	} {
		r := unwedge(t, "", append([]string{"module", "check", "-q"}, tt.args...)...)
		if r.code != tt.code || r.stderr != "" {
			t.Errorf("%q: exit code %d, %q", tt.args, r.code, r.stderr)
		}
		for _, w := range tt.words {
			if !strings.Contains(r.stdout, w) {
				t.Errorf("%q: %q lacks %q", tt.args, r.stdout, w)
			}
		}
		noControls(t, strings.ReplaceAll(r.stdout, "\n", ""))
		j := unwedge(t, "", append([]string{"module", "check", "-q", "--json"}, tt.args...)...)
		var p extmod.Prediction
		if err := json.Unmarshal([]byte(j.stdout), &p); err != nil || j.code != tt.code || p.Loads() != (tt.code == exitFine) || p.Why == "" {
			t.Errorf("%q --json: exit code %d, %+v, %v", tt.args, j.code, p, err)
		}
	}
	for _, tt := range []struct{ args, words []string }{
		{[]string{"text.ko", k}, []string{"text.ko", "not an ELF file"}},
		{[]string{"nowhere.ko", k}, []string{"nowhere.ko", "no such file"}},
		{[]string{k, k}, []string{"not a kernel module"}},
		{[]string{"good.ko", "nowhere"}, []string{`"nowhere"`, "no such file"}},
		{[]string{"good.ko"}, []string{"accepts 2 arg(s)", "see `unwedge module check --help`"}},
		{[]string{"good.ko", k, "--arch", "aarch64"}, []string{"x86_64 kernel"}},
		{[]string{"good.ko", k, "--modules-dir", "."}, []string{"--modules-dir"}},
		{[]string{"good.ko", k, "--headers", "nowhere"}, []string{"--headers", "no such file"}},
		{[]string{"good.ko", k, "--headers", "good.ko"}, []string{"--headers", "not a directory"}},
	} {
		r := unwedge(t, "", append([]string{"module", "check"}, tt.args...)...)
		if r.code != exitUsage || r.stdout != "" {
			t.Errorf("%q: exit code %d, %q", tt.args, r.code, r.stdout)
		}
		onlyLine(t, r, tt.words...)
	}
	if r := unwedge(t, "", "module", "chekc"); r.code != exitUsage || !strings.Contains(r.stderr, "see `unwedge module --help`") {
		t.Errorf("exit code %d, %q", r.code, r.stderr)
	}
}
