package bisect

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/suites/bisect/fixture"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

// source is the history, made once and kept beside the cache.
func source(ctx SpecContext) (h fixture.History, fragment string) {
	GinkgoHelper()
	store, err := cache.Default()
	Expect(err).NotTo(HaveOccurred())
	tarball, err := fixture.Fetch(ctx, candidate.Options{Cache: store})
	Expect(err).NotTo(HaveOccurred())
	dir := filepath.Join(store.Dir(), "bisect-fixture")
	h, err = fixture.Make(ctx, dir, tarball)
	Expect(err).NotTo(HaveOccurred())
	Expect(len(h.Commits)).To(BeNumerically(">=", 64))
	fragment, err = fixture.ConfigFile(dir)
	Expect(err).NotTo(HaveOccurred())
	return h, fragment
}

// git is git's own word on the repository.
func git(repo string, args ...string) string {
	GinkgoHelper()
	out, err := exec.Command("git", append([]string{"-C", repo}, args...)...).Output()
	Expect(err).NotTo(HaveOccurred())
	return strings.TrimSpace(string(out))
}

// out is a directory of the spec's own for a bisection.
func out() string {
	GinkgoHelper()
	dir, err := OutDir()
	Expect(err).NotTo(HaveOccurred())
	return filepath.Join(dir, "bisection")
}

// guilty checks the answer: the commit, its failure beside its parent's good
// boot, and that git concludes the same from the log.
func guilty(h fixture.History, r *bisect.Report) {
	GinkgoHelper()
	Expect(r.First).NotTo(BeNil())
	Expect(r.First.ID).To(Equal(h.Guilty))
	Expect(r.IfSteady).To(BeNumerically(">=", 0.99))
	Expect(r.BadBoot).To(HaveValue(And(HaveField("Expected", false), HaveField("Signature", r.Failure.Signature))))
	Expect(r.GoodBoot).To(HaveValue(HaveField("Expected", true)))
	log := filepath.Join(r.Dir, "bisect.log")
	clone := GinkgoT().TempDir()
	git(h.Repo, "worktree", "add", "--quiet", "--detach", "--no-checkout", filepath.Join(clone, "t"), h.Bad)
	defer git(h.Repo, "worktree", "remove", "--force", filepath.Join(clone, "t"))
	git(filepath.Join(clone, "t"), "bisect", "replay", log)
	Expect(git(filepath.Join(clone, "t"), "bisect", "log")).To(ContainSubstring("# first bad commit: [" + h.Guilty + "]"))
}

var _ = Describe("commits of a kernel's source", Label("build"), func() {
	args := func(h fixture.History, fragment string, a arch.Arch, dir string, more ...string) []string {
		return append([]string{
			"--tree", h.Repo, "--good", h.Good, "--bad", h.Bad, "--arch", string(a),
			"--config", "tinyconfig", "--fragment", fragment, "--fresh", "--out", dir,
		}, more...)
	}

	It("finds the one that hangs on x86_64, although it is killed on the way", func(ctx SpecContext) {
		h, fragment := source(ctx)
		before := []string{git(h.Repo, "rev-parse", "HEAD"), git(h.Repo, "status", "--porcelain"), git(h.Repo, "worktree", "list")}
		dir := out()
		killed(ctx, 4, args(h, fragment, arch.X86_64, dir)...)
		r := found(ctx, args(h, fragment, arch.X86_64, dir)...)
		guilty(h, r)
		nothingTwice(dir)
		Expect([]string{git(h.Repo, "rev-parse", "HEAD"), git(h.Repo, "status", "--porcelain"), git(h.Repo, "worktree", "list")}).To(Equal(before), "the user's checkout")
		again := found(ctx, args(h, fragment, arch.X86_64, dir)...)
		Expect(again.First.ID).To(Equal(h.Guilty))
		Expect(again.Boots).To(BeZero())
	}, long, Label("x86_64"))

	It("finds the one that hangs on aarch64", func(ctx SpecContext) {
		h, fragment := source(ctx)
		dir := out()
		guilty(h, found(ctx, args(h, fragment, arch.AArch64, dir)...))
		nothingTwice(dir)
	}, long, Label("aarch64"))

	It("is one step for git bisect run", func(ctx SpecContext) {
		h, fragment := source(ctx)
		tree := filepath.Join(GinkgoT().TempDir(), "tree")
		git(h.Repo, "worktree", "add", "--quiet", "--detach", tree, h.Bad)
		DeferCleanup(func() { git(h.Repo, "worktree", "remove", "--force", tree) })
		GinkgoT().Setenv("UNWEDGE_STATE", filepath.Join(GinkgoT().TempDir(), "state"))
		step := func(commit string, like ...string) int {
			git(tree, "checkout", "--quiet", commit)
			s := start(tree, append([]string{"bisect", "run", "--arch", "x86_64", "--config", "tinyconfig", "--fragment", fragment}, like...)...)
			Eventually(ctx, s).Should(gexec.Exit())
			return s.ExitCode()
		}
		Expect(step(h.Parent)).To(Equal(0), "the parent of the guilty one")
		Expect(step(h.Guilty)).To(Equal(1), "the guilty one")
		Expect(step(h.Broken[0])).To(Equal(125), "one that does not build")
		bad, err := filepath.Glob(filepath.Join(os.Getenv("UNWEDGE_STATE"), "runs", "*", "result.json"))
		Expect(err).NotTo(HaveOccurred())
		Expect(bad).To(HaveLen(2))
		Expect(step(h.Other[0], "--like", bad[1])).To(Equal(125), "one that fails in another way")
		Expect(step(h.Other[0])).To(Equal(1), "one that fails in another way, when every failure is bad")
	}, long, Label("x86_64"))
})
