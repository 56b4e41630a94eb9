package bisect

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/suites/bisect/packageset"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

var _ = Describe("mistakes", Label("errors"), Ordered, ContinueOnFailure, func() {
	var u *user
	BeforeAll(func(ctx SpecContext) { u = newUser(ctx) })

	It("in the ends are reported before anything is done", func(ctx SpecContext) {
		dir := filepath.Join(GinkgoT().TempDir(), "bisection")
		for _, c := range []struct{ good, bad, says string }{
			{"goud", "hang", `revision "goud" is not in ` + u.tree},
			{"good", "hnag", `revision "hnag" is not in ` + u.tree},
			{"hang", "good", "swap --good and --bad"},
			{"hang", "hang", "the same commit"},
		} {
			u.refused(ctx, u.starts(u.bisect(dir, c.good, c.bad)...), 2, c.says)
		}
		u.refused(ctx, u.starts(u.bisect(u.tree, "good", "hang")...), 2, u.tree, "--out", "a new or empty directory")
		Expect(dir).NotTo(BeADirectory())
		Expect(u.trees()).To(BeEmpty())
	}, long)

	It("of a host that cannot build or boot are reported, and leave nothing behind", func(ctx SpecContext) {
		dir := filepath.Join(GinkgoT().TempDir(), "bisection")
		for _, c := range []struct {
			without []string
			flags   []string
			words   []string
		}{
			{[]string{"gcc", "gcc-[0-9]*", "cc"}, nil, []string{"gcc: not installed", "install"}},
			{[]string{"aarch64-*"}, []string{"--arch", "aarch64"}, []string{"aarch64-linux-gnu-gcc: not installed", "install"}},
			{[]string{"make", "gmake"}, nil, []string{"make: not installed", "install"}},
			{[]string{"flex"}, nil, []string{"flex: not installed", "install"}},
			{[]string{"qemu-system-*"}, nil, []string{"qemu-system-x86_64", "not installed", "unwedge doctor"}},
			{[]string{"git"}, nil, []string{"git", "not installed", "install"}},
		} {
			Expect(os.RemoveAll(dir)).To(Succeed())
			env := []string{"UNWEDGE_STATE=" + u.state, without(c.without...)}
			s := startWith(env, "", append([]string{"bisect"}, u.bisect(dir, "good", "hang", c.flags...)...)...)
			u.refused(ctx, s, 3, c.words...)
			Expect(u.trees()).To(BeEmpty())
			Expect(filepath.Glob(filepath.Join(dir, "*"))).To(Or(BeEmpty(), HaveExactElements(HaveSuffix("journal.jsonl"))))
			if c.without[0] != "git" && c.flags == nil {
				u.refused(ctx, startWith(env, u.tree, append([]string{"bisect", "run"}, u.small()...)...), 128, c.words...)
			}
		}
	}, long)

	It("of a tree that was built in place are reported until it is cleaned", func(ctx SpecContext) {
		inPlace := filepath.Join(u.tree, ".config") // the kernel's own sign of it
		Expect(os.WriteFile(inPlace, nil, 0o644)).To(Succeed())
		DeferCleanup(os.RemoveAll, inPlace)
		out := filepath.Join(GinkgoT().TempDir(), "build")
		mend := []string{u.tree, "not clean", "make -C " + u.tree + " mrproper"}
		build := append([]string{"build", ".", "--out", out}, u.small()...)
		run := append([]string{"bisect", "run"}, u.small()...)
		u.refused(ctx, u.start(build...), 2, mend...)
		u.refused(ctx, u.start(run...), 128, mend...)
		Expect(os.Remove(inPlace)).To(Succeed())
		for _, args := range [][]string{build, run} {
			s := u.start(args...)
			Eventually(ctx, s.Err).Should(gbytes.Say("build kernel for x86_64"))
			u.refused(ctx, s.Interrupt(), 130, "interrupted")
		}
		Expect(running(out)).To(BeEmpty())
	}, long)

	It("in a good end that does not build are reported, and only the ends are kept", func(ctx SpecContext) {
		dir := filepath.Join(GinkgoT().TempDir(), "bisection")
		args := u.bisect(dir, "broken", "hang")
		for range 2 { // the second one knows it
			u.refused(ctx, u.starts(args...), 2, "the good end", "a commit that is broken", "cannot be built", "lib/cmdline.c", "nowhere", filepath.Join(dir, "logs"), "choose another good end")
			Expect(u.trees()).To(BeEmpty())
			Expect(filepath.Join(dir, "build")).NotTo(BeADirectory())
		}
		u.refused(ctx, u.starts(u.bisect(dir, "good", "hang")...), 2, dir, "holds another bisection", "--out")
		Expect(os.WriteFile(filepath.Join(dir, "journal.jsonl"), []byte("what is this?\n"), 0o644)).To(Succeed())
		u.refused(ctx, u.starts(args...), 2, filepath.Join(dir), "journal.jsonl", "line 1", "start over")
	}, long)
})

