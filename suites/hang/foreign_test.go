package hang

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/gexec"

	"github.com/digitalocean/go-qemu/qmp"
	"github.com/unwedge/unwedge/harness/inspect"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/mutate"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/stage"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

// machines are what a person starts by hand for each architecture.
var machines = map[arch.Arch][]string{
	arch.X86_64:  {"-machine", "q35", "-cpu", "qemu64", "-append", "no_timer_check console=ttyS0"},
	arch.AArch64: {"-machine", "virt", "-cpu", "cortex-a57", "-append", "console=ttyAMA0"},
}

var _ = Describe("a guest that somebody else started", Label("cli", "inspect", "foreign", "tiny"), func() {
	EachKernel(func(k Kernel) {
		var c *candidate.Candidate
		var dir string
		BeforeEach(func(ctx SpecContext) {
			c = Mutant(ctx, k.Get(ctx), "misc_register", mutate.Sleep)
			var err error
			dir, err = OutDir()
			Expect(err).NotTo(HaveOccurred())
		}, NodeTimeout(15*time.Minute))

		It("is explained by its monitor, and left as it was", func(SpecContext) {
			socket := filepath.Join(dir, "qmp")
			args := append([]string{"-nodefaults", "-display", "none", "-accel", "tcg", "-m", "256", "-kernel", c.Kernel.Path,
				"-serial", "file:" + filepath.Join(dir, "console.log"), "-qmp", "unix:" + socket + ",server=on,wait=off"}, machines[k.Arch]...)
			qemu := exec.Command(k.Arch.Facts().QEMU, args...)
			qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			start(qemu)
			Eventually(socket, patience).Should(BeAnExistingFile())

			By("watching it boot, by the file that its console goes to")
			res := watched(1, "--qmp", socket)
			Expect(res.Diagnosis.Title).To(ContainSubstring("misc_register"))
			Expect(res.Stage).To(Equal(stage.Kernel))
			Expect(res.Watched.Console).To(Equal(filepath.Join(dir, "console.log")))
			Expect(res.Watched).To(And(HaveField("Before", "running"), HaveField("After", "running")))
			Expect(said(socket, "query-status")).To(ContainSubstring(`"running":true`))

			By("refusing what cannot be had of it")
			for _, args := range [][]string{{"--expect", "tcp=22"}, {"--console", dir}, {"--console", filepath.Join(dir, "none")}, {"--kernel", filepath.Join(dir, "console.log")}} {
				bad := start(unwedge(append([]string{"watch", "--quiet", "--qmp", socket}, args...)...))
				Eventually(bad, patience).Should(gexec.Exit(2))
				Expect(strings.Count(string(bad.Err.Contents()), "\n")).To(Equal(1), "%s", bad.Err.Contents())
			}

			By("reading it while it runs")
			r := explained("--qmp", socket)
			Expect(r.Source.Status).To(Equal("running"))
			Expect(r.Source.Stopped).To(BeNumerically(">", 0))
			Expect(r.Source.PID).To(Equal(qemu.Process.Pid))
			Expect(said(socket, "query-status")).To(ContainSubstring(`"running":true`))

			By("reading it without stopping it")
			Expect(explained("--qmp", socket, "--live").Source.Stopped).To(BeZero())

			By("reading it while it is paused")
			said(socket, "stop")
			Expect(explained("--qmp", socket).Source.Status).To(Equal("paused"))
			Expect(said(socket, "query-status")).To(ContainSubstring(`"paused"`))

			By("refusing a kernel that is not its own")
			other := start(unwedge("inspect", "--quiet", "--qmp", socket, "--kernel", filepath.Join(dir, "console.log")))
			Eventually(other, patience).Should(gexec.Exit(2))
		}, short)

		It("is explained by libvirt, and left as it was", Serial, func(SpecContext) {
			if os.Geteuid() != 0 {
				Skip("not root: no libvirtd can be started")
			}
			startLibvirt()
			name := fmt.Sprintf("unwedge-%s-%d", k.Arch, os.Getpid())
			xml := filepath.Join(dir, "domain.xml")
			Expect(os.WriteFile(xml, []byte(domainXML(name, k.Arch, forEveryone(c.Kernel.Path))), 0o644)).To(Succeed())
			virsh("create", xml)
			DeferCleanup(func() { _ = exec.Command("virsh", "-c", system, "destroy", name).Run() }) // it may have ended

			By("watching it boot, with no console: by the log and the tasks in its memory")
			res := watched(1, "--libvirt", name)
			Expect(res.Diagnosis.Title).To(ContainSubstring("misc_register"))
			Expect(res.Stage).To(Equal(stage.Kernel))
			Expect(res.Watched.Console).To(BeEmpty())
			Expect(res.Watched).To(And(HaveField("Before", "running"), HaveField("After", "running")))
			Expect(virsh("domstate", name)).To(ContainSubstring("running"))

			r := explained("--libvirt", name)
			Expect(r.Source.Status).To(Equal("running"))
			Expect(r.Source.Domain).To(Equal(name))
			Expect(virsh("domstate", name)).To(ContainSubstring("running"))

			virsh("suspend", name)
			Expect(explained("--libvirt", system+"/"+name).Source.Status).To(Equal("paused"))
			Expect(virsh("domstate", name)).To(ContainSubstring("paused"))

			virsh("destroy", name)
			gone := start(unwedge("inspect", "--quiet", "--libvirt", name))
			Eventually(gone, patience).Should(gexec.Exit(2))
			Expect(string(gone.Err.Contents())).To(ContainSubstring("has no domain"))

			By("saying that a domain which is defined does not run")
			virsh("define", xml)
			DeferCleanup(virsh, "undefine", name)
			off := start(unwedge("inspect", "--quiet", "--libvirt", name))
			Eventually(off, patience).Should(gexec.Exit(2))
			Expect(string(off.Err.Contents())).To(Equal("unwedge: domain " + name + " is not running: nothing of it can be read\n"))
		}, short)
	})
})

