package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// The same seed draws the same trials, and each kind comes for each architecture.
func TestDraw(t *testing.T) {
	names := func(seed uint64) []string {
		l := &lab{options: options{n: 4 * len(kinds), seed: seed, arches: arch.All()}}
		var out []string
		for _, tr := range l.draw() {
			out = append(out, strings.Join([]string{string(tr.arch), tr.kind.name, string(tr.phase)}, "/"))
		}
		return out
	}
	if !slices.Equal(names(1), names(1)) || slices.Equal(names(1), names(2)) {
		t.Error("the seed does not decide what is drawn")
	}
	pairs := map[string]bool{}
	for _, n := range names(3) {
		pairs[n[:strings.LastIndexByte(n, '/')]] = true
	}
	want := 0
	for _, k := range kinds {
		if !k.root || os.Geteuid() == 0 {
			want += len(arch.All())
		}
	}
	if len(pairs) != want {
		t.Errorf("%d faults and architectures, want %d", len(pairs), want)
	}
}

func TestKinds(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range kinds {
		if seen[k.name] || k.begin == nil && k.strike == nil && k.append == "" || (k.strike == nil) != (len(k.phases) == 0) {
			t.Errorf("%q does nothing, strikes never, or comes twice", k.name)
		}
		seen[k.name] = true
	}
	n := 0
	for name := range seen {
		if shortKinds.MatchString(name) {
			n++
		}
	}
	if n != shortTrials {
		t.Errorf("the short campaign has %d kinds and %d trials", n, shortTrials)
	}
}

// What is left behind is seen: a process, a temporary file, a torn Result.
func TestLeft(t *testing.T) {
	tr := &trial{lab: &lab{bases: map[arch.Arch]string{"": filepath.Join(t.TempDir(), "base")}}, dir: t.TempDir(), kind: kind{name: "test", exits: []int{hung}}}
	if err := tr.prepare(); err != nil {
		t.Fatal(err)
	}
	if lost := tr.left(); len(lost) > 0 {
		t.Errorf("%q of nothing", lost)
	}
	if err := os.WriteFile(tr.path("tmp", "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tr.path("result.json"), []byte(`{"schema`), 0o600); err != nil {
		t.Fatal(err)
	}
	if lost := tr.left(); len(lost) != 2 {
		t.Errorf("%q", lost)
	}
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	cmd.Env = append(os.Environ(), marker+tr.dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if got := alive(tr.dir); len(got) != 1 || got[0].pid != cmd.Process.Pid {
		t.Errorf("%v", got)
	}
	if got := alive(tr.dir + "x"); len(got) != 0 {
		t.Errorf("%v of another trial", got)
	}
}
