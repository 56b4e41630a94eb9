package kvm

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

// long defines the specs that take longest.
func long(h *host) {
	It("withholds random numbers, explains the hang, and confirms it by experiment", func(ctx SpecContext) {
		r := h.boot(ctx, Mutant(ctx, h.kernel, jitter, mutate.Return), "--scenario", "random", "--entropy", "none", "--probe")
		Expect(r).To(And(HaveCause(result.CauseEntropy), BeBlockedIn("wait_for_random_bytes")))
		Expect(last(r).Idle).To(BeTrue(), "busy as its vCPU's thread may be with interrupts")
		Expect(r.Host.Args).To(ContainElement(h.arch.Facts().CPU.KVMSeedless), "the host's CPU, without its random numbers")
		Expect(r.Probes).To(HaveLen(3))
		for _, p := range r.Probes {
			// So slow a guest may take too few interrupts of its input to be seeded by them.
			if p.Name == result.ProbeInput && p.Outcome == result.ProbeNoChange {
				continue
			}
			Expect(p).To(And(HaveField("Outcome", result.ProbeWentOn), HaveField("Boot", scenarios.Booted)))
		}
	}, each)

	It("boots a distribution to multi-user", func(ctx SpecContext) {
		sc := Pick(Cells("distro", h.arch), scenarios.VirtioRNG, scenarios.Dracut)
		h.prepare(ctx, sc)
		r := h.boot(ctx, h.kernel, "--scenario", "distro", "--entropy", string(sc.Entropy), "--initramfs", string(sc.Initramfs))
		Expect(r).To(And(ReachUserspace(), BeAsExpected()))
	}, each)
}
