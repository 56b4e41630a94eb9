package main

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/unwedge/unwedge/images/faultmod"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestModuleFaults(t *testing.T) {
	source, err := os.ReadFile("../../images/faultmod/src/unwedge_fault.c")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range moduleFaults {
		names = append(names, f.name)
		if !regexp.MustCompile(`(?m)^static noinline \w+ ` + f.function + `\(`).Match(source) {
			t.Errorf("%s: the module has no function %s", f.name, f.function)
		}
		if f.task.Comm != "" && f.task != pid1 && !regexp.MustCompile(`unwedge_run\(`+f.function+`, "`+f.task.Comm+`"\)`).Match(source) {
			t.Errorf("%s: the module starts no thread %s with %s", f.name, f.task.Comm, f.function)
		}
		if len(f.kinds) == 0 || len(f.causes) == 0 {
			t.Errorf("%s: nothing is a right answer", f.name)
		}
	}
	all := faultmod.Faults()
	slices.Sort(names)
	slices.Sort(all)
	if !slices.Equal(names, all) {
		t.Errorf("seeded %v, the module has %v", names, all)
	}
	seen := map[string]bool{}
	for _, f := range moduleFaults {
		sd := (&bench{arch: arch.AArch64}).moduleSeed(f, "")
		if seen[sd.truth.ID] || sd.request == nil || sd.truth.Arch != "aarch64" {
			t.Errorf("seed %+v", sd.truth)
		}
		seen[sd.truth.ID] = true
	}
}
