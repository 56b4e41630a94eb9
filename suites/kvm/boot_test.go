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

	It("finds user space that spins, by the time of the vCPU's thread", func(ctx SpecContext) {
		r := h.boot(ctx, h.kernel, "--append", "unwedge.fault=spin")
		Expect(r).To(And(HaveHung(), HaveCause(result.CauseSpin, result.CauseUserService)))
		Expect(last(r).Idle).To(BeFalse())
	}, each)

	It("finds a kernel that spins with interrupts off", func(ctx SpecContext) {
		r := h.boot(ctx, Mutant(ctx, h.kernel, "populate_rootfs", mutate.SpinIRQsOff))
		Expect(r).To(And(HaveHung(), HaveCause(result.CauseSpin)))
		Expect(r.Diagnosis.Function).To(Equal("populate_rootfs"))
		Expect(last(r).Attempts).To(BeEmpty(), "it would not hear, and memory says where it is")
	}, each)

	if h.arch.Facts().HasNMI {
		// A kernel that still runs at its physical addresses shows nothing in memory.
		It("asks by NMI where a kernel is that spins in its first steps", func(ctx SpecContext) {
			r := h.boot(ctx, Mutant(ctx, h.kernel, "__startup_64", mutate.SpinIRQsOff))
			Expect(r).To(HaveHung())
			Expect(last(r).Idle).To(BeFalse())
			Expect(last(r).Attempts).To(ContainElement(And(HaveField("Route", result.NMI), Not(HaveField("Yield", result.Refused)))))
			Expect(r.Resets).To(BeZero(), "the NMI's own reset is none of the guest's")
		}, each)
	}

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
}

func last(r *result.Result) result.Stall {
	GinkgoHelper()
	Expect(r.Stalls).NotTo(BeEmpty())
	return r.Stalls[len(r.Stalls)-1]
}