var _ = Describe("a bisection in trouble", Label("errors"), Ordered, func() {
	var u *user
	var d *disk
	var dir string
	var args []string
	BeforeAll(func(ctx SpecContext) {
		u, d = newUser(ctx), newDisk()
		dir = filepath.Join(d.dir, "bisection")
		args = u.bisect(dir, "good", "hang")
	})
	AfterEach(func(ctx SpecContext) {
		Eventually(ctx, func() []string { return running(dir) }).Should(BeEmpty(), "processes")
		wholeLines(dir)
	})
	rooted := func() {
		if os.Getuid() != 0 {
			Skip("only root can mount a disk that is full")
		}
	}

	It("reports a disk that is full before the first build", func(ctx SpecContext) {
		rooted()
		s := u.starts(args...)
		u.refused(ctx, s, 3, "check out", "no space left on device", dir, "free some space", "same command")
		Expect(s.Err.Contents()).To(ContainSubstring("uncommitted changes in " + u.tree + " are not part of any kernel"))
	}, long)

	It("reports a disk that fills up during a build", func(ctx SpecContext) {
		rooted()
		const some = 48 // MiB, of what a build takes
		d.resize(u.sizeOf("hang") + some)
		u.refused(ctx, u.starts(args...), 3, "build", "no space left on device", "free some space", "same command")
		Expect(filepath.Glob(filepath.Join(dir, "kernels", "*", "*"))).To(BeEmpty())
	}, long)

	It("continues after Ctrl-C during a build, and locks out a second one meanwhile", func(ctx SpecContext) {
		d.resize(4096)
		s := u.starts(args...)
		Eventually(ctx, s.Err).Should(gbytes.Say("build kernel for x86_64"))
		u.refused(ctx, u.starts(args...), 3, "another unwedge is running this bisection", dir)
		u.refused(ctx, s.Interrupt(), 130, "interrupted", "the same command continues", dir)
		Expect(u.trees()).To(ConsistOf(filepath.Join(dir, "tree")))
	}, long)

	It("continues after Ctrl-C during a boot", func(ctx SpecContext) {
		s := u.starts(args...)
		Eventually(ctx, s.Err).Should(gbytes.Say(": booting"))
		u.refused(ctx, s.Interrupt(), 130, "interrupted", "the same command continues", dir)
		Expect(filepath.Glob(filepath.Join(dir, "kernels", "*", "bzImage"))).To(HaveLen(1))
		Expect(filepath.Glob(filepath.Join(u.state, "verdicts", "*"))).To(BeEmpty())
	}, long)

	It("ends without an answer where nothing between the ends can be judged, although its journal was torn", func(ctx SpecContext) {
		name := filepath.Join(dir, "journal.jsonl")
		journal, err := os.ReadFile(name)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.WriteFile(name, append(journal, `{"candidate":"012`...), 0o644)).To(Succeed())

		s := u.starts(append(args, "--json")...)
		Eventually(ctx, s).Should(gexec.Exit(1))
		var r bisect.Report
		Expect(json.Unmarshal(s.Out.Contents(), &r)).To(Succeed())
		Expect(r.First).To(BeNil())
		Expect(ids(r.Suspects)).To(Equal(u.suspects))
		Expect(u.mine()).To(Equal(u.before))
		Expect(u.trees()).To(BeEmpty())
		Expect(filepath.Join(dir, "build")).NotTo(BeADirectory())
		nothingTwice(dir)

		replay := exec.Command("git", "-C", u.tree, "bisect", "replay", filepath.Join(dir, "bisect.log"))
		out, err := replay.CombinedOutput()
		Expect(replay.ProcessState.ExitCode()).To(Equal(2), "git's code for only skipped ones: %v: %s", err, out)
		said := git(u.tree, "bisect", "log")
		git(u.tree, "bisect", "reset")
		for _, hash := range u.suspects {
			Expect(said).To(ContainSubstring("# possible first bad commit: [" + hash + "]"))
		}
		Expect(strings.Count(said, "# possible")).To(Equal(len(u.suspects)))
	}, long)

	It("repeats its answer without booting anything", func(ctx SpecContext) {
		s := u.starts(args...)
		Eventually(ctx, s).Should(gexec.Exit(1))
		for _, hash := range u.suspects {
			Expect(s.Out.Contents()).To(ContainSubstring(hash[:12]))
		}
		Expect(s.Err.Contents()).NotTo(ContainSubstring("booting"))
		Expect(s.Err.Contents()).NotTo(ContainSubstring("build kernel"))
		Expect(u.trees()).To(BeEmpty())
	}, long)
})

