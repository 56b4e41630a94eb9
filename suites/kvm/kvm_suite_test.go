// Package kvm proves unwedge under a real KVM, on any machine: in a host that QEMU
// emulates with its virtualization, see package nest. Each spec runs unwedge in there
// and judges the Result that it left.
package kvm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/suites/kvm/nest"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

const (
	// start bounds making the host, whose packages may have to be fetched first; each
	// one spec in it. They are no assertions on speed.
	start = NodeTimeout(20 * time.Minute)
	each  = SpecTimeout(20 * time.Minute)
)

func TestKVM(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "kvm")
}

var _ = AfterSuite(gexec.CleanupBuildArtifacts)

var _ = Describe("unwedge on a host with KVM", func() {
	for _, a := range arch.All() {
		// All in one host: to start it takes longer than most specs.
		Context(string(a), Ordered, ContinueOnFailure, Label(string(a), "nested"), func() {
			h := &host{arch: a}
			BeforeAll(func(ctx SpecContext) { h.start(ctx) }, start)
			boots(h)
			program(h)
			long(h)
		})
	}
})

// host is a host with KVM, and the kernel that is booted in it.
type host struct {
	arch arch.Arch
	*nest.Host
	kernel *candidate.Candidate
	copied map[string]string // kernels in the host, by their path here
}

func (h *host) start(ctx SpecContext) {
	GinkgoHelper()
	if os.Geteuid() != 0 {
		Skip("to make a root with mmdebstrap takes root")
	}
	planner, err := plan.New("suite")
	Expect(err).NotTo(HaveOccurred())
	h.kernel, err = Find(ctx, plan.DefaultKernel(h.arch))
	Expect(err).NotTo(HaveOccurred())
	program, err := gexec.BuildWithEnvironment("github.com/unwedge/unwedge", []string{"CGO_ENABLED=0", "GOARCH=" + h.arch.Facts().GOARCH}, "-trimpath")
	Expect(err).NotTo(HaveOccurred())
	dir, err := os.MkdirTemp("", "unwedge-nest-")
	Expect(err).NotTo(HaveOccurred())
	h.Host, err = nest.Start(ctx, nest.Options{Arch: h.arch, Store: planner.Store, Unwedge: program, Dir: dir})
	Expect(err).NotTo(HaveOccurred())
	h.copied = map[string]string{}
	DeferCleanup(func() error {
		if err := h.Stop(); err != nil || CurrentSpecReport().Failed() {
			return err
		}
		return os.RemoveAll(dir)
	})
}

// boot runs `unwedge boot` in the host on the kernel c, and returns its Result.
func (h *host) boot(ctx SpecContext, c *candidate.Candidate, args ...string) *result.Result {
	GinkgoHelper()
	ran := h.run(ctx, "unwedge boot --quiet --out run "+h.quote(c, args...))
	return h.result(ran, "run")
}

// result reads a Result that a script left. Whatever it is, QEMU itself must have said
// that KVM ran the guest.
func (h *host) result(ran nest.Ran, dir string) *result.Result {
	GinkgoHelper()
	r, err := result.Read(filepath.Join(ran.Dir, dir, rundir.Result))
	Expect(err).NotTo(HaveOccurred(), "exit status %d, %s", ran.Exit, read(ran, "stderr"))
	Expect(r.Host.Accel).To(Equal(result.KVM), r.Host.AccelWhy)
	Expect(r.Host.QueryKVM).To(HaveValue(Equal(result.QueryKVM{Enabled: true, Present: true})))
	cause := ""
	if r.Diagnosis != nil {
		cause = ", " + string(r.Diagnosis.Cause) + ", " + r.Diagnosis.Title
	}
	AddReportEntry("boot", fmt.Sprintf("%s: %s%s; verdict after %.1f s, whole script %.1f s", r.Scenario.Name, r.Outcome, cause,
		r.Times.Verdict.Seconds(), ran.Took.Seconds()), ReportEntryVisibilityAlways)
	return r
}

// run has the host run a script.
func (h *host) run(ctx context.Context, script string) nest.Ran {
	GinkgoHelper()
	ran, err := h.Run(ctx, script)
	Expect(err).NotTo(HaveOccurred())
	GinkgoWriter.Printf("$ %s\nexit status %d after %.1f s, in %s\n%s%s", script, ran.Exit, ran.Took.Seconds(), ran.Dir, read(ran, "stdout"), read(ran, "stderr"))
	return ran
}

// quote writes arguments for bash, and after them the kernel and its modules.
func (h *host) quote(c *candidate.Candidate, args ...string) string {
	GinkgoHelper()
	if c.ModulesDir != "" {
		args = append(args, "--modules-dir", c.ModulesDir)
	}
	var b strings.Builder
	for _, a := range append(args, h.put(c)) {
		b.WriteString(" '" + strings.ReplaceAll(a, "'", `'\''`) + "'")
	}
	return b.String()
}

// put copies a kernel into the host, once.
func (h *host) put(c *candidate.Candidate) string {
	GinkgoHelper()
	if at, ok := h.copied[c.Kernel.Path]; ok {
		return at
	}
	at, err := h.Put(c.Kernel.Path, fmt.Sprintf("kernel-%d", len(h.copied)))
	Expect(err).NotTo(HaveOccurred())
	h.copied[c.Kernel.Path] = at
	return at
}

func read(ran nest.Ran, name string) string {
	GinkgoHelper()
	b, err := os.ReadFile(filepath.Join(ran.Dir, name))
	Expect(err).NotTo(HaveOccurred())
	return string(b)
}

// prepare has the cache hold the images of a cell, which the host then reads there: to
// make them in it would take hours.
func (h *host) prepare(ctx context.Context, sc scenarios.Scenario) {
	GinkgoHelper()
	p, err := plan.New("suite")
	Expect(err).NotTo(HaveOccurred())
	p.Force = result.TCG
	_, err = p.Request(ctx, sc, h.kernel)
	Expect(err).NotTo(HaveOccurred())
}

// keyboard says that sysrq reaches the guest by keyboard too.
func (h *host) keyboard() bool { return h.arch.Facts().Machines[0].HasKeyboard }
