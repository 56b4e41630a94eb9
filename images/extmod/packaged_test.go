package extmod_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/extmod"
	"github.com/unwedge/unwedge/images/internal/archivetest"
	"github.com/unwedge/unwedge/images/modules"
)

// TestRealPackagedModules holds Check against kernels' own modules, all of which
// load. What other modules export is read from their files, as it is without
// headers. It needs the network:
//
//	UNWEDGE_TEST_ARCHIVE='deb:linux-image-cloud-amd64@bookworm …' go test -run RealPackagedModules -v ./images/extmod
func TestRealPackagedModules(t *testing.T) {
	archivetest.Each(t, func(t *testing.T, c *candidate.Candidate, _ *cache.Store) {
		facts, err := extmod.Gather(t.Context(), extmod.Source{Kernel: c.Kernel})
		if err != nil {
			t.Fatal(err)
		}
		all := parseAll(t, c.ModulesDir)
		for _, m := range all {
			for name, x := range m.Exports {
				facts.Exports[name] = x
			}
		}
		for _, m := range all {
			if p := extmod.Check(m, facts); !p.Loads() {
				t.Errorf("%+v", p)
			}
		}
		t.Logf("%d modules", len(all))
	})
}

func parseAll(t *testing.T, dir string) []*extmod.Module {
	t.Helper()
	var all []*extmod.Module
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(d.Name(), ".ko") {
			return err
		}
		b, err := modules.ReadFile(path)
		if err != nil {
			return err
		}
		m, err := extmod.Parse(b)
		if err != nil {
			return err
		}
		all = append(all, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no modules")
	}
	return all
}
