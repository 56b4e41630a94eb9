package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/rerun"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// bootedRun writes a run's directory as boot leaves it.
func bootedRun(t *testing.T, dir string) {
	t.Helper()
	k := write(t, filepath.Join(dir, "vmlinux"), kerneltest.Vmlinux())
	sum, err := kernel.HashFile(k)
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := scenarios.Builtin().Find("tiny")
	if err != nil {
		t.Fatal(err)
	}
	tmpl.Arch = []arch.Arch{arch.X86_64}
	s := machine.Spec{QEMU: "/usr/bin/qemu-system-x86_64", Scenario: tmpl.Cells()[0], Accel: result.TCG, Kernel: k, Initrd: write(t, filepath.Join(dir, "initrd"), []byte("x"))}
	run := filepath.Join(dir, "run")
	b, err := json.Marshal(&result.Result{
		Schema: result.Schema, Scenario: s.Scenario, Dir: run, Outcome: scenarios.Hung, Times: result.Times{Started: time.Now().Add(time.Hour)},
		Kernel: result.Kernel{Origin: k, Path: k, Booted: k, SHA256: sum, Release: "7.3.0-rc1"},
		Host:   result.Host{QEMU: s.QEMU, Accel: s.Accel, Args: s.Args(), Cmdline: s.Cmdline()},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(run, "result.json"), b)
}

func TestBundle(t *testing.T) {
	dir := isolated(t)
	t.Setenv("TMPDIR", dir)
	bootedRun(t, dir)
	r := unwedge(t, "", "bundle", "run")
	const name = "tiny-x86_64-virtio-rng-tiny-7.3.0-rc1.tar.zst"
	if r.code != 0 || !strings.Contains(r.stdout, name) || !strings.Contains(r.stdout, "holds: result.json") || !strings.Contains(r.stdout, "kernel ") {
		t.Errorf("%+v", r)
	}
	r = unwedge(t, "", "bundle", "--json", "run/result.json", "-o", "again.tar.zst")
	var said struct {
		File  string
		Size  int64
		Files []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(r.stdout), &said); err != nil || said.File != "again.tar.zst" || said.Size == 0 || len(said.Files) != 4 {
		t.Errorf("%v: %+v", err, r)
	}
	// No QEMU is installed here, which is found out last.
	r = unwedge(t, "", "reproduce", name)
	if r.code != exitHarness || !strings.Contains(r.stderr, "qemu-system-x86_64: it is not installed") {
		t.Errorf("%+v", r)
	}
	left, err := filepath.Glob("unwedge-reproduce-*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestBadBundles(t *testing.T) {
	dir := isolated(t)
	t.Setenv("TMPDIR", dir)
	bootedRun(t, dir)
	write(t, "torn.tar.zst", []byte("\x28\xb5\x2f\xfd\x00"))
	write(t, "empty/x", nil)
	for _, tt := range []struct {
		args  []string
		words []string
	}{
		{[]string{"bundle", "nowhere"}, []string{"read result", "no such file"}},
		{[]string{"bundle", "run", "--max-size", "0"}, []string{"--max-size 0: use 1 to"}},
		{[]string{"bundle", "run", "-o", "no/such/file"}, []string{"write no/such/file", "no such file"}},
		{[]string{"bundle"}, []string{"accepts 1 arg", "see `unwedge bundle --help`"}},
		{[]string{"reproduce", "torn.tar.zst"}, []string{"read torn.tar.zst: the archive is cut short or damaged"}},
		{[]string{"reproduce", "vmlinux"}, []string{"read vmlinux: not a bundle"}},
		{[]string{"reproduce", "empty"}, []string{"read empty: no result.json in it"}},
		{[]string{"reproduce", "nowhere"}, []string{"read nowhere: no such file"}},
		{[]string{"reproduce", "run", "--boots", "0"}, []string{"--boots 0: use 1 to"}},
		{[]string{"reproduce", "run", "--disk", "vmlinux"}, []string{"--disk vmlinux: its checksum is that of no disk"}},
	} {
		r := unwedge(t, "", tt.args...)
		if r.code != exitUsage {
			t.Errorf("%q: exit code %d: %s", tt.args, r.code, r.stderr)
		}
		onlyLine(t, r, tt.words...)
	}
	if found, _ := filepath.Glob("*.tar.zst-*"); len(found) > 0 {
		t.Errorf("left behind: %q", found)
	}
}

func TestReproduced(t *testing.T) {
	was := &result.Result{Outcome: scenarios.Hung, Diagnosis: &result.Diagnosis{Title: "hang: x\x1b[2J", Signature: "hang/x"}, Host: result.Host{Args: []string{"-accel", "kvm"}, QEMUVersion: "10.0.2"}}
	came := &result.Result{Outcome: scenarios.Booted, Expected: true, Dir: "/one", Host: result.Host{Args: []string{"-accel", "tcg"}, QEMUVersion: "7.2.22"}}
	same := *was
	same.Dir = "/three"
	a := rerun.Begin(was)
	a.Add(was, came)
	a.Add(was, came)
	for want, next := range map[string]*result.Result{"NOT REPRODUCED  in boot 3 of 3": {Outcome: scenarios.Panicked}, "REPRODUCED  in boot 3 of 3": &same} {
		got := *a
		got.Add(was, next)
		var b strings.Builder
		if err := reproduced(&b, &got); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		for _, w := range []string{want, "was:      hung: hang: x", "now:      booted (2 boots)", "differs:  -accel tcg, was kvm", "differs:  QEMU 7.2.22, was 10.0.2"} {
			if !strings.Contains(text, w) {
				t.Errorf("no %q in\n%s", w, text)
			}
		}
		noControls(t, text)
	}
}
