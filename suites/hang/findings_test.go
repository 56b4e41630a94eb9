package hang

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

var _ = Describe("a kernel that warns and boots", Label("findings", "tiny"), func() {
	EachKernel(func(k Kernel) {
		It("is booted, unclean", func(ctx SpecContext) {
			// kernel/trace/trace_output.c, init_events: WARN_ONCE(!ret, ...)
			warns := Mutant(ctx, k.Get(ctx), "register_trace_event", mutate.Return)
			boot := Boot(ctx, warns, Cell("tiny", k.Arch))
			Expect(boot).To(ReachUserspace())
			Expect(boot).NotTo(BeClean())
			Expect(boot.Unclean).To(BeTrue())
			Expect(boot).To(BeAsExpected(), "a warning is no error")
			Expect(boot.Findings).To(ContainElement(And(
				HaveField("Kind", result.FindingWarning),
				HaveField("Severity", result.Warning),
				HaveField("Title", "WARNING in init_events"),
			)))

			By("failing it where the scenario allows no warning")
			strict := Cell("tiny", k.Arch)
			strict.Expect.Findings = scenarios.FindingsNone
			Expect(Boot(ctx, warns, strict)).NotTo(BeAsExpected())
		})
	})
})
