package boot

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

// prepare is what a cell's images may take to build, where the cache is empty;
// the boot itself is bounded by the harness.
const prepare = 30 * time.Minute

var _ = Describe("boot", func() {
	EachKernel(func(k Kernel) {
		for _, scenario := range []string{"tiny", "distro"} {
			for _, sc := range Cells(scenario, k.Arch) {
				It(fmt.Sprintf("%s with %s, entropy %s", scenario, sc.Initramfs, sc.Entropy), CellLabels(sc), func(ctx SpecContext) {
					boot := Boot(ctx, k.Get(ctx), sc)
					Expect(boot).To(BeAsExpected())
					Expect(boot).To(ReachUserspace())
				}, SpecTimeout(prepare))
			}
		}
	})
})
