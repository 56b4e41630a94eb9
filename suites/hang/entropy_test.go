package hang

import (
	"encoding/json"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/images/seedlib"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/release"
	"github.com/unwedge/unwedge/scenarios/stage"
	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

// jitter is how a kernel gathers entropy from timing. Without it a stock kernel
// is as those before 5.4 were: what seeds it must come from outside.
const jitter = "try_to_generate_entropy"

var _ = Describe("a kernel that is never seeded", Label("entropy"), func() {
	EachKernel(func(k Kernel) {
		It("blocks PID 1 in getrandom, and the report says so", Label("tiny", "no-rng", "core"), func(ctx SpecContext) {
			sc := Pick(Cells("random", k.Arch), scenarios.None, scenarios.Tiny)
			boot := Boot(ctx, Mutant(ctx, k.Get(ctx), jitter, mutate.Return), sc)
			Expect(boot).To(HaveCause(result.CauseEntropy))
			Expect(boot).To(BeBlockedIn("wait_for_random_bytes"))
			d := boot.Diagnosis
			Expect(d.Task).To(HaveField("PID", 1))
			Expect(d.Task).To(HaveField("Comm", "init"))
			Expect(d.Syscall).To(Equal("getrandom"))
			Expect(d.Remedy).To(ContainSubstring("virtio-rng"))

			By("withholding all entropy, as the scenario says")
			Expect(boot).To(ReachStage(stage.Init))
			first := boot.Reports[0]
			Expect(first.Stage).To(Equal(stage.Init))
			Expect(first.HWRNG).To(Equal("none"))
			Expect(first.CRNG).To(BeFalse(), "the generator was ready although nothing seeds it")

			By("recording what was broken on purpose")
			Expect(boot.Kernel.Fault).To(ContainSubstring(jitter))
		}, short)

		It("boots with virtio-rng and its driver", Label("tiny", "virtio-rng", "core"), func(ctx SpecContext) {
			sc := Pick(Cells("random", k.Arch), scenarios.VirtioRNG, scenarios.Tiny)
			boot := Boot(ctx, Mutant(ctx, k.Get(ctx), jitter, mutate.Return), sc)
			Expect(boot).To(ReachUserspace())
			last := boot.Reports[len(boot.Reports)-1]
			Expect(last.HWRNG).To(HavePrefix("virtio_rng"))
			Expect(last.CRNG).To(BeTrue())
		}, short)

		// In 2018 this cell hung in libgcrypt's FIPS start-up. PID 1 still loads it,
		// but libgcrypt 1.10 starts without random numbers: see RESULTS.md.
		fips := Pick(Cells("distro", k.Arch), scenarios.None, scenarios.DracutFIPS)
		It("does not block a Debian 12 in FIPS mode, which waits for no random numbers", CellLabels(fips), func(ctx SpecContext) {
			boot := Boot(ctx, Mutant(ctx, k.Get(ctx), jitter, mutate.Return), fips)
			Expect(boot).To(BeAsExpected())
			last := boot.Reports[len(boot.Reports)-1]
			Expect(last.Stage).To(Equal(stage.MultiUser))
			Expect(last.CRNG).To(BeFalse(), "something seeded the generator")
			Expect(last.HWRNG).To(Equal("none"))
		}, long)

		// What libgcrypt did then, in the same image with the same systemd: PID 1
		// does not come to its main function, in each release.
		for i, of := range release.All() {
			e := []scenarios.Entropy{scenarios.VirtioRNG, scenarios.None}[i%2]
			sc := Pick(Cells("seed-library", k.Arch), e, scenarios.DracutFIPS)
			sc.ImageRelease = of
			It("blocks systemd in a library's constructor, and the report names the library: "+string(of), CellLabels(sc), func(ctx SpecContext) {
				boot := Boot(ctx, Mutant(ctx, k.Get(ctx), jitter, mutate.Return), sc)
				Expect(boot).To(HaveCause(result.CauseEntropy))
				Expect(boot).To(BeBlockedIn("wait_for_random_bytes"))
				d := boot.Diagnosis
				Expect(d.Task).To(HaveField("PID", 1))
				Expect(d.Syscall).To(Equal("getrandom"))
				Expect(d.Summary).To(ContainSubstring("called from " + seedlib.Name))
				said, err := json.Marshal(d.Evidence)
				Expect(err).NotTo(HaveOccurred())
				text := string(said)
				Expect(text).To(ContainSubstring("systemd(1) → getrandom ← " + seedlib.Name + " ← constructor ← ld.so"))
				Expect(text).To(ContainSubstring(seedlib.Function + "+"))
			}, long)
		}

		seeds := Pick(Cells("seed-library", k.Arch), scenarios.None, scenarios.DracutFIPS)
		It("is all that such a library waits for: a kernel that seeds itself boots with it", CellLabels(seeds), func(ctx SpecContext) {
			boot := Boot(ctx, k.Get(ctx), seeds)
			Expect(boot).To(BeAsExpected())
			Expect(boot).To(ReachStage(stage.MultiUser))
		}, long)
	})
})
