package bisect

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/unwedge/unwedge/suites/bisect/fixture"
)

// user is somebody with a clone of a kernel's source, at whose end a commit waits
// for ever; between it and the good one nothing can be judged.
type user struct {
	tree     string   // the checkout, which has a change that is not committed
	fragment string   // of the small configuration
	state    string   // unwedge's own
	suspects []string // the commits from good to hang
	before   []string
}

// newUser clones the history; tags name what it makes: good, broken, other, hang.
func newUser(ctx SpecContext) *user {
	GinkgoHelper()
	h, fragment := source(ctx)
	dir := GinkgoT().TempDir()
	u := &user{tree: filepath.Join(dir, "linux"), fragment: fragment, state: filepath.Join(dir, "state")}
	git(filepath.Dir(h.Repo), "clone", "--quiet", "--shared", "--no-checkout", h.Repo, u.tree)
	for _, kv := range [][2]string{{"user.name", "A. Developer"}, {"user.email", "developer@example.org"}} {
		git(u.tree, "config", kv[0], kv[1])
	}
	git(u.tree, "checkout", "--quiet", "-B", "work", h.Parent)
	git(u.tree, "tag", "good")
	u.commits(h)
	u.append("kernel/fork.c", "/* What the user is at. */\n")
	u.before = u.mine()
	return u
}

// commits are the user's: one does not build, one panics, and one hangs.
func (u *user) commits(h fixture.History) {
	GinkgoHelper()
	commit := func(tag string) {
		git(u.tree, "commit", "--quiet", "--all", "--no-verify", "--no-gpg-sign", "-m", "a commit that is "+tag)
		git(u.tree, "tag", tag)
		u.suspects = append(u.suspects, git(u.tree, "rev-parse", tag))
	}
	u.append("lib/cmdline.c", "int undeclared(void) { return nowhere; }\n")
	commit("broken")
	git(u.tree, "checkout", "--quiet", "good", "--", "lib/cmdline.c")
	git(u.tree, "cherry-pick", "--no-commit", h.Other[0])
	commit("other")
	git(u.tree, "checkout", "--quiet", "good", "--", ".")
	git(u.tree, "cherry-pick", "--no-commit", h.Guilty)
	commit("hang")
}

func (u *user) append(file, text string) {
	GinkgoHelper()
	path := filepath.Join(u.tree, file)
	b, err := os.ReadFile(path)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(path, append(b, text...), 0o644)).To(Succeed())
}

// mine is all that unwedge must leave as it was.
func (u *user) mine() []string {
	GinkgoHelper()
	config, err := os.ReadFile(filepath.Join(u.tree, ".git", "config"))
	Expect(err).NotTo(HaveOccurred())
	Expect(filepath.Join(u.tree, ".git", "BISECT_LOG")).NotTo(BeAnExistingFile())
	return []string{git(u.tree, "rev-parse", "HEAD"), git(u.tree, "symbolic-ref", "HEAD"), git(u.tree, "for-each-ref"), git(u.tree, "status", "--porcelain"),
		git(u.tree, "diff"), git(u.tree, "stash", "list"), string(config)}
}

// trees are the work trees of the user's repository, beside the checkout itself.
func (u *user) trees() []string {
	GinkgoHelper()
	var out []string
	for line := range strings.Lines(git(u.tree, "worktree", "list", "--porcelain")) {
		if dir, ok := strings.CutPrefix(strings.TrimSpace(line), "worktree "); ok && dir != u.tree {
			out = append(out, dir)
		}
	}
	return out
}

// small is what makes the builds small.
func (u *user) small(more ...string) []string {
	return append([]string{"--arch", "x86_64", "--config", "tinyconfig", "--fragment", u.fragment}, more...)
}

// bisect is the command line from good to hang; of a flag that is given twice the
// last one counts, but for --good.
func (u *user) bisect(dir, good, bad string, more ...string) []string {
	return append(u.small("--tree", u.tree, "--good", good, "--bad", bad, "--out", dir), more...)
}