// explained is what `unwedge inspect` says once the guest has come to its hang.
func explained(args ...string) (r inspect.Report) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		s := start(unwedge(append([]string{"inspect", "--quiet", "--json"}, args...)...))
		g.Eventually(s, patience).Should(gexec.Exit(0)) // not 1: the kernel is not there yet
		r = inspect.Report{}
		g.Expect(json.Unmarshal(s.Out.Contents(), &r)).To(Succeed())
		g.Expect(r.Diagnosis.Title).To(ContainSubstring("misc_register"))
	}, patience, time.Second).Should(Succeed())
	Expect(r.Diagnosis.Kind).To(Equal(result.KindHang))
	Expect(r.Diagnosis.Task).To(HaveField("PID", 1))
	return r
}

// watched is what `unwedge watch` reports, which ends with a code.
func watched(code int, args ...string) (r result.Result) {
	GinkgoHelper()
	out, err := OutDir()
	Expect(err).NotTo(HaveOccurred())
	s := start(unwedge(append([]string{"watch", "--quiet", "--json", "--out", filepath.Join(out, "watch")}, args...)...))
	Eventually(s, patience).Should(gexec.Exit(code))
	Expect(json.Unmarshal(s.Out.Contents(), &r)).To(Succeed())
	return r
}

// said is the answer of a monitor to somebody else's command.
func said(socket, command string) string {
	GinkgoHelper()
	conn, err := qmp.NewSocketMonitor("unix", socket, time.Minute)
	Expect(err).NotTo(HaveOccurred())
	Expect(conn.Connect()).To(Succeed())
	defer func() { _ = conn.Disconnect() }()
	raw, err := conn.Run(fmt.Appendf(nil, `{"execute": %q}`, command))
	Expect(err).NotTo(HaveOccurred())
	var a struct{ Return json.RawMessage }
	Expect(json.Unmarshal(raw, &a)).To(Succeed())
	out, err := json.Marshal(a.Return)
	Expect(err).NotTo(HaveOccurred())
	return string(out)
}

const system = "qemu:///system"

func virsh(args ...string) string {
	GinkgoHelper()
	out, err := exec.Command("virsh", append([]string{"-c", system}, args...)...).CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "virsh %q: %s", args, out)
	return string(out)
}

// startLibvirt starts libvirt's daemons for the spec, where none runs.
func startLibvirt() {
	GinkgoHelper()
	if _, err := exec.LookPath("libvirtd"); err != nil {
		Skip("libvirtd is not installed: libvirt-daemon-system and libvirt-clients have it")
	}
	if exec.Command("virsh", "-c", system, "list").Run() == nil {
		return
	}
	for _, daemon := range []string{"virtlogd", "libvirtd"} {
		s := start(exec.Command(daemon))
		DeferCleanup(func() { Eventually(s.Terminate(), patience).Should(gexec.Exit()) })
	}
	Eventually(func() error { return exec.Command("virsh", "-c", system, "list").Run() }, patience).Should(Succeed())
}

// forEveryone is a copy of a file that libvirt's QEMU may read, which runs as a user of
// its own.
func forEveryone(path string) string {
	GinkgoHelper()
	dir, err := os.MkdirTemp("", "unwedge-libvirt-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(os.RemoveAll, dir)
	Expect(os.Chmod(dir, 0o755)).To(Succeed())
	b, err := os.ReadFile(path)
	Expect(err).NotTo(HaveOccurred())
	file := filepath.Join(dir, "kernel")
	Expect(os.WriteFile(file, b, 0o644)).To(Succeed())
	return file
}

func domainXML(name string, a arch.Arch, kernel string) string {
	m := machines[a]
	return fmt.Sprintf(`<domain type='qemu'><name>%s</name><memory unit='MiB'>256</memory><vcpu>1</vcpu>
<os><type arch='%s' machine='%s'>hvm</type><kernel>%s</kernel><cmdline>%s</cmdline></os>
<cpu mode='custom' match='exact'><model>%s</model></cpu>
<devices><emulator>/usr/bin/%s</emulator><serial type='null'/>
<controller type='usb' model='none'/><memballoon model='none'/></devices>
</domain>`, name, a, m[1], kernel, m[5], m[3], a.Facts().QEMU)
}
