package scenarios_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/stage"
)

func TestBuiltinHoldsTheMatrix(t *testing.T) {
	distro, err := scenarios.Builtin().Find("distro")
	if err != nil {
		t.Fatal(err)
	}
	cells := distro.Cells()
	if len(cells) != 8 {
		t.Fatalf("distro has %d cells, want 8: 2 arches x 2 entropy sources x 2 initramfs", len(cells))
	}
	seen := map[string]bool{}
	for _, c := range cells {
		seen[c.Name] = true
		if c.BootedStage() != stage.MultiUser {
			t.Errorf("%s counts as booted at %s, want multi-user", c.Name, c.BootedStage())
		}
	}
	if len(seen) != 8 || !seen["distro/aarch64/none/dracut-fips"] {
		t.Errorf("cell names: %v", seen)
	}
}

func TestBadFilesAreRefusedWithTheReason(t *testing.T) {
	for name, tc := range map[string]struct{ yaml, want string }{
		"empty":            {"", "empty"},
		"no list":          {"scenarios: []", "no scenarios"},
		"misspelt field":   {"scenarios: [{name: a, entropi: [none]}]", "entropi"},
		"bad arch":         {"scenarios: [{name: a, arch: [sparc]}]", `arch "sparc"`},
		"module in dracut": {"scenarios: [{name: a, external_module: true, initramfs: [dracut], root: ext4}]", "external_module needs initramfs tiny"},
		"bad entropy":      {"scenarios: [{name: a, entropy: [lots]}]", `entropy "lots"`},
		"bad outcome":      {"scenarios: [{name: a, expect: {outcome: fine}}]", `outcome "fine"`},
		"twice":            {"scenarios: [{name: a}, {name: a}]", "twice"},
		"slash in name":    {"scenarios: [{name: a/b}]", "without slashes"},
		"little memory":    {"scenarios: [{name: a, memory_mib: 1}]", "memory 1 MiB"},
		"dracut no root":   {"scenarios: [{name: a, initramfs: [dracut]}]", "needs a root"},
		"hmac no fips":     {"scenarios: [{name: a, wrong_hmac: true}]", "wrong_hmac"},
		"without what":     {"scenarios: [{name: a, without: [keyboard]}]", "keyboard"},
		"seed no dracut":   {"scenarios: [{name: a, seed_library: true}]", "seed_library"},
		"line break":       {`scenarios: [{name: a, cmdline: ["a\nb"]}]`, "line breaks"},
		"not yaml":         {"{{{{", "yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s.yaml")
			if err := os.WriteFile(path, []byte(tc.yaml), 0o644); err != nil {
				t.Fatal(err)
			}
			c, err := scenarios.Load(path)
			if err == nil {
				t.Fatalf("accepted as %v", c)
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q, want one line with %q and the file's name", err, tc.want)
			}
		})
	}
}

func TestFindNamesWhatThereIs(t *testing.T) {
	_, err := scenarios.Builtin().Find("dsitro")
	if err == nil || !strings.Contains(err.Error(), "distro") {
		t.Errorf("error %v, want one that lists the names", err)
	}
}

// Every field of a scenario file is described in the README.
func TestREADMEHasEveryField(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[scenarios.Template](), reflect.TypeFor[scenarios.Expect]()} {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("yaml"), ",")
			if name == "" || !strings.Contains(string(b), "\n| `"+name+"` |") {
				t.Errorf("%s.%s: no row for %q", typ.Name(), typ.Field(i).Name, name)
			}
		}
	}
}

// Every kind of everything is named there, and Validate takes it.
func TestREADMEHasEveryKind(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, e := range scenarios.Entropies() {
		words = append(words, string(e))
	}
	for _, i := range scenarios.Initramfses() {
		words = append(words, string(i))
	}
	for _, r := range scenarios.Roots() {
		words = append(words, string(r))
	}
	for _, w := range words {
		if !strings.Contains(string(b), "`"+w+"`") {
			t.Errorf("%q is not described", w)
		}
	}
}

// What a kind does, by the rows of its table; one that is not in it does nothing.
func TestKinds(t *testing.T) {
	for e, want := range map[scenarios.Entropy]string{
		scenarios.VirtioRNG: "true false", scenarios.None: "false false", scenarios.Host: "false true", "lots": "false false",
	} {
		if got := fmt.Sprint(e.Device(), e.Seeded()); got != want {
			t.Errorf("entropy %s: device, seeded: %s, want %s", e, got, want)
		}
	}
	for i, want := range map[scenarios.Initramfs]string{
		scenarios.Tiny: "true false false true", scenarios.Dracut: "true true false false", scenarios.DracutFIPS: "true true true false",
		scenarios.NoInitrd: "false false false false", "cpio": "false false false false",
	} {
		if got := fmt.Sprint(i.Present(), i.NeedsRoot(), i.FIPS(), i.LoadsNamed()); got != want {
			t.Errorf("initramfs %s: present, needs root, FIPS, loads named modules: %s, want %s", i, got, want)
		}
	}
	for r, want := range map[scenarios.Root]string{scenarios.NoRoot: "false false", scenarios.Ext4: "true true", scenarios.Missing: "true false"} {
		if got := fmt.Sprint(r.Wanted(), r.Attached()); got != want {
			t.Errorf("root %s: wanted, attached: %s, want %s", r, got, want)
		}
	}
}
