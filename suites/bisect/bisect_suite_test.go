// Package bisect proves on real kernels that unwedge bisect finds the one that
// began to hang: among the commits of a kernel's source, which are built, and among
// released packages. `make test-bisect` runs it.
package bisect

import (
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// long bounds a spec that builds kernels; nothing here is an assertion on speed.
const long = SpecTimeout(3 * time.Hour)

func TestBisect(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "bisect")
}