// start runs unwedge in the user's checkout.
func (u *user) start(args ...string) *gexec.Session {
	GinkgoHelper()
	return startWith([]string{"UNWEDGE_STATE=" + u.state}, u.tree, args...)
}

// starts begins a bisection.
func (u *user) starts(args ...string) *gexec.Session {
	GinkgoHelper()
	return u.start(append([]string{"bisect"}, args...)...)
}

// refused holds a run to its exit code and to one line on standard error that has
// these words; and that nothing but a bisection's own work tree is left behind.
func (u *user) refused(ctx SpecContext, s *gexec.Session, code int, words ...string) {
	GinkgoHelper()
	Eventually(ctx, s).Should(gexec.Exit(code))
	Expect(s.Out.Contents()).To(BeEmpty())
	line := complaint(s)
	for _, w := range words {
		Expect(line).To(ContainSubstring(w))
	}
	Expect(u.mine()).To(Equal(u.before), "the user's checkout")
	Eventually(ctx, func() []string { return running(u.state) }).Should(BeEmpty(), "processes")
}

// complaint is the one line that says why it ended.
func complaint(s *gexec.Session) string {
	GinkgoHelper()
	var said []string
	for line := range strings.Lines(string(s.Err.Contents())) {
		if text, ok := strings.CutPrefix(line, "unwedge: "); ok {
			said = append(said, strings.TrimSuffix(text, "\n"))
		}
	}
	Expect(said).To(HaveLen(1), "what is said of the error")
	return said[0]
}

// running are the processes, apart from this one, whose command line names a
// directory.
func running(dir string) []string {
	GinkgoHelper()
	entries, err := os.ReadDir("/proc")
	Expect(err).NotTo(HaveOccurred())
	var out []string
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || e.Name() == fmt.Sprint(os.Getpid()) {
			continue
		}
		if line := strings.ReplaceAll(string(b), "\x00", " "); strings.Contains(line, dir) {
			out = append(out, e.Name()+" "+line)
		}
	}
	return out
}

// without is PATH with all that it has but for some programs.
func without(names ...string) string {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	for _, from := range filepath.SplitList(os.Getenv("PATH")) {
		entries, err := os.ReadDir(from)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if to := filepath.Join(dir, e.Name()); os.Symlink(filepath.Join(from, e.Name()), to) != nil {
				continue // the first one counts
			}
		}
	}
	for _, n := range names {
		found, err := filepath.Glob(filepath.Join(dir, n))
		Expect(err).NotTo(HaveOccurred())
		for _, f := range found {
			Expect(os.Remove(f)).To(Succeed())
		}
	}
	return "PATH=" + dir
}

// disk is a file system of the spec's own, in memory.
type disk struct{ dir string }

// newDisk mounts one; it takes root.
func newDisk() *disk {
	GinkgoHelper()
	d := &disk{GinkgoT().TempDir()}
	if os.Getuid() != 0 {
		return d
	}
	d.mount("size=64m")
	DeferCleanup(func() { Expect(syscall.Unmount(d.dir, syscall.MNT_DETACH)).To(Succeed()) })
	return d
}

func (d *disk) mount(options string) {
	GinkgoHelper()
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", d.dir).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
}

// resize gives it that many MiB; it takes root.
func (d *disk) resize(mib int64) {
	GinkgoHelper()
	if os.Getuid() == 0 {
		d.mount(fmt.Sprintf("remount,size=%dm", mib))
	}
}

// sizeOf is how many MiB a commit's files take, in pages.
func (u *user) sizeOf(rev string) int64 {
	GinkgoHelper()
	var pages int64
	for line := range strings.Lines(git(u.tree, "ls-tree", "-r", "-l", rev)) {
		var size int64
		if f := strings.Fields(line); len(f) > 3 {
			fmt.Sscan(f[3], &size)
		}
		pages += (size + 4095) / 4096
	}
	return pages * 4096 >> 20
}
