package kernel_test

import (
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/internal/archivetest"
	"github.com/unwedge/unwedge/images/kernel"
)

// TestRealKernels identifies kernels of the Debian archive, as they are packed
// there and unpacked.
func TestRealKernels(t *testing.T) {
	archivetest.Each(t, func(t *testing.T, c *candidate.Candidate, _ *cache.Store) {
		for _, path := range []string{c.Kernel.Path, c.Kernel.Unpacked} {
			k, err := kernel.Identify(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s %s %s %s id=%s pvh=%v", k.Arch, k.Format, k.Compression, k.Release, k.BuildID, k.PVH)
			if k.Release == "" || k.BuildID == "" || !strings.Contains(k.Banner, k.Release) {
				t.Errorf("incomplete: %+v", k)
			}
			if k.Arch != c.Kernel.Arch || k.Release != c.Kernel.Release || k.BuildID != c.Kernel.BuildID {
				t.Errorf("%s is %s %s %s, and the package's kernel %s %s %s", path, k.Arch, k.Release, k.BuildID, c.Kernel.Arch, c.Kernel.Release, c.Kernel.BuildID)
			}
		}
	})
}
