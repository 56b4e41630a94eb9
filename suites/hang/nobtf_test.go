package hang

import (
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel/kerneltest"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

var _ = Describe("a kernel without BTF", Label("nobtf", "tiny"), func() {
	EachKernel(func(k Kernel) {
		// Before user space, on a silent console, with sysrq off, memory alone can tell.
		It("that leaks a lock is explained with types inferred from memory", func(ctx SpecContext) {
			c := Mutant(ctx, withoutBTF(ctx, k.Get(ctx)), "crypto_register_template", mutate.LeakLock)
			sc := Cell("tiny", k.Arch)
			sc.Without = []scenarios.Facility{scenarios.Console, scenarios.SysRq}
			res := Boot(ctx, c, sc)
			Expect(res).To(And(HaveHung(), HaveCause(result.CauseDeadlock)))
			Expect(res.Diagnosis.Function).To(Equal("crypto_register_template"))
			Expect(typesOf(res)).To(Equal("inferred"))
		}, short)

		// What has booted can be told by a task, with whatever types there are.
		DescribeTable("is seen to run a task", func(ctx SpecContext, kernel func(SpecContext, *candidate.Candidate) *candidate.Candidate) {
			sc := Cell("tiny", k.Arch)
			sc.Expect = sc.Expect.With(scenarios.Sign{Kind: scenarios.ByTask, Value: "init"})
			res := Boot(ctx, kernel(ctx, k.Get(ctx)), sc)
			Expect(res).To(BeAsExpected())
			Expect(res.Why).To(ContainSubstring("the task init (PID 1) runs"))
		},
			Entry("with BTF", func(_ SpecContext, c *candidate.Candidate) *candidate.Candidate { return c }, short),
			Entry("without BTF", withoutBTF, short))

		It("is explained with types compiled against its headers", func(ctx SpecContext) {
			stock := k.Get(ctx)
			planner, err := plan.New("suite")
			Expect(err).NotTo(HaveOccurred())
			headers, err := stock.FindHeaders(ctx, candidate.Options{Arch: k.Arch, Cache: planner.Store})
			Expect(err).NotTo(HaveOccurred())
			c := *withoutBTF(ctx, stock)
			c.HeadersDir = headers.Dir
			sc := Cell("tiny", k.Arch, "unwedge.fault=child:flock")
			sc.Without = []scenarios.Facility{scenarios.SysRq}
			res := Boot(ctx, &c, sc)
			Expect(res).To(And(HaveHung(), HaveCause(result.CauseUserLock)))
			Expect(res.Diagnosis.Syscall).To(Equal("flock"))
			Expect(typesOf(res)).To(Equal("compiled"))
			Expect(res.Diagnosis.Evidence).To(ContainElement(HaveField("What", ContainSubstring("user-space stack"))))
		}, short)
	})
})

// withoutBTF is a kernel with its types wiped, as one that was built without them.
func withoutBTF(ctx SpecContext, c *candidate.Candidate) *candidate.Candidate {
	GinkgoHelper()
	payload, err := c.Kernel.Payload(ctx)
	Expect(err).NotTo(HaveOccurred())
	wiped, ok := kerneltest.WithoutBTF(payload)
	Expect(ok).To(BeTrue(), "%s has no BTF", c.Kernel.Path)
	dir, err := OutDir()
	Expect(err).NotTo(HaveOccurred())
	path := filepath.Join(dir, "kernel")
	Expect(os.WriteFile(path, wiped, 0o644)).To(Succeed())
	out, err := Find(ctx, path)
	Expect(err).NotTo(HaveOccurred())
	own := *out
	own.ModulesDir = c.ModulesDir
	return &own
}

// typesOf says where the types were from when memory was read last.
func typesOf(res *result.Result) string {
	GinkgoHelper()
	Expect(res.Stalls).NotTo(BeEmpty())
	return res.Stalls[len(res.Stalls)-1].Memory.Types
}
