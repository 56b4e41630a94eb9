package kvm

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

// jitter is how a kernel gathers entropy from timing.
const jitter = "try_to_generate_entropy"

// boots defines the specs of one boot each.
func boots(h *host) {
	It("chooses KVM, once a guest has run under it", Label("short"), func(ctx SpecContext) {
		ran := h.run(ctx, "unwedge doctor")
		Expect(read(ran, "stdout")).To(MatchRegexp(string(h.arch) + ` +kvm \(QEMU [0-9.]+\): a test guest ran under KVM\n`))
	}, each)

	// It comes before the hangs: the limits are then those of a host as slow as this one.
	// The kernel may complain of the CPU that TCG emulates: a warning is as expected.
	It("boots a kernel", Label("short"), func(ctx SpecContext) {
		Expect(h.boot(ctx, h.kernel)).To(And(ReachUserspace(), BeAsExpected()))
		calibrations := h.run(ctx, "ls ~/.local/state/unwedge/calibration")
		Expect(read(calibrations, "stdout")).To(And(ContainSubstring("kvm"), Not(ContainSubstring("tcg"))))
	}, each)

	It("explains a file lock, from memory, by sysrq and by the user-space stack", Label("short"), func(ctx SpecContext) {
		r := h.boot(ctx, h.kernel, "--append", "unwedge.fault=child:flock")
		Expect(r).To(And(HaveHung(), HaveCause(result.CauseUserLock)))
		Expect(r.Diagnosis.Syscall).To(Equal("flock"))
		Expect(r.Diagnosis.Chain).To(HaveLen(2), "PID 1, which waits for its child, and the child")
		Expect(r.Diagnosis.Evidence).To(ContainElement(HaveField("What", ContainSubstring("user-space stack"))))
		Expect(r.Diagnosis.Compared).NotTo(BeNil(), "memory and sysrq-t both spoke")
		Expect(r.Diagnosis.Compared.Differences).To(BeEmpty())
		Expect(last(r).Idle).To(BeTrue(), "the vCPU's thread waits in KVM")
		got, ok := result.Dumped(last(r).Attempts, 't')
		Expect(ok).To(BeTrue())
		Expect(got.Route).To(Equal(result.Break))
	}, each)

	It("withholds random numbers, explains the hang, and confirms it by experiment", func(ctx SpecContext) {
		r := h.boot(ctx, Mutant(ctx, h.kernel, jitter, mutate.Return), "--scenario", "random", "--entropy", "none", "--probe")
		Expect(r).To(And(HaveCause(result.CauseEntropy), BeBlockedIn("wait_for_random_bytes")))
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

	It("finds user space that spins, by the time of the vCPU's thread", func(ctx SpecContext) {
		r := h.boot(ctx, h.kernel, "--append", "unwedge.fault=spin")
		Expect(r).To(And(HaveHung(), HaveCause(result.CauseSpin, result.CauseUserService)))
		Expect(last(r).Idle).To(BeFalse())
	}, each)

	It("finds a kernel that spins with interrupts off", func(ctx SpecContext) {
		r := h.boot(ctx, Mutant(ctx, h.kernel, "populate_rootfs", mutate.SpinIRQsOff))
		Expect(r).To(And(HaveHung(), HaveCause(result.CauseSpin)))
		Expect(r.Diagnosis.Function).To(Equal("populate_rootfs"))
		if h.arch.Facts().HasNMI {
			Expect(last(r).Attempts).To(ContainElement(HaveField("Route", result.NMI)))
		}
	}, each)

	It("explains a leaked lock from memory alone, on a silent console and without sysrq", func(ctx SpecContext) {
		r := h.boot(ctx, Mutant(ctx, h.kernel, "crypto_register_template", mutate.LeakLock), "--without", "sysrq,console")
		Expect(r).To(And(HaveHung(), HaveCause(result.CauseDeadlock)))
		Expect(r.Diagnosis.Function).To(Equal("crypto_register_template"))
	}, each)

	It("finds a sleep before user space, with two vCPUs", func(ctx SpecContext) {
		r := h.boot(ctx, Mutant(ctx, h.kernel, "misc_register", mutate.Sleep), "--cpus", "2")
		Expect(r).To(BeBlockedIn("misc_register"))
		if h.keyboard() {
			Expect(last(r).Attempts).To(ContainElement(And(HaveField("Route", result.Keyboard), HaveField("Yield", result.Captured))))
		}
	}, each)

	It("reads the memory of a kernel that has moved itself, started by UEFI", func(ctx SpecContext) {
		r := h.boot(ctx, h.kernel, "--firmware", "uefi", "--append", "unwedge.fault=pipe")
		Expect(r).To(And(HaveHung(), HaveCause(result.CauseUserService)))
		Expect(last(r).Memory).To(HaveField("Offset", BeNumerically(">", 0)))
		Expect(last(r).Memory.Problems).To(BeEmpty())
	}, each)

	for _, f := range []struct {
		fault   string
		outcome scenarios.Outcome
		cause   result.Cause
	}{
		{"exit", scenarios.Panicked, result.CauseInitDied},
		{"sysrq:c", scenarios.Panicked, result.CausePanic},
		{"reboot", scenarios.Rebooting, result.CauseRebootLoop},
	} {
		It("names the fault "+f.fault, func(ctx SpecContext) {
			Expect(h.boot(ctx, h.kernel, "--append", "unwedge.fault="+f.fault)).To(And(HaveOutcome(f.outcome), HaveCause(f.cause)))
		}, each)
	}

	It("boots a starved kernel with virtio-rng", func(ctx SpecContext) {
		r := h.boot(ctx, Mutant(ctx, h.kernel, jitter, mutate.Return), "--scenario", "random", "--entropy", "virtio-rng")
		Expect(r).To(ReachUserspace())
	}, each)
}

func last(r *result.Result) result.Stall {
	GinkgoHelper()
	Expect(r.Stalls).NotTo(BeEmpty())
	return r.Stalls[len(r.Stalls)-1]
}
