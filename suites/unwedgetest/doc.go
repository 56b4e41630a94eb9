// Package unwedgetest is for Ginkgo suites that boot kernels: it plans and
// boots, keeps the artifacts, and has matchers whose failure message is the
// diagnosis.
//
//	var _ = Describe("my driver", func() {
//		unwedgetest.EachKernel(func(k unwedgetest.Kernel) {
//			It("does not stop the boot", func(ctx SpecContext) {
//				boot := unwedgetest.Boot(ctx, k.Get(ctx), unwedgetest.Cell("tiny", k.Arch))
//				Expect(boot).To(unwedgetest.ReachUserspace())
//			}, SpecTimeout(5*time.Minute))
//		})
//	})
//
// These environment variables say what is booted and where the artifacts go:
//
//	UNWEDGE_KERNEL       kernels, separated by commas, as `unwedge boot` takes
//	                     them; without it a Debian kernel for each architecture
//	UNWEDGE_MODULES_DIR  the lib/modules/RELEASE directory of a bare kernel file
//	UNWEDGE_OUT          an absolute path: every run keeps its artifacts there;
//	                     without it only runs of failed specs are kept, in the
//	                     temporary directory
//	UNWEDGE_ACCEL        auto, kvm or tcg, as --accel
//
// Nothing is fetched, built or booted while Ginkgo builds its tree of specs.
package unwedgetest
