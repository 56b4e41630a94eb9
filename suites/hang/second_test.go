package hang

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/mutate"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

var _ = Describe("a second boot", Label("second", "tiny"), func() {
	EachKernel(func(k Kernel) {
		// Before user space no sysrq key is heard; without memory nothing names the function.
		It("names the initcall that the first left open", func(ctx SpecContext) {
			res := Boot(ctx, Mutant(ctx, k.Get(ctx), "inet_init", mutate.Sleep), Cell("tiny", k.Arch), func(r *harness.Request) {
				r.Image, r.Again = harness.Request{}.Image, true
			})
			Expect(res).To(And(HaveHung(), HaveCause(result.CauseInitcall)))
			Expect(res.Diagnosis.Function).To(Equal("inet_init"))
			Expect(res.Second).To(HaveField("Told", result.ToldMore))
			Expect(res.Second.First.Cause).NotTo(Equal(result.CauseInitcall))
		}, short)
	})
})
