package faultmod

import (
	"regexp"
	"slices"
	"testing"

	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestFaultsAreInTheSource(t *testing.T) {
	b, err := source.ReadFile("src/unwedge_fault.c")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^\t\{ "([a-z-]+)", unwedge_\w+ \},$`).FindAllSubmatch(b, -1) {
		names = append(names, string(m[1]))
	}
	if !slices.Equal(names, Faults()) {
		t.Errorf("the source has %v, Faults %v", names, Faults())
	}
	// What is too long for a task's comm (TASK_COMM_LEN, 16 with the NUL) would
	// be cut there.
	for _, m := range regexp.MustCompile(`unwedge_run\(\w+, "(\w+)"\)`).FindAllSubmatch(b, -1) {
		if len(m[1]) > 15 {
			t.Errorf("thread name %s has %d bytes", m[1], len(m[1]))
		}
	}
}

func TestFor(t *testing.T) {
	for origin, want := range map[string]Options{
		"deb:linux-image-6.1.0-50-cloud-amd64=6.1.176-1@bookworm": {Version: "6.1.176-1", Suite: "bookworm"},
		"/boot/vmlinuz": {},
	} {
		want.Release, want.Arch = "6.1.0-50-cloud-amd64", arch.X86_64
		c := &candidate.Candidate{Kernel: &kernel.Kernel{Release: want.Release, Arch: want.Arch}, Origin: origin}
		if got := For(c, "", nil); got != want {
			t.Errorf("%s: %+v, want %+v", origin, got, want)
		}
	}
}

func module(vermagic string) []byte {
	return kerneltest.ELF(1, 62, kerneltest.Section{Name: ".modinfo", Type: 1, Data: []byte("license=GPL\x00vermagic=" + vermagic + "\x00")})
}

func TestCheck(t *testing.T) {
	for vermagic, ok := range map[string]bool{
		"6.1.0-50-cloud-amd64 SMP preempt mod_unload ": true,
		"6.1.0-50-cloud-amd64":                         true,
		"6.1.0-50-amd64 SMP preempt mod_unload ":       false,
		"":                                             false,
	} {
		if err := check(module(vermagic), "6.1.0-50-cloud-amd64"); (err == nil) != ok {
			t.Errorf("vermagic %q: %v", vermagic, err)
		}
	}
	if err := check([]byte("no module"), "6.1.0"); err == nil {
		t.Error("what is no ELF file was taken")
	}
}
