package unwedgetest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Boot boots one kernel in one cell and returns the Result. Only a boot that could
// not be made fails the spec; how the kernel fared is for the matchers. edit may
// change the request before the boot. The boot ends, and QEMU with it, when ctx does.
func Boot(ctx ginkgo.SpecContext, c *candidate.Candidate, sc scenarios.Scenario, edit ...func(*harness.Request)) *result.Result {
	ginkgo.GinkgoHelper()
	p, err := planner()
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	return bootBy(ctx, p, c, sc, edit...)
}

// Probe is Boot, with experiments on the guest if it hangs.
func Probe(ctx ginkgo.SpecContext, c *candidate.Candidate, sc scenarios.Scenario, probes ...result.ProbeName) *result.Result {
	ginkgo.GinkgoHelper()
	p, err := newPlanner()
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	p.Probes = probes
	return bootBy(ctx, p, c, sc)
}

func bootBy(ctx ginkgo.SpecContext, p *plan.Planner, c *candidate.Candidate, sc scenarios.Scenario, edit ...func(*harness.Request)) *result.Result {
	ginkgo.GinkgoHelper()
	req, err := p.Request(withProgress(ctx), sc, c)
	gomega.Expect(err).NotTo(gomega.HaveOccurred(), "prepare the boot of %s", sc.Name)
	req.Dir, err = OutDir()
	gomega.Expect(err).NotTo(gomega.HaveOccurred())
	if len(sc.Cmdline) > 0 {
		req.Calibration = nil // it may be meant to fail: it says nothing about good boots
	}
	follow := &follower{name: sc.Name}
	req.Observer = follow
	ginkgo.DeferCleanup(ginkgo.AttachProgressReporter(follow.text))
	for _, f := range edit {
		f(&req)
	}
	res, err := harness.Boot(ctx, req)
	gomega.Expect(err).NotTo(gomega.HaveOccurred(), "boot %s (artifacts in %s)\n%s", sc.Name, req.Dir, follow.text())
	entry := artifacts(res)
	entry.History = remember(ctx, res)
	ginkgo.AddReportEntry("boot", entry, ginkgo.ReportEntryVisibilityFailureOrVerbose)
	return res
}

// Artifacts is the report entry of one boot.
type Artifacts struct {
	Scenario string            `json:"scenario"`
	Release  string            `json:"release"`
	Outcome  scenarios.Outcome `json:"outcome"`
	Cause    string            `json:"cause,omitempty"`
	// Title and Signature are the failure's, History what earlier runs showed of it.
	Title     string  `json:"title,omitempty"`
	Signature string  `json:"signature,omitempty"`
	History   string  `json:"history,omitempty"`
	Seconds   float64 `json:"seconds"` // to the verdict
	Dir       string  `json:"dir"`
	// Files are paths, by what they hold.
	Files map[string]string `json:"files"`
}

func artifacts(r *result.Result) Artifacts {
	a := Artifacts{
		Scenario: r.Scenario.Name, Release: r.Kernel.Release, Outcome: r.Outcome,
		Seconds: r.Times.Verdict.Seconds(), Dir: r.Dir, Files: map[string]string{},
	}
	if r.Diagnosis != nil {
		a.Cause, a.Title, a.Signature = string(r.Diagnosis.Cause), r.Diagnosis.Title, r.Diagnosis.Signature
	}
	for what, name := range r.Files {
		a.Files[what] = filepath.Join(r.Dir, name)
	}
	return a
}

// String is what Ginkgo shows.
func (a Artifacts) String() string {
	s := fmt.Sprintf("%s, %s: %s after %.1f s", a.Scenario, a.Release, a.Outcome, a.Seconds)
	if a.Cause != "" {
		s += ", " + a.Cause
	}
	for _, more := range []string{a.Title, a.History} {
		if more != "" {
			s += "\n" + report.Safe(more, 200)
		}
	}
	var names []string
	for _, path := range a.Files {
		names = append(names, filepath.Base(path))
	}
	slices.Sort(names)
	return s + "\n" + a.Dir + ": " + strings.Join(names, " ")
}

// Cells returns the cells of a built-in scenario for one architecture. It
// panics on a name that is not in the catalogue, which is a mistake in the
// suite.
func Cells(name string, a arch.Arch) []scenarios.Scenario {
	t, err := scenarios.Builtin().Find(name)
	if err != nil {
		panic(err)
	}
	t.Arch = []arch.Arch{a}
	return t.Cells()
}

// Cell is the first of Cells, with words added to the kernel command line.
func Cell(name string, a arch.Arch, cmdline ...string) scenarios.Scenario {
	sc := Cells(name, a)[0]
	sc.Cmdline = slices.Concat(sc.Cmdline, cmdline)
	return sc
}

// Pick returns the cell with that entropy source and initramfs. It panics where
// the scenario has none, which is a mistake in the suite.
func Pick(cells []scenarios.Scenario, e scenarios.Entropy, i scenarios.Initramfs) scenarios.Scenario {
	at := slices.IndexFunc(cells, func(sc scenarios.Scenario) bool { return sc.Entropy == e && sc.Initramfs == i })
	if at < 0 {
		panic(fmt.Sprintf("no cell with entropy %s and initramfs %s", e, i))
	}
	return cells[at]
}

// CellLabels are a cell's labels: the entropy source as virtio-rng, no-rng or
// host-rng, the initramfs as tiny, dracut or no-initramfs, and fips. The
// architecture's label is on EachKernel's container.
func CellLabels(sc scenarios.Scenario) ginkgo.Labels {
	l := ginkgo.Labels{}
	switch {
	case sc.Entropy.Device():
		l = append(l, "virtio-rng")
	case sc.Entropy.Seeded():
		l = append(l, "host-rng")
	default:
		l = append(l, "no-rng")
	}
	switch {
	case sc.Initramfs.Systemd():
		l = append(l, "dracut", "slow")
	case sc.Initramfs.Present():
		l = append(l, "tiny")
	default:
		l = append(l, "no-initramfs")
	}
	if sc.Initramfs.FIPS() {
		l = append(l, "fips")
	}
	return l
}
