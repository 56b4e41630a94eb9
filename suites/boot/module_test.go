package boot

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/extmod"
	"github.com/unwedge/unwedge/scenarios"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

// refusals are what kernels answer to a module that does not fit
// (kernel/module/main.c, version.c), told here once more: what was predicted must
// not be the only witness.
var refusals = map[extmod.Mismatch]struct{ errno, line string }{
	extmod.WrongVermagic: {"ENOEXEC", "unwedge_probe: version magic '"},
	extmod.WrongCRC:      {"EINVAL", "unwedge_probe: disagrees about version of symbol "},
	extmod.UnknownSymbol: {"ENOENT", "unwedge_probe: Unknown symbol X"},
}

var _ = Describe("an external module", Label("module"), func() {
	EachKernel(func(k Kernel) {
		It("loads, and copies that do not fit are refused as predicted", Label("tiny"), func(ctx SpecContext) {
			c := k.Get(ctx)
			NeedModules(ctx, c)
			boot := Boot(ctx, c, Cell("module", k.Arch))
			Expect(boot).To(BeAsExpected())
			Expect(boot).To(ReachUserspace())
			tried := byLabel(boot)
			for how, want := range refusals {
				m, ok := tried[string(how)]
				if !ok && how == extmod.WrongCRC && c.Kernel.Config.Get("CONFIG_MODVERSIONS") == "n" {
					continue // it compares none
				}
				Expect(ok).To(BeTrue(), "%s was not tried", how)
				Expect(m.Got).NotTo(BeNil())
				Expect(m.Got.Errno).To(Equal(want.errno))
				Expect(m.Got.Log).To(ContainElement(HavePrefix(want.line)))
				Expect(m.Predicted.Errno).To(Equal(want.errno))
			}
			asBuilt := tried["as-built"]
			Expect(asBuilt.Got).NotTo(BeNil())
			Expect(asBuilt.Got.Errno).To(BeEmpty())
			Expect(asBuilt.Got.Param).NotTo(BeEmpty())
			Expect(asBuilt.Got.Log).To(ContainElement(HavePrefix("unwedge_probe: " + asBuilt.Got.Param)))
		}, SpecTimeout(prepare))

		It("is refused as predicted by a kernel that insists on signatures", Label("tiny", "wrong-state"), func(ctx SpecContext) {
			c := k.Get(ctx)
			NeedModules(ctx, c)
			if c.Kernel.Config.Get("CONFIG_MODULE_SIG") == "n" {
				Skip("the kernel knows no signatures")
			}
			boot := Boot(ctx, c, Cell("module", k.Arch, "module.sig_enforce=1"))
			Expect(boot).To(HaveOutcome(scenarios.WrongState))
			Expect(boot).NotTo(BeAsExpected())
			Expect(boot.Why).To(ContainSubstring("refused-signature, as predicted"))
			asBuilt := byLabel(boot)["as-built"]
			Expect(asBuilt.Predicted.Verdict).To(Equal(extmod.RefusedSignature))
			Expect(asBuilt.Got).NotTo(BeNil())
			Expect(asBuilt.Got.Errno).To(Equal("EKEYREJECTED"))
		}, SpecTimeout(prepare))
	})
})

func byLabel(boot *result.Result) map[string]result.Module {
	m := map[string]result.Module{}
	for _, t := range boot.Modules {
		m[t.Label] = t
	}
	return m
}
