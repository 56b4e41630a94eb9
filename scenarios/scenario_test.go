package scenarios_test

import (
	"os"
	"path/filepath"
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
