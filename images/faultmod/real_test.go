package faultmod_test

import (
	"os"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/faultmod"
	"github.com/unwedge/unwedge/images/internal/archivetest"
	"github.com/unwedge/unwedge/images/modules"
)

// TestRealModules builds the module for kernels of the Debian archive, with the
// network and compilers:
//
//	UNWEDGE_TEST_ARCHIVE='deb:linux-image-cloud-amd64@bookworm deb:linux-image-cloud-arm64@bookworm' \
//	go test -run RealModules -v ./images/faultmod
func TestRealModules(t *testing.T) {
	archivetest.Each(t, func(t *testing.T, c *candidate.Candidate, store *cache.Store) {
		path, err := faultmod.Build(t.Context(), faultmod.For(c, "", store))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := modules.Info(path, b)
		if err != nil || info["license"] != "GPL" || !strings.HasPrefix(info["vermagic"], c.Kernel.Release+" ") {
			t.Errorf("module %v, %v", info, err)
		}
		t.Logf("%s: %d bytes, %v", path, len(b), info)
	})
}
