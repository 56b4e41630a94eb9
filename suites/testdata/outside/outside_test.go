// Package outside is how another module tests a kernel: it imports what unwedge
// promises to outsiders and nothing else.
package outside

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/result"
	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

func TestOutside(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "a module that uses unwedge")
}

var _ = Describe("a kernel", func() {
	It("reaches user space", func(ctx SpecContext) {
		kernel := Kernels()[0]
		boot := Boot(ctx, kernel.Get(ctx), Cell("tiny", kernel.Arch))
		Expect(boot).To(ReachUserspace())
		Expect(boot).To(BeAsExpected())
	}, SpecTimeout(time.Hour)) // it ends a hang: a busy machine takes minutes

	It("leaves a Result that another program reads", func(ctx SpecContext) {
		kernel := Kernels()[0]
		boot := Boot(ctx, kernel.Get(ctx), Cell("tiny", kernel.Arch, "panic=0", "rdinit=/nowhere", "root=/dev/nothing"))
		Expect(boot).To(HavePanicked())

		read, err := result.Read(filepath.Join(boot.Dir, "result.json"))
		Expect(err).NotTo(HaveOccurred())
		Expect(read).To(HaveCause(result.CauseRootDevice, result.CauseRootMount, result.CauseNoInit))
	}, SpecTimeout(time.Hour))

	It("that hung elsewhere is explained by its log", func() {
		log, err := os.ReadFile("hang.log")
		Expect(err).NotTo(HaveOccurred())
		diagnosis := harness.Explain(log)
		Expect(diagnosis).To(HaveCause(result.CauseEntropy))
		Expect(diagnosis).To(BeBlockedIn("wait_for_random_bytes"))
		Expect(diagnosis.Task.Comm).To(Equal("systemd"))
	})
})
