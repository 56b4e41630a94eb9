package bisect

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/unwedge/unwedge/harness/bisect"
)

// program is the unwedge that these specs run, built from this tree.
var program = sync.OnceValues(func() (string, error) { return gexec.Build("github.com/unwedge/unwedge") })

var _ = AfterSuite(gexec.CleanupBuildArtifacts)

// start runs unwedge; it does not outlive the spec.
func start(dir string, args ...string) *gexec.Session {
	GinkgoHelper()
	return startWith(nil, dir, args...)
}

// startWith runs unwedge with more in its environment.
func startWith(env []string, dir string, args ...string) *gexec.Session {
	GinkgoHelper()
	path, err := program()
	Expect(err).NotTo(HaveOccurred())
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	s, err := gexec.Start(cmd, GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { s.Kill().Wait("1m") })
	return s
}

// found runs a bisection to its end and reads its report.
func found(ctx SpecContext, args ...string) *bisect.Report {
	GinkgoHelper()
	s := start("", append([]string{"bisect", "--json"}, args...)...)
	Eventually(ctx, s).Should(gexec.Exit(0))
	return told(s)
}

// told is the report of a bisection that found something.
func told(s *gexec.Session) *bisect.Report {
	GinkgoHelper()
	var r bisect.Report
	Expect(json.Unmarshal(s.Out.Contents(), &r)).To(Succeed())
	for _, step := range r.Steps {
		GinkgoWriter.Printf("%-5s %s: %s\n", step.Verdict, step.Candidate, step.Why)
	}
	GinkgoWriter.Printf("%d boots, %d known, %d made, %d not; ahead: %d ready, %s saved, %s for nothing; %s in all\n",
		r.Boots, r.Reused, r.Builds, r.Broken, r.Ready, r.Saved, r.Wasted, r.Wall)
	return &r
}

// killed begins a bisection and kills it when it has said a number of verdicts.
func killed(ctx SpecContext, verdicts int, args ...string) {
	GinkgoHelper()
	s := start("", append([]string{"bisect"}, args...)...)
	for range verdicts {
		Eventually(ctx, s.Err).Should(gbytes.Say(`(?m)^(good|bad|skip) `))
	}
	s.Kill()
	Eventually(ctx, s).Should(gexec.Exit())
}

// entry is a line of a journal, as far as these specs ask.
type entry struct {
	Candidate           string
	Kernel, Unbuildable json.RawMessage
	Image               string
	Boot                json.RawMessage
}

// nothingTwice holds a journal to it that nothing was built or booted twice.
func nothingTwice(dir string) {
	GinkgoHelper()
	f, err := os.Open(filepath.Join(dir, "journal.jsonl"))
	Expect(err).NotTo(HaveOccurred())
	defer f.Close() // only read
	built, booted := map[string]int{}, map[string]int{}
	for s := bufio.NewScanner(f); s.Scan(); {
		var e entry
		Expect(json.Unmarshal(s.Bytes(), &e)).To(Succeed())
		switch {
		case e.Kernel != nil, e.Unbuildable != nil:
			built[e.Candidate]++
		case e.Boot != nil:
			booted[e.Image]++
		}
	}
	Expect(built).NotTo(BeEmpty())
	Expect(booted).NotTo(BeEmpty())
	Expect(built).To(HaveEach(1), "how often each candidate was built")
	Expect(booted).To(HaveEach(1), "how often each image was booted")
}
