package kbuild

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

func TestMerge(t *testing.T) {
	base := "#\n# a comment\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"old\"\nCONFIG_KEEP=m"
	text, wanted := merge(base, []Fragment{
		{Settings: []Setting{{Name: "CONFIG_A", Value: "n"}, {Name: "CONFIG_B", Value: "y", Optional: true}, {Name: "CONFIG_D", Value: "y"}}},
		{Settings: []Setting{{Name: "CONFIG_C", Value: `"new"`}, {Name: "CONFIG_D", Value: "m"}, {Name: "CONFIG_A", Value: "n", Optional: true}}},
	})
	want := "#\n# a comment\nCONFIG_KEEP=m\n# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_D=m\nCONFIG_C=\"new\"\n"
	if text != want {
		t.Errorf("merged\n%s\nwant\n%s", text, want)
	}
	// A setting that one fragment wants and another would like is wanted.
	wantSettings := []Setting{
		{Name: "CONFIG_A", Value: "n"}, {Name: "CONFIG_B", Value: "y", Optional: true}, {Name: "CONFIG_D", Value: "m"}, {Name: "CONFIG_C", Value: `"new"`},
	}
	if d := cmp.Diff(wantSettings, wanted); d != "" {
		t.Error(d)
	}
}

func TestParseFragment(t *testing.T) {
	got, err := parseFragment(strings.NewReader("# words\n\nCONFIG_A=y\n# CONFIG_B is not set\n#:optional\nCONFIG_C=0x1f\nCONFIG_D=\"a \\\" b\"\n"))
	want := []Setting{
		{Name: "CONFIG_A", Value: "y"}, {Name: "CONFIG_B", Value: "n"},
		{Name: "CONFIG_C", Value: "0x1f", Optional: true}, {Name: "CONFIG_D", Value: `"a \" b"`, Optional: true},
	}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, bad := range []string{"A=y", "CONFIG_A y", "CONFIG_A=yes", "CONFIG_A=\"open", "CONFIG_A=$(sh)"} {
		if got, err := parseFragment(strings.NewReader(bad)); err == nil || got != nil {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}

func TestEmbeddedFragments(t *testing.T) {
	if len(FragmentNames()) < 8 {
		t.Fatalf("fragments %v", FragmentNames())
	}
	for _, name := range FragmentNames() {
		for _, a := range arch.All() {
			f, err := FindFragment(name, a)
			if err != nil {
				t.Errorf("%s for %s: %v", name, a, err)
			}
			seen := map[string]bool{}
			for _, s := range f.Settings {
				if seen[s.Name] {
					t.Errorf("%s for %s sets %s twice", name, a, s.Name)
				}
				seen[s.Name] = true
			}
		}
	}
	x86, err := FindFragment("console", arch.X86_64)
	if err != nil {
		t.Fatal(err)
	}
	arm, err := FindFragment("console", arch.AArch64)
	if err != nil {
		t.Fatal(err)
	}
	has := func(f Fragment, name string) bool {
		return slices.ContainsFunc(f.Settings, func(s Setting) bool { return s.Name == name && s.Value == "y" })
	}
	if !has(x86, "CONFIG_SERIAL_8250_CONSOLE") || has(x86, "CONFIG_SERIAL_AMBA_PL011") || !has(arm, "CONFIG_SERIAL_AMBA_PL011_CONSOLE") || !has(arm, "CONFIG_TTY") {
		t.Error("the console's fragments do not have each architecture's UART")
	}
}

func TestFindFragment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine.config")
	if err := os.WriteFile(path, []byte("CONFIG_A=y\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := FindFragment(path, arch.X86_64)
	if err != nil || f.Name != "mine.config" || len(f.Settings) != 1 {
		t.Errorf("%+v, %v", f, err)
	}
	var unknown *UnknownFragmentError
	if _, err := FindFragment("consle", arch.X86_64); !errors.As(err, &unknown) || !strings.Contains(err.Error(), "console") {
		t.Errorf("error %v, want one that lists the names", err)
	}
}

// Every fragment that a scenario asks for is there.
func TestScenarioFragments(t *testing.T) {
	for _, template := range scenarios.Builtin() {
		for _, cell := range template.Cells() {
			for _, name := range cell.Fragments() {
				if !slices.Contains(FragmentNames(), name) {
					t.Errorf("%s asks for %s, which is not there", cell.Name, name)
				}
			}
		}
	}
	fips := scenarios.Scenario{Initramfs: scenarios.DracutFIPS, Root: scenarios.Ext4}.Fragments()
	if !slices.Contains(fips, "fips") || !slices.Contains(fips, "root") || !slices.Contains(fips, "initrd") {
		t.Errorf("a FIPS cell has %v", fips)
	}
}
