package bisect

import (
	"math/bits"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/suites/bisect/packageset"
)

var _ = Describe("released kernels", Label("packages"), func() {
	for _, a := range arch.All() {
		It("are searched on "+string(a), func(ctx SpecContext) {
			store, err := cache.Default()
			Expect(err).NotTo(HaveOccurred())
			o := candidate.Options{Arch: a, Cache: store}
			list, err := candidate.ListPackages(ctx, "deb:linux-image-cloud-"+a.Facts().Debian, o)
			Expect(err).NotTo(HaveOccurred())
			kernels := packageset.NewestOfSeries(list.Packages, 1)
			dir := out()
			set, err := packageset.Make(ctx, filepath.Join(dir, "kernels"), kernels, kernels[len(kernels)*2/3].Upstream.String(), packageset.Options{Candidate: o})
			Expect(err).NotTo(HaveOccurred())
			Expect(len(set.Kernels)).To(BeNumerically(">=", 8), "real kernels; gone: %v", set.Gone)

			last := len(set.Kernels) - 1
			r := found(ctx, "--packages", set.Pattern(), "--good", set.Kernels[0].Release, "--bad", set.Kernels[last].Release,
				"-s", "random", "--entropy", "none", "--fresh", "--out", filepath.Join(dir, "bisection"))
			Expect(r.First).NotTo(BeNil())
			Expect(r.First.ID).To(Equal(set.FirstBad().Path))
			Expect(r.Failure.Cause).To(Equal("entropy-starvation"))
			// As many as halving takes, and one for each end.
			Expect(r.Boots).To(BeNumerically("<=", bits.Len(uint(last-1))+2))
		}, long, Label(string(a)))
	}
})
