package bisect

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/unwedge/unwedge/images/kbuild"
	"github.com/unwedge/unwedge/suites/bisect/fixture"
)

// built is what `unwedge build --json` says, as far as these specs ask.
type built struct {
	Image   string
	BuildID string `json:"build_id"`
	Twice   *struct {
		Same        bool
		Differences []kbuild.Difference
	}
}

// need skips a spec on a host that lacks a program.
func need(programs ...string) {
	GinkgoHelper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			Skip(err.Error())
		}
	}
}

// checkout makes a work tree of a commit below dir. ccache goes by a source's way
// from the output, so that all are called the same.
func checkout(h fixture.History, dir, commit string) string {
	GinkgoHelper()
	tree := filepath.Join(dir, "a")
	git(h.Repo, "worktree", "add", "--quiet", "--detach", tree, commit)
	DeferCleanup(func() { git(h.Repo, "worktree", "remove", "--force", tree) })
	return tree
}

// build runs unwedge build and reads what it says; steps is what make was called for.
func build(ctx SpecContext, args ...string) (b built, steps string) {
	GinkgoHelper()
	s := start("", append([]string{"build", "--json"}, args...)...)
	Eventually(ctx, s).Should(gexec.Exit())
	if code := s.ExitCode(); code != 0 && code != 1 { // 1: two builds differ
		Fail(string(s.Err.Contents()))
	}
	Expect(json.Unmarshal(s.Out.Contents(), &b)).To(Succeed())
	return b, string(s.Err.Contents())
}

// boots boots a build and says how unwedge ended, and what it said.
func boots(ctx SpecContext, args ...string) (code int, said string) {
	GinkgoHelper()
	s := start("", append([]string{"boot", "--out", filepath.Join(GinkgoT().TempDir(), "run")}, args...)...)
	Eventually(ctx, s).Should(gexec.Exit())
	return s.ExitCode(), string(s.Out.Contents())
}

// ccacheLog has ccache note what it does from here on; rate is the share of
// compilations that were hits.
func ccacheLog() (rate func() float64) {
	GinkgoHelper()
	log := filepath.Join(GinkgoT().TempDir(), "ccache.log")
	GinkgoT().Setenv("CCACHE_STATSLOG", log)
	return func() float64 {
		GinkgoHelper()
		b, err := os.ReadFile(log)
		Expect(err).NotTo(HaveOccurred())
		hits := strings.Count(string(b), "direct_cache_hit\n") + strings.Count(string(b), "preprocessed_cache_hit\n")
		all := hits + strings.Count(string(b), "\ncache_miss\n")
		GinkgoWriter.Printf("ccache: %d of %d compilations are hits\n", hits, all)
		Expect(all).To(BeNumerically(">", 100))
		return float64(hits) / float64(all)
	}
}

func content(path string) string {
	GinkgoHelper()
	b, err := os.ReadFile(path)
	Expect(err).NotTo(HaveOccurred())
	return string(b)
}

// named checks that the fixture's hang is told with its function.
func named(ctx SpecContext, out string) {
	GinkgoHelper()
	code, said := boots(ctx, out)
	Expect(code).To(Equal(1), said)
	Expect(said).To(ContainSubstring("notes_wait"))
}

// In each spec the guilty commit follows on its parent: one file is changed.
var _ = Describe("kernel builds", Label("kbuild"), func() {
	small := func(fragment string, more ...string) []string {
		return append([]string{"--config", "tinyconfig", "--fragment", fragment}, more...)
	}

	It("are reproducible, in another directory and from ccache", func(ctx SpecContext) {
		need("gcc", "ccache")
		h, fragment := source(ctx)
		dir := GinkgoT().TempDir()
		tree := checkout(h, dir, h.Parent)
		first, _ := build(ctx, small(fragment, "--arch", "x86_64", "--twice", "-o", filepath.Join(dir, "first"), tree)...)
		Expect(first.Twice).To(HaveValue(HaveField("Same", true)), "%+v", first.Twice)

		By("another source and output directory")
		other := filepath.Join(GinkgoT().TempDir(), "deeper")
		Expect(os.Mkdir(other, 0o755)).To(Succeed())
		tree, out := checkout(h, other, h.Parent), filepath.Join(other, "second")
		rate := ccacheLog()
		second, steps := build(ctx, small(fragment, "--arch", "x86_64", "-o", out, tree)...)
		Expect(steps).To(ContainSubstring("configure kernel"))
		Expect(second.BuildID).To(Equal(first.BuildID))
		Expect(content(second.Image) == content(first.Image)).To(BeTrue(), "the boot image")
		Expect(rate()).To(BeNumerically(">=", 0.9))

		By("another file is changed")
		git(tree, "checkout", "--quiet", h.Guilty)
		third, steps := build(ctx, small(fragment, "--arch", "x86_64", "-o", out, tree)...)
		Expect(steps).NotTo(ContainSubstring("configure kernel"), "nothing that decides the configuration has changed")
		Expect(third.BuildID).NotTo(Equal(first.BuildID))
		rate = ccacheLog()
		fresh, _ := build(ctx, small(fragment, "--arch", "x86_64", "-o", filepath.Join(other, "third"), tree)...)
		Expect(fresh.BuildID).To(Equal(third.BuildID), "built on and built from nothing")
		Expect(rate()).To(BeNumerically(">=", 0.9))
	}, long, Label("x86_64"))

	It("are reproducible with LLVM, boot, and have types", func(ctx SpecContext) {
		need("clang", "ld.lld", "llvm-ar", "pahole")
		h, fragment := source(ctx)
		dir := GinkgoT().TempDir()
		tree, out := checkout(h, dir, h.Parent), filepath.Join(dir, "llvm")
		args := small(fragment, "--arch", "aarch64", "--llvm", "--fragment", "btf", "-o", out, tree)
		b, _ := build(ctx, append(args, "--twice")...)
		Expect(b.Twice).To(HaveValue(HaveField("Same", true)), "%+v", b.Twice)
		code, said := boots(ctx, out)
		Expect(code).To(BeZero(), said)
		git(tree, "checkout", "--quiet", h.Guilty)
		build(ctx, args...)
		named(ctx, out)
	}, long, Label("aarch64"))
})
