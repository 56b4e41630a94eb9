package hang

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gbytes"
	"github.com/onsi/gomega/gexec"
	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/candidate"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

// patience bounds what needs one boot and a hang's diagnosis. It is no assertion on
// speed.
const patience = 12 * time.Minute

// program is the path of the unwedge that these specs run, built from this
// tree.
var program = sync.OnceValues(func() (string, error) { return gexec.Build("github.com/unwedge/unwedge") })

var _ = AfterSuite(gexec.CleanupBuildArtifacts)

var _ = Describe("the program", Label("cli", "tiny"), func() {
	EachKernel(func(k Kernel) {
		var c *candidate.Candidate
		var out string
		BeforeEach(func(ctx SpecContext) {
			c = k.Get(ctx)
			dir, err := OutDir()
			Expect(err).NotTo(HaveOccurred())
			out = filepath.Join(dir, "run")
		})
		hang := func(args ...string) *exec.Cmd {
			return unwedge(append([]string{
				"boot", "--entropy", "none", "--append", "unwedge.fault=pipe", "--out", out, c.Kernel.Path,
			}, args...)...)
		}

		It("takes QEMU with it when it is killed", Label("core"), func(SpecContext) {
			s := start(hang())
			vm := running(s)
			s.Kill()
			vm.expectGone()
		}, short)

		It("ends cleanly when it is interrupted", func(SpecContext) {
			s := start(hang())
			vm := running(s)
			s.Interrupt()
			Eventually(s, patience).Should(gexec.Exit(130))
			vm.expectGone()
			Expect(filepath.Join(out, rundir.Sockets)).NotTo(BeAnExistingFile())
			Expect(string(s.Err.Contents())).To(ContainSubstring("interrupted"))
		}, short)

		It("keeps a hung guest, paused, until it is told to stop", Label("core"), func(SpecContext) {
			s := start(hang("--keep"))
			vm := running(s)
			Eventually(s, patience).Should(gexec.Exit(1))
			vm.expectAlive()
			res, err := result.Read(filepath.Join(out, rundir.Result))
			Expect(err).NotTo(HaveOccurred())
			Expect(res.Kept).To(HaveField("PID", vm.pid))
			for _, hint := range []string{"unwedge stop " + out, "unwedge attach " + out, res.Kept.GDB, res.Kept.QMP} {
				Expect(string(s.Out.Contents())).To(ContainSubstring(hint))
			}
			Eventually(start(unwedge("stop", out)), patience).Should(gexec.Exit(0))
			vm.expectGone()
			Expect(filepath.Join(out, rundir.Sockets)).NotTo(BeAnExistingFile())
		}, short)

		It("shares an empty cache with another one", func(SpecContext) {
			cache, err := OutDir()
			Expect(err).NotTo(HaveOccurred())
			var both []*gexec.Session
			for i := range 2 {
				cmd := unwedge("boot", "--entropy", "none", "--out", out+strconv.Itoa(i), c.Kernel.Path)
				cmd.Env = append(os.Environ(), "UNWEDGE_CACHE="+cache)
				both = append(both, start(cmd))
			}
			for _, s := range both {
				Eventually(s, patience).Should(gexec.Exit(0))
			}
		}, short)

		It("passes on no escape sequence from the guest", func(SpecContext) {
			s := start(unwedge("boot", "--entropy", "none", "--append", "unwedge.fault=escape", "--console", "--out", out, c.Kernel.Path))
			Eventually(s, patience).Should(gexec.Exit(0))
			Expect(string(s.Out.Contents())).To(And(ContainSubstring("red"), beTame()))
			Expect(string(s.Err.Contents())).To(beTame())
		}, short)

		It("prints the Result as JSON, and nothing else", func(SpecContext) {
			s := start(hang("--json"))
			Eventually(s, patience).Should(gexec.Exit(1))
			var res result.Result
			Expect(json.Unmarshal(s.Out.Contents(), &res)).To(Succeed())
			Expect(&res).To(HaveHung())
			Expect(res.Diagnosis.Syscall).To(Equal("read"))
		}, short)
	})
})

func unwedge(args ...string) *exec.Cmd {
	GinkgoHelper()
	path, err := program()
	Expect(err).NotTo(HaveOccurred())
	return exec.Command(path, args...)
}

// start runs a command whose output goes to Ginkgo's writer too. The command
// does not outlive the spec.
func start(cmd *exec.Cmd) *gexec.Session {
	GinkgoHelper()
	s, err := gexec.Start(cmd, GinkgoWriter, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { s.Kill() })
	return s
}

// process is a process that is watched through a pidfd, so that another one
// with its number is never taken for it.
type process struct{ pid, fd int }

// running waits until the guest of a started unwedge is up, and returns its
// QEMU.
func running(s *gexec.Session) process {
	GinkgoHelper()
	Eventually(s.Err, patience).Should(gbytes.Say("init at "))
	pids, err := guests(s.Command.Process.Pid)
	Expect(err).NotTo(HaveOccurred())
	Expect(pids).To(HaveLen(1), "the QEMUs that are children of unwedge")
	fd, err := unix.PidfdOpen(pids[0], 0)
	Expect(err).NotTo(HaveOccurred(), "open a pidfd of QEMU")
	DeferCleanup(func() {
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // it should be gone
		_ = unix.Close(fd)
	})
	return process{pids[0], fd}
}

// guests lists the QEMUs whose parent is pid.
func guests(pid int) ([]int, error) {
	all, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return nil, err
	}
	var out []int
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		exe, err := os.Readlink(filepath.Join(filepath.Dir(path), "exe"))
		if err != nil {
			continue // it has ended, or is a kernel thread
		}
		if strings.HasPrefix(filepath.Base(exe), "qemu-system-") && strings.Contains(string(text), fmt.Sprintf("\nPPid:\t%d\n", pid)) {
			child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				return nil, err
			}
			out = append(out, child)
		}
	}
	return out, nil
}

// expectGone waits for the end of the process: a pidfd becomes readable then
// (pidfd_open(2)).
func (p process) expectGone() {
	GinkgoHelper()
	Expect(p.ended(patience)).To(BeTrue(), "QEMU (PID %d) is still there", p.pid)
}

func (p process) expectAlive() {
	GinkgoHelper()
	Expect(p.ended(0)).To(BeFalse(), "QEMU (PID %d) has ended", p.pid)
}

func (p process) ended(within time.Duration) (bool, error) {
	for deadline := time.Now().Add(within); ; {
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(max(0, time.Until(deadline)).Milliseconds()))
		if err != unix.EINTR {
			return n > 0, err
		}
	}
}
