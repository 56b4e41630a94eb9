package mutate_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/internal/archivetest"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/mutate"
)

// TestRealKernels mutates kernels of the Debian archive. In Debian's 5.10 the
// compiler has inlined try_to_generate_entropy.
func TestRealKernels(t *testing.T) {
	archivetest.Each(t, func(t *testing.T, c *candidate.Candidate, _ *cache.Store) {
		k := c.Kernel
		if strings.HasPrefix(k.Release, "5.") {
			t.Skip("inlined there")
		}
		out := filepath.Join(t.TempDir(), "out")
		truth, err := mutate.WriteFile(t.Context(), k, out, "try_to_generate_entropy", mutate.Return)
		if err != nil {
			t.Fatal(err)
		}
		mutated, err := kernel.Identify(t.Context(), out)
		if err != nil || mutated.BuildID != k.BuildID || mutated.SHA256 != truth.SHA256 {
			t.Errorf("mutated kernel %+v, %v", mutated, err)
		}
		// Every one of these kernels is built with ftrace.
		if skip := truth.PatchAddress - truth.Address; skip < 5 {
			t.Errorf("changed at +%d, over the entry hook", skip)
		}
		// misc_register holds misc_mtx (drivers/char/misc.c).
		truth, err = mutate.WriteFile(t.Context(), k, out, "misc_register", mutate.LeakLock)
		if err != nil || truth.Unlock != "mutex_unlock" || truth.CallOffset < 5 {
			t.Errorf("leaked lock: %+v, %v", truth, err)
		}
	})
}
