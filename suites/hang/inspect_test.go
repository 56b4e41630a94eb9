package hang

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/digitalocean/go-qemu/qmp"
	"github.com/unwedge/unwedge/harness/inspect"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/mutate"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

var _ = Describe("a kept guest that is inspected", Label("cli", "inspect", "tiny"), func() {
	EachKernel(func(k Kernel) {
		// The kernel sleeps long before there is a user space that could be asked.
		It("shows its tasks, stacks and log, and a dump of it shows the same", Label("core"), func(ctx SpecContext) {
			c := Mutant(ctx, k.Get(ctx), "misc_register", mutate.Sleep)
			dir, err := OutDir()
			Expect(err).NotTo(HaveOccurred())
			run := filepath.Join(dir, "run")
			stop := unwedge("stop", run)
			DeferCleanup(func() { _ = stop.Run() }) // where the spec has not come to its own
			Eventually(start(unwedge("boot", "--keep", "--quiet", "--memory", "256", "--out", run, c.Kernel.Path)), patience).Should(gexec.Exit(1))

			said := inspected(run)
			Expect(said).To(And(ContainSubstring(c.Kernel.Release), ContainSubstring("misc_register"), ContainSubstring("target remote "+run)))
			Expect(said).To(beTame())
			Expect(inspected(run, "--tasks")).To(MatchRegexp(`(?m)^ +1 +0 D .*misc_register`))
			Expect(inspected(run, "1")).To(ContainSubstring(" misc_register+"))
			Expect(inspected(run, "--dmesg")).To(ContainSubstring("Linux version " + c.Kernel.Release))

			By("having known for certain that nothing could wake it")
			r, err := result.Read(filepath.Join(run, rundir.Result))
			Expect(err).NotTo(HaveOccurred())
			stall := r.Stalls[len(r.Stalls)-1]
			Expect(stall.Proof).NotTo(BeEmpty(), "unproven: %s", stall.Unproven)
			Expect(stall.Confidence).To(Equal(result.Certain))
			Expect(inspected(run, "--timers")).To(ContainSubstring("delayed_work_timer_fn: queues vmstat_shepherd"))

			var live inspect.Report
			Expect(json.Unmarshal([]byte(inspected(run, "--json")), &live)).To(Succeed())
			Expect(live.Schema).To(Equal(inspect.Schema))
			Expect(live.Complete).To(BeTrue(), "problems: %q", live.Problems)
			Expect(live.Diagnosis.Kind).To(Equal(result.KindHang))
			Expect(live.Diagnosis.Task).To(HaveField("PID", 1))
			Expect(live.CPUs).NotTo(BeEmpty())

			dump := filepath.Join(dir, "memory.elf")
			dumpMemory(run, dump)
			var dead inspect.Report
			Expect(json.Unmarshal([]byte(inspected("--dump", dump, "--kernel", c.Kernel.Path, "--json")), &dead)).To(Succeed())
			Expect(dead.Tasks).To(Equal(live.Tasks))
			Expect(dead.Log).To(Equal(live.Log))
			Expect(dead.Diagnosis.Title).To(Equal(live.Diagnosis.Title))
			Expect(dead.CPUs).To(HaveLen(len(live.CPUs)))
			Expect(dead.CPUs[0].Stack).To(Equal(live.CPUs[0].Stack), "from the notes' registers, and from the monitor's")

			Eventually(start(unwedge("stop", run)), patience).Should(gexec.Exit(0))
			gone := start(unwedge("inspect", run))
			Eventually(gone, patience).Should(gexec.Exit(2))
			Expect(string(gone.Err.Contents())).To(ContainSubstring("no guest was kept"))
		}, short)
	})
})

// inspected is what `unwedge inspect` prints.
func inspected(args ...string) string {
	GinkgoHelper()
	s := start(unwedge(append([]string{"inspect", "--quiet"}, args...)...))
	Eventually(s, patience).Should(gexec.Exit(0))
	return string(s.Out.Contents())
}

// dumpMemory has a kept guest's QEMU write its memory to a file.
func dumpMemory(run, file string) {
	GinkgoHelper()
	res, err := result.Read(filepath.Join(run, rundir.Result))
	Expect(err).NotTo(HaveOccurred())
	Expect(res.Kept).NotTo(BeNil())
	// a person's own monitor, and not ours, gets at a kept guest
	conn, err := qmp.NewSocketMonitor("unix", res.Kept.QMP, time.Minute)
	Expect(err).NotTo(HaveOccurred())
	Expect(conn.Connect()).To(Succeed())
	defer func() { _ = conn.Disconnect() }()
	_, err = conn.Run(fmt.Appendf(nil, `{"execute": "dump-guest-memory", "arguments": {"paging": false, "protocol": "file:%s"}}`, file))
	Expect(err).NotTo(HaveOccurred())
}
