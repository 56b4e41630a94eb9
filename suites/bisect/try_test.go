package bisect

import (
	"encoding/json"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/suites/bisect/fixture"
)

// answer is what `unwedge try --json` says, as far as these specs ask.
type answer struct {
	Verdict, Why, Tested string
	Need                 int
	After                struct{ Failed, Boots int }
	Rejected             []struct{ File string }
}

// series are patches on the guilty commit, each in a mailbox of its own.
type series struct{ mends, says, breaks string }

func seriesOf(h fixture.History, dir string) (s series) {
	GinkgoHelper()
	tree := checkout(h, dir, h.Guilty)
	as := []string{"-c", "user.name=A. Developer", "-c", "user.email=developer@example.org"}
	file := filepath.Join(tree, git(tree, "show", "--format=", "--name-only", h.Guilty))
	mbox := func(name string) string {
		path := filepath.Join(dir, name+".mbox")
		Expect(os.WriteFile(path, []byte(git(tree, "format-patch", "--stdout", "-1")+"\n"), 0o644)).To(Succeed())
		git(tree, "reset", "--quiet", "--hard", h.Guilty)
		return path
	}
	add := func(name, text string) string {
		b, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.WriteFile(file, append(b, text...), 0o644)).To(Succeed())
		git(tree, append(as, "commit", "--quiet", "--all", "--no-gpg-sign", "-m", "kernel: a patch that "+name)...)
		return mbox(name)
	}
	git(tree, append(as, "revert", "--no-edit", "--no-gpg-sign", h.Guilty)...)
	return series{mbox("mends"), add("says", "/* Nothing but a comment. */\n"), add("breaks", "int undeclared(void) { return nowhere; }\n")}
}

var _ = Describe("a series of patches", Label("build", "try"), func() {
	DescribeTable("is tried on a tree that hangs", func(ctx SpecContext, a arch.Arch) {
		h, fragment := source(ctx)
		dir := GinkgoT().TempDir()
		s := seriesOf(h, dir)
		run, image := filepath.Join(dir, "run"), filepath.Join(dir, "image")
		guilty := filepath.Join(dir, "guilty")
		Expect(os.Mkdir(guilty, 0o755)).To(Succeed())
		build(ctx, "--arch", string(a), "--config", "tinyconfig", "--fragment", fragment, "-o", image, checkout(h, guilty, h.Guilty))
		boot := start("", "boot", "--out", run, image)
		Eventually(ctx, boot).Should(gexec.Exit(1))
		before := []string{git(h.Repo, "rev-parse", "HEAD"), git(h.Repo, "status", "--porcelain"), git(h.Repo, "worktree", "list")}

		try := func(code int, rev, mbox string, more ...string) (r answer) {
			GinkgoHelper()
			args := []string{"try", "--json", "--tree", h.Repo, "--rev", rev, "--patch", mbox, "--config", "tinyconfig", "--fragment", fragment, "--tested-by", "A. Tester <tester@example.org>", run}
			s := start("", append(args, more...)...)
			Eventually(ctx, s).Should(gexec.Exit(code))
			Expect(json.Unmarshal(s.Out.Contents(), &r)).To(Succeed())
			GinkgoWriter.Println(r.Verdict, r.Why)
			return r
		}
		By("it mends the failure")
		r := try(0, h.Guilty, s.mends)
		Expect(r.Verdict).To(Equal("fixed"), r.Why)
		Expect(r.After.Failed).To(BeZero())
		Expect(r.After.Boots).To(Equal(5), "after one failure of one boot")
		Expect(r.Tested).To(ContainSubstring("Tested-by: A. Tester <tester@example.org>"))
		By("it does not")
		r = try(1, h.Guilty, s.says)
		Expect(r.Verdict).To(Equal("not-fixed"), r.Why)
		Expect(r.After.Boots).To(Equal(1))
		Expect(r.Tested).To(BeEmpty())
		By("it does not build")
		r = try(1, h.Guilty, s.breaks)
		Expect(r.Why).To(ContainSubstring("nowhere"))
		By("it does not apply")
		r = try(1, h.Parent, s.mends)
		Expect(r.Rejected).NotTo(BeEmpty())
		Expect([]string{git(h.Repo, "rev-parse", "HEAD"), git(h.Repo, "status", "--porcelain"), git(h.Repo, "worktree", "list")}).To(Equal(before), "the user's checkout")
	},
		Entry("x86_64", arch.X86_64, Label("x86_64"), long),
		Entry("aarch64", arch.AArch64, Label("aarch64"), long),
	)
})
