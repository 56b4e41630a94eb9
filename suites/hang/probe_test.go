package hang

import (
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/images/seedlib"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/stage"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

var _ = Describe("an experiment on a hung guest", Label("probe"), func() {
	EachKernel(func(k Kernel) {
		It("confirms the cause of an entropy hang, and leaves the capture as it was", Label("tiny", "no-rng", "entropy", "core"), func(ctx SpecContext) {
			sc := Pick(Cells("random", k.Arch), scenarios.None, scenarios.Tiny)
			boot := Probe(ctx, Mutant(ctx, k.Get(ctx), jitter, mutate.Return), sc, result.ProbeNames()...)
			Expect(boot).To(HaveCause(result.CauseEntropy))
			Expect(boot).To(BeBlockedIn("wait_for_random_bytes"))
			Expect(boot.Probes).To(HaveLen(3))

			By("making getrandom fail, which its caller says")
			failed := boot.Probes[0]
			expectWentOn(failed, result.ProbeSyscall)
			Expect(failed.Did).To(ContainSubstring("getrandom() of init (PID 1)"))
			Expect(failed.Said).To(Equal("unwedge agent: getrandom: cannot allocate memory"))

			By("feeding the entropy pool by input, from the guest as it hung")
			expectWentOn(boot.Probes[1], result.ProbeInput)

			By("plugging in a virtio-rng, from the guest as it hung")
			expectWentOn(boot.Probes[2], result.ProbeVirtioRNG)
			Expect(boot.Probes[2].Console).To(ContainElement(ContainSubstring("crng init done")))

			By("leaving the hang as it was")
			last := boot.Reports[len(boot.Reports)-1]
			Expect(last.Stage).To(Equal(stage.Init))
			Expect(last.CRNG).To(BeFalse())
			log, err := os.ReadFile(filepath.Join(boot.Dir, rundir.Console))
			Expect(err).NotTo(HaveOccurred())
			Expect(string(log)).NotTo(Or(ContainSubstring("crng init done"), ContainSubstring("cannot allocate memory")))
			Expect(filepath.Join(boot.Dir, rundir.Probe)).To(BeARegularFile())
			Expect(filepath.Join(boot.Dir, rundir.ProbeState)).NotTo(BeAnExistingFile())
		}, short)

		It("ends a wait that only a signal would end, and nothing else", Label("tiny"), func(ctx SpecContext) {
			sc := Pick(Cells("init-waits", k.Arch), scenarios.VirtioRNG, scenarios.Tiny)
			boot := Probe(ctx, k.Get(ctx), sc, result.ProbeNames()...)
			Expect(boot).To(HaveHung())
			expectWentOn(boot.Probes[0], result.ProbeSyscall)
			Expect(boot.Probes[0].Did).To(ContainSubstring("flock()"))
			for _, p := range boot.Probes[1:] { // it is certain that it is not for random numbers
				Expect(p.Outcome).To(Equal(result.ProbeRefused), p.Why)
			}
		}, short)

		It("refuses to touch a task that has been stopped", Label("tiny"), func(ctx SpecContext) {
			boot := Probe(ctx, k.Get(ctx), Cell("tiny", k.Arch, "unwedge.fault=wait"), result.ProbeSyscall)
			Expect(boot).To(HaveHung())
			Expect(boot.Diagnosis.Task.State).To(HavePrefix("T"))
			Expect(boot.Probes).To(ConsistOf(HaveField("Outcome", result.ProbeRefused)))
		}, short)

		sc := Pick(Cells("seed-library", k.Arch), scenarios.None, scenarios.DracutFIPS)
		It("gets systemd past a library that waits for random numbers, to multi-user", CellLabels(sc), func(ctx SpecContext) {
			boot := Probe(ctx, Mutant(ctx, k.Get(ctx), jitter, mutate.Return), sc, result.ProbeSyscall, result.ProbeVirtioRNG)
			Expect(boot).To(HaveCause(result.CauseEntropy))
			Expect(boot.Diagnosis.Summary).To(ContainSubstring(seedlib.Name))
			expectWentOn(boot.Probes[0], result.ProbeSyscall)
			Expect(boot.Probes[0].Stage).To(Equal(stage.MultiUser))

			// Nothing has loaded its driver when PID 1 starts.
			Expect(boot.Probes[1].Outcome).To(Equal(result.ProbeNoChange), boot.Probes[1].Why)
			Expect(boot.Probes[1].Why).To(ContainSubstring("showed no sign of a driver binding to it"))
		}, long)
	})
})

// expectWentOn expects that the boot came to its end once the experiment was made.
func expectWentOn(p result.Probe, name result.ProbeName) {
	GinkgoHelper()
	Expect(p.Name).To(Equal(name))
	Expect(p.Outcome).To(Equal(result.ProbeWentOn), "%s: %s", p.Did, p.Why)
	Expect(p.Boot).To(Equal(scenarios.Booted))
	Expect(p.Shows).NotTo(BeEmpty())
}
