package plan_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// planner plans with programs of the test's own in PATH: each a script.
func planner(t *testing.T, programs map[string]string) *plan.Planner {
	t.Helper()
	bin := t.TempDir()
	for name, script := range programs {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	store, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &plan.Planner{Store: store, State: t.TempDir(), Version: "test", Force: result.TCG}
}

func says(version string) string {
	return "echo asked >> \"$0.asked\"; echo 'QEMU emulator version " + version + "'"
}

func TestHost(t *testing.T) {
	const x86 = "qemu-system-x86_64"
	for _, tt := range []struct {
		name     string
		programs map[string]string
		want     string // part of the error, "" for none
	}{
		{"there", map[string]string{x86: says("9.1.0 (Debian)")}, ""},
		{"just new enough", map[string]string{x86: says("7.2.0")}, ""},
		{"not there", nil, "find qemu-system-x86_64: it is not installed: run `unwedge doctor`"},
		{"too old", map[string]string{x86: says("7.1.99")}, "is QEMU 7.1.99: 7.2 or later is needed"},
		{"not QEMU", map[string]string{x86: "echo hello"}, `answer "hello" is not QEMU's`},
		{"fails", map[string]string{x86: "echo broken >&2; exit 3"}, "exit status 3: broken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := planner(t, tt.programs)
			h, err := p.Host(t.Context(), arch.X86_64)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil || h.Accel != result.TCG || !filepath.IsAbs(h.QEMU) || !strings.Contains(h.AccelWhy, "--accel") {
				t.Errorf("%+v, %v", h, err)
			}
			again, err := p.Host(t.Context(), arch.X86_64)
			if err != nil || !reflect.DeepEqual(again, h) {
				t.Errorf("the second time %+v, %v", again, err)
			}
			if asked, err := os.ReadFile(h.QEMU + ".asked"); err != nil || string(asked) != "asked\n" {
				t.Errorf("QEMU was asked %q, %v, want once", asked, err)
			}
		})
	}
}

func scenario(t *testing.T, a arch.Arch) scenarios.Scenario {
	t.Helper()
	return scenarios.Scenario{
		Name: "test", Arch: a, Entropy: scenarios.None, Initramfs: scenarios.NoInitrd, Root: scenarios.NoRoot, MemoryMiB: 128, CPUs: 1,
	}
}

func TestRequest(t *testing.T) {
	p := planner(t, map[string]string{"qemu-system-x86_64": says("7.2.22")})
	file := filepath.Join(t.TempDir(), "vmlinux")
	if err := os.WriteFile(file, kerneltest.Vmlinux(), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := p.Candidate(t.Context(), file, "")
	if err != nil {
		t.Fatal(err)
	}
	req, err := p.Request(t.Context(), scenario(t, arch.X86_64), c)
	if err != nil {
		t.Fatal(err)
	}
	k := req.Kernel
	if k.Path == "" || k.SHA256 == "" || k.Booted != req.Machine.Kernel || k.BootedAs == "" || k.Release != c.Kernel.Release || k.BuildID != c.Kernel.BuildID {
		t.Errorf("kernel %+v", k)
	}
	if req.QEMUVersion != "7.2.22" || req.Calibrated || req.Calibration == nil || req.Image.Symbol == nil || req.Version != "test" {
		t.Errorf("request %+v", req)
	}
	if slices.Contains(req.Machine.Args(), "-initrd") {
		t.Errorf("an initrd that nobody asked for: %q", req.Machine.Args())
	}
	if name, ok := req.Image.Symbol(0xffffffff81000000); ok {
		t.Errorf("a kernel without a symbol table names an address %q", name)
	}
	if _, err := p.Request(t.Context(), scenario(t, arch.AArch64), c); err == nil || !strings.Contains(err.Error(), "is a kernel for x86_64") {
		t.Errorf("error %v for another architecture's scenario", err)
	}
	bad := scenario(t, arch.X86_64)
	bad.MemoryMiB = 0
	if _, err := p.Request(t.Context(), bad, c); err == nil || !strings.Contains(err.Error(), "memory 0 MiB") {
		t.Errorf("error %v for a bad scenario", err)
	}
}

// A kernel changed on purpose carries its truth beside it.
func TestSeededFaultTravels(t *testing.T) {
	p := planner(t, map[string]string{"qemu-system-x86_64": says("7.2.22")})
	for truth, want := range map[string]string{
		`{"function":"x"}`: `{"function":"x"}`, "": "", strings.Repeat("x", 1<<20): "",
	} {
		file := filepath.Join(t.TempDir(), "vmlinux")
		if err := os.WriteFile(file, kerneltest.Vmlinux(byte(len(truth))), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file+".truth.json", []byte(truth), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := p.Candidate(t.Context(), file, "")
		if err != nil {
			t.Fatal(err)
		}
		req, err := p.Request(t.Context(), scenario(t, arch.X86_64), c)
		if err != nil || req.Kernel.Fault != want {
			t.Errorf("a truth of %d bytes: %s, %v", len(truth), fmt.Sprintf("%.40q", req.Kernel.Fault), err)
		}
	}
}
