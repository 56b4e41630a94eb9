package hang

import (
	"errors"
	"os"
	"path/filepath"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

var _ = Describe("sysrq on a hung guest", Label("sysrq", "tiny"), func() {
	EachKernel(func(k Kernel) {
		It("prints the stacks although the kernel was booted quiet", Label("core"), func(ctx SpecContext) {
			boot := Boot(ctx, k.Get(ctx), Cell("tiny", k.Arch, "quiet", "unwedge.fault=pipe"))
			Expect(boot).To(HaveHung())
			Expect(boot.Diagnosis.Syscall).To(Equal("read"))
			got, ok := result.Dumped(last(boot).Attempts, 't')
			Expect(ok).To(BeTrue(), "no task dump in %+v", last(boot).Attempts)
			Expect(got.Route).To(Equal(result.Break))
			dump, err := os.ReadFile(filepath.Join(boot.Dir, rundir.Dump('t')))
			Expect(err).NotTo(HaveOccurred())
			Expect(string(dump)).To(ContainSubstring("task:init"))
			Expect(string(dump)).To(MatchRegexp("Call [Tt]race:"))
		}, short)

		It("reports a guest that runs another kernel", Label("wrong-state"), func(ctx SpecContext) {
			const other = "0123456789abcdef0123456789abcdef01234567"
			boot := Boot(ctx, k.Get(ctx), Cell("tiny", k.Arch), func(r *harness.Request) { r.Kernel.BuildID = other })
			Expect(boot).To(ReachUserspace())
			Expect(boot).To(HaveOutcome(scenarios.WrongState))
			Expect(boot).NotTo(BeAsExpected())
			Expect(boot.Why).To(And(ContainSubstring("build ID"), ContainSubstring(other)))
		}, short)
	})

	// 8324a54f604d (7.0-rc5, 6.19.10) made the 8250 driver swallow the BREAK
	// of sysrq; Debian has kernels with it in its backports.
	It("is asked by keyboard where the kernel swallows BREAK", Label(string(arch.X86_64), "core"), func(ctx SpecContext) {
		// The archive keeps the kernels of superseded packages, not all of
		// what they depend on; this boot needs no modules.
		const release = "6.19.10+deb13-cloud-amd64"
		file, err := candidate.ArchiveFile(ctx, "linux-binary-"+release+"@trixie-backports", "boot/vmlinuz-"+release,
			candidate.Options{Arch: arch.X86_64})
		var gone *candidate.NotFoundError
		if errors.As(err, &gone) {
			Skip("the archive no longer has it: " + gone.Error())
		}
		Expect(err).NotTo(HaveOccurred())
		c, err := Find(ctx, file)
		Expect(err).NotTo(HaveOccurred())
		sc := Pick(Cells("tiny", arch.X86_64), scenarios.None, scenarios.Tiny)
		sc.Cmdline = []string{"unwedge.fault=pipe"}
		boot := Boot(ctx, c, sc)
		Expect(boot).To(HaveHung())
		attempts := last(boot).Attempts
		Expect(attempts[0].Route).To(Equal(result.Break), "the route that disturbs least comes first")
		Expect(attempts[0].Yield).To(Equal(result.NoAnswer), "this kernel hears BREAK: another one is needed")
		Expect(slices.ContainsFunc(attempts, func(a result.Attempt) bool { return a.Route == result.Break && a.Yield == result.Captured })).To(BeFalse())
		got, ok := result.Dumped(attempts, 't')
		Expect(ok).To(BeTrue(), "no task dump in %+v", attempts)
		Expect(got.Route).To(Equal(result.Keyboard))
		Expect(boot.Diagnosis.Syscall).To(Equal("read"))
		Expect(boot.Diagnosis.Task).To(HaveField("PID", 1))
	}, short)
})

func last(r *result.Result) result.Stall {
	GinkgoHelper()
	Expect(r.Stalls).NotTo(BeEmpty())
	return r.Stalls[len(r.Stalls)-1]
}
