package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/images/kbuild"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// kernelTree is a directory that passes for a kernel source.
func kernelTree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "linux")
	for _, name := range []string{"Makefile", "Kconfig", "scripts/kconfig/conf.c", "init/main.c"} {
		write(t, filepath.Join(dir, name), nil)
	}
	return dir
}

func TestBuildUsage(t *testing.T) {
	dir := isolated(t)
	tree := kernelTree(t)
	packed := write(t, filepath.Join(dir, "config.gz"), []byte{0x1f, 0x8b, 8, 0})
	for name, tc := range map[string]struct {
		args  []string
		words []string
	}{
		"no tree":          {[]string{"build"}, []string{"accepts 1 arg"}},
		"not a tree":       {[]string{"build", dir}, []string{dir, "not a Linux kernel source tree"}},
		"unknown arch":     {[]string{"build", "--arch", "m68k", tree}, []string{"m68k"}},
		"unknown scenario": {[]string{"build", "--arch", "x86_64", "-s", "tinny", tree}, []string{"tinny"}},
		"unknown fragment": {[]string{"build", "--arch", "x86_64", "--fragment", "consle", tree}, []string{"consle", "console"}},
		"negative jobs":    {[]string{"build", "--arch", "x86_64", "-j", "-1", tree}, []string{"-1"}},
		"too many jobs":    {[]string{"build", "--arch", "x86_64", "-j", "99999", tree}, []string{"99999", "4096"}},
		"spaced output":    {[]string{"build", "--arch", "x86_64", "-o", filepath.Join(dir, "a b"), tree}, []string{"a b", "spaces"}},
		"the tree itself":  {[]string{"build", "--arch", "x86_64", "-o", tree, tree}, []string{tree, "the source"}},
		"no such config":   {[]string{"build", "--arch", "x86_64", "--config", "./small.config", tree}, []string{"./small.config", "no such file"}},
		"packed config":    {[]string{"build", "--arch", "x86_64", "--config", packed, tree}, []string{packed, "zcat"}},
		"unknown package":  {[]string{"build", "--arch", "x86_64", "--config", "deb:LINUX", tree}, []string{"deb:LINUX"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := unwedge(t, "", tc.args...)
			if r.code != exitUsage || r.stdout != "" {
				t.Errorf("exit code %d, stdout %q", r.code, r.stdout)
			}
			onlyLine(t, r, tc.words...)
		})
	}
}

// A host without a compiler is the host's failure, and the tree is left alone.
func TestBuildWithoutCompiler(t *testing.T) {
	isolated(t)
	tree := kernelTree(t)
	r := unwedge(t, "", "build", "--arch", "aarch64", tree)
	if r.code != exitHarness {
		t.Errorf("exit code %d, want %d", r.code, exitHarness)
	}
	onlyLine(t, r, "the toolchain cannot build this kernel", "make: not installed", "flex: not installed")
	if left, err := os.ReadDir(tree); err != nil || len(left) != 4 {
		t.Errorf("the tree holds %d entries, %v", len(left), err)
	}
}

// Every scenario's fragments make a Spec, for each architecture.
func TestBuildSpec(t *testing.T) {
	isolated(t)
	tree := kernelTree(t)
	own := write(t, filepath.Join(t.TempDir(), "own.config"), []byte("CONFIG_KERNEL_LZ4=y\n"))
	a := &app{}
	cat, err := a.catalogue()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(cat.Names(), "none") {
		for _, ar := range arch.All() {
			s, err := a.buildSpec(t.Context(), tree, buildFlags{arch: string(ar), scenario: name, build: plan.Build{Config: "tinyconfig", Fragments: []string{own}}})
			if err != nil {
				t.Errorf("%s on %s: %v", name, ar, err)
				continue
			}
			if last := s.Fragments[len(s.Fragments)-1]; last.Name != "own.config" || s.Output != tree+"."+string(ar) || s.Config != "tinyconfig" {
				t.Errorf("%s on %s: %+v", name, ar, s)
			}
			if wantOne := name == "none"; (len(s.Fragments) == 1) != wantOne {
				t.Errorf("%s on %s: %d fragments", name, ar, len(s.Fragments))
			}
		}
	}
}

func TestBuildExitCodes(t *testing.T) {
	isolated(t)
	for want, err := range map[int]error{
		exitKernel:  &kbuild.TreeError{Step: "build", Line: "lib/a.c:1:2: error: x", Log: "log"},
		exitUsage:   &kbuild.ConfigError{Unmet: []kbuild.Unmet{{Setting: kbuild.Setting{Name: "CONFIG_A", Value: "y"}, Got: "n"}}},
		exitHarness: &kbuild.HostError{Kind: kbuild.ErrNoSpace, Step: "build"},
	} {
		a := &app{stderr: discard{}}
		if got := a.exit(a.buildFailed(err)); got != want {
			t.Errorf("%v: exit code %d, want %d", err, got, want)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
