package bisect

import (
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/suites/bisect/fixture"
)

// racy is the history whose guilty commit hangs in some boots only.
func racy(ctx SpecContext) (h fixture.History, fragment string) {
	GinkgoHelper()
	from, fragment := source(ctx)
	h, err := fixture.MakeIntermittent(ctx, filepath.Join(filepath.Dir(from.Repo), "intermittent"), from)
	Expect(err).NotTo(HaveOccurred())
	return h, fragment
}

// bootsOnce holds a report to it that no boot counts twice, and that none was
// lost of those that the journal has.
func bootsOnce(r *bisect.Report) {
	GinkgoHelper()
	var dirs []string
	for _, s := range r.Steps {
		if s.Boot != nil {
			Expect(dirs).NotTo(ContainElement(s.Boot.Dir), "a boot counts twice")
			dirs = append(dirs, s.Boot.Dir)
		}
	}
	Expect(dirs).To(HaveLen(r.Boots + r.Reused))
	for _, t := range r.Tallies {
		Expect(t.Skip).To(BeZero(), "boots of %s that said nothing", t.Candidate)
	}
}

// oneFailure checks that every boot that hung did so in the same way, and that it
// was seen where: PID 1 sleeps in the initcall that the guilty commit brought.
func oneFailure(r *bisect.Report) {
	GinkgoHelper()
	for _, s := range r.Steps {
		if s.Boot == nil || s.Boot.Expected {
			continue
		}
		Expect(s.Boot.Signature).To(Equal(r.Failure.Signature), s.Boot.Dir)
		Expect(s.Boot.Title).To(Equal(r.Failure.Title), s.Boot.Dir)
		res, err := result.Read(filepath.Join(s.Boot.Dir, rundir.Result))
		Expect(err).NotTo(HaveOccurred())
		Expect(res.Diagnosis).To(HaveValue(And(HaveField("Cause", result.CauseInitcall), HaveField("Title", ContainSubstring("notes_wait")))), s.Boot.Dir)
	}
}

var _ = Describe("a hang that shows in some boots only", Label("build", "intermittent"), func() {
	args := func(h fixture.History, fragment string, a arch.Arch, dir string, more ...string) []string {
		if a == arch.AArch64 { // where nothing but the log tells which initcall sleeps: no sysrq key so early, no BTF
			more = append(more, "--append", "initcall_debug ignore_loglevel")
		}
		return append([]string{
			"--tree", h.Repo, "--good", h.Good, "--bad", h.Bad, "--arch", string(a),
			"--config", "tinyconfig", "--fragment", fragment, "--fresh", "--out", dir,
		}, more...)
	}

	for _, a := range arch.All() {
		It("is bisected on "+string(a)+", though it is killed on the way", func(ctx SpecContext) {
			h, fragment := racy(ctx)
			dir := out()
			// At 0.999 one run of this spec in 1000 is wrong by chance.
			asked := args(h, fragment, a, dir, "--intermittent", "--confidence", "0.999")
			killed(ctx, 8, asked...)
			r := found(ctx, asked...)
			guilty(h, r)
			bootsOnce(r)
			oneFailure(r)
			Expect(r.Reused).To(BeNumerically(">=", 8), "boots from before it was killed")
			Expect(r.Confidence).To(BeNumerically(">=", 0.999))
			Expect(r.Rate).To(And(BeNumerically(">", 0.15), BeNumerically("<", 0.85)))
			_, contradicted := r.Contradicted()
			Expect(contradicted).To(BeTrue())
			last := r.Steps[len(r.Steps)-1]
			Expect(last.Likely[0].Candidate.ID).To(Equal(h.Guilty))
			Expect(last.Likely[0].Probability).To(BeNumerically(">=", 0.999))
			By("asking once more, which boots nothing")
			again := found(ctx, asked...)
			Expect(again.First.ID).To(Equal(h.Guilty))
			Expect(again.Boots).To(BeZero())
			Expect(again.Steps).To(HaveLen(len(r.Steps)))
		}, long, Label(string(a)))

		It("is not mistaken for a steady one on "+string(a), func(ctx SpecContext) {
			h, fragment := racy(ctx)
			dir := out()
			asked := args(h, fragment, a, dir)
			s := start("", append([]string{"bisect", "--json"}, asked...)...)
			Eventually(ctx, s).Should(gexec.Exit())
			if s.ExitCode() == 2 { // as it may be in one run of this spec in five: the bad end booted each time
				Expect(s.Err).To(gbytes.Say(`booted as expected, 3 times of 3: .*or use --intermittent if it fails in some boots only\n`))
				By("doing as it says")
				r := found(ctx, append(asked, "--intermittent", "--confidence", "0.999")...)
				bootsOnce(r)
				oneFailure(r)
				guilty(h, r)
				Expect(r.Reused).To(BeNumerically(">=", 3), "boots from before")
				return
			}
			Expect(s).To(gexec.Exit(0))
			r := told(s)
			bootsOnce(r)
			oneFailure(r)
			if _, seen := r.Contradicted(); seen {
				Expect(r.Rate).To(BeNumerically("<", 0.99))
				Expect(r.Notes).To(ContainElement(ContainSubstring("is intermittent")))
			}
			if r.First.ID != h.Guilty {
				Expect(r.Confidence).To(BeNumerically("<", 0.99), "a wrong answer that is called sure")
			}
			By("asking to confirm")
			sure := found(ctx, append(asked, "--confirm")...)
			bootsOnce(sure)
			Expect(sure.Confidence).To(BeNumerically(">=", 0.99))
			if _, seen := sure.Contradicted(); seen {
				Expect(sure.First.ID).To(Equal(h.Guilty))
			}
		}, long, Label(string(a)))
	}
})