// Of three kernels the oldest and the newest hang.
var _ = Describe("ends of released kernels", Label("errors"), Ordered, ContinueOnFailure, func() {
	var kernels [3]packageset.Kernel
	var dir string
	BeforeAll(func(ctx SpecContext) {
		var err error
		dir, err = OutDir()
		Expect(err).NotTo(HaveOccurred())
		store, err := cache.Default()
		Expect(err).NotTo(HaveOccurred())
		o := candidate.Options{Arch: arch.X86_64, Cache: store}
		list, err := candidate.ListPackages(ctx, "deb:linux-image-cloud-amd64", o)
		Expect(err).NotTo(HaveOccurred())
		all := packageset.NewestOfSeries(list.Packages, 1)
		all = all[len(all)-4:]
		pair := func(name string, from int) *packageset.Set {
			set, err := packageset.Make(ctx, filepath.Join(dir, name), all[from:from+2], all[from+1].Upstream.String(), packageset.Options{Candidate: o})
			Expect(err).NotTo(HaveOccurred())
			return set
		}
		older, newer := pair("older", 0), pair("newer", 2)
		kernels = [...]packageset.Kernel{older.Kernels[1], newer.Kernels[0], newer.Kernels[1]}
		Expect(os.Mkdir(filepath.Join(dir, "kernels"), 0o755)).To(Succeed())
		for _, k := range kernels {
			for _, beside := range []string{k.Path, k.Path + candidate.ModulesSuffix} {
				Expect(os.Symlink(beside, filepath.Join(dir, "kernels", filepath.Base(beside)))).To(Succeed())
			}
		}
	})

	for _, c := range []struct {
		name      string
		good, bad int
		says      []string
	}{
		{"that are swapped", 2, 1, []string{"is newer than the bad version", "swapped"}},
		{"of which the bad one boots", 0, 1, []string{"the bad end", "booted as expected, 3 times of 3", "later bad end"}},
		{"of which the good one hangs too", 0, 2, []string{"the good end", "fails like the bad end", "hang: ", "earlier good end"}},
	} {
		It(c.name+" are told", func(ctx SpecContext) {
			s := start("", "bisect", "--packages", "dir:"+filepath.Join(dir, "kernels"), "--good", kernels[c.good].Release, "--bad", kernels[c.bad].Release,
				"-s", "random", "--entropy", "none", "--fresh", "--out", filepath.Join(dir, "bisection"+strings.ReplaceAll(c.name, " ", "-")))
			Eventually(ctx, s).Should(gexec.Exit(2))
			for _, w := range c.says {
				Expect(complaint(s)).To(ContainSubstring(w))
			}
			Eventually(ctx, func() []string { return running(dir) }).Should(BeEmpty(), "processes")
		}, long)
	}
})

func ids(list []bisect.Candidate) (out []string) {
	for _, c := range list {
		out = append(out, c.ID)
	}
	return out
}

// wholeLines holds a journal to it that each of its lines is one.
func wholeLines(dir string) {
	GinkgoHelper()
	b, err := os.ReadFile(filepath.Join(dir, "journal.jsonl"))
	if os.IsNotExist(err) {
		return
	}
	Expect(err).NotTo(HaveOccurred())
	for line := range strings.Lines(string(b)) {
		Expect(line).To(HaveSuffix("\n"))
		Expect(json.Valid([]byte(line))).To(BeTrue(), line)
	}
}
