// Package archivetest runs tests on real kernels of the Debian archive.
package archivetest

import (
	"os"
	"strings"
	"testing"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
)

// Kernels is the variable that lists the kernels, as `unwedge boot` takes them,
// separated by white space: 'deb:linux-image-cloud-amd64@bookworm …'. `make test`
// sets it.
const Kernels = "UNWEDGE_TEST_ARCHIVE"

// Each runs f as a subtest for each listed kernel, and skips the test if the list
// is empty. The store is the user's own cache, which keeps the kernels.
func Each(t *testing.T, f func(t *testing.T, c *candidate.Candidate, store *cache.Store)) {
	t.Helper()
	list := strings.Fields(os.Getenv(Kernels))
	if len(list) == 0 {
		t.Skip(Kernels + " lists no kernels")
	}
	store, err := cache.Default()
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range list {
		t.Run(arg, func(t *testing.T) {
			c, err := candidate.Resolve(t.Context(), arg, candidate.Options{Cache: store})
			if err != nil {
				t.Fatal(err)
			}
			f(t, c, store)
		})
	}
}
