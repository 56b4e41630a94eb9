package boot

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/cavaliergopher/cpio"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/rootfs"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/stage"

	. "github.com/unwedge/unwedge/suites/unwedgetest"
)

// The init of the user's initramfs: it says something, shows a prompt, and waits.
const ownInit = `#!/bin/busybox sh
echo all tests passed
printf 'demo login: '
exec /bin/busybox sleep 1000000
`

// firmware is where UEFI looks for a loader on a disk that it does not know, and the
// loader's name in Debian's package systemd-boot-efi.
var firmware = map[string]struct{ boot, loader string }{
	"amd64": {"BOOTX64.EFI", "systemd-bootx64.efi"}, "arm64": {"BOOTAA64.EFI", "systemd-bootaa64.efi"},
}

var _ = Describe("a guest of the user's own", Label("own"), func() {
	EachKernel(func(k Kernel) {
		It("boots an initramfs as it is, to what its console says", Label("tiny"), func(ctx SpecContext) {
			sc := own(ctx, k.Arch, scenarios.Sign{Kind: scenarios.ByConsole, Value: "^all tests passed"})
			boot := Boot(ctx, k.Get(ctx), sc)
			Expect(boot).To(BeAsExpected())
			Expect(boot.Reports).To(BeEmpty())
			ranKernel(boot, k.Get(ctx).Kernel)
		}, SpecTimeout(prepare))

		It("has the agent added to an initramfs", Label("tiny"), func(ctx SpecContext) {
			sc := own(ctx, k.Arch, scenarios.Sign{})
			sc.WithAgent = true
			boot := Boot(ctx, k.Get(ctx), sc)
			Expect(boot).To(BeAsExpected())
			Expect(boot).To(ReachStage(stage.Init))
		}, SpecTimeout(prepare))

		It("has booted when it takes connections", Label("root-dir", "tcp"), func(ctx SpecContext) {
			sc := Cell("tiny", k.Arch, "init=/sbin/init")
			sc.Root, sc.RootDir, sc.Modules = scenarios.DirRoot, serverRoot(ctx, k.Arch), []string{"virtio_net"}
			sc.Expect = sc.Expect.With(scenarios.Sign{Kind: scenarios.ByTCP, Value: "8080"})
			boot := Boot(ctx, with9P(ctx, k), sc)
			Expect(boot).To(BeAsExpected())
			Expect(boot.Why).To(ContainSubstring("takes connections on TCP port 8080"))
		}, SpecTimeout(prepare))

		It("boots a qcow2 with a boot loader and kernel of its own by UEFI", Label("uefi"), func(ctx SpecContext) {
			c := k.Get(ctx)
			if c.Kernel.Format == kernel.Vmlinux {
				Skip("UEFI starts no vmlinux")
			}
			image := qcow2(ctx, c, initrd(ctx, k.Arch))
			before, err := kernel.HashFile(image)
			Expect(err).NotTo(HaveOccurred())
			sc := Cell("tiny", k.Arch)
			sc.Initramfs, sc.Modules, sc.Disk, sc.BootDisk, sc.Firmware = scenarios.NoInitrd, nil, image, true, scenarios.UEFI
			sc.Expect.Login = true
			boot := Boot(ctx, c, sc)
			Expect(boot).To(BeAsExpected())
			Expect(boot.Stage).To(Equal(stage.Login))
			ranKernel(boot, c.Kernel)
			Expect(kernel.HashFile(image)).To(Equal(before), "the image was written")
		}, SpecTimeout(prepare))

		It("has a directory of the host as root", Label("root-dir"), func(ctx SpecContext) {
			c := with9P(ctx, k)
			sc := Cell("tiny", k.Arch)
			sc.Root, sc.RootDir = scenarios.DirRoot, rootDir(ctx, k.Arch)
			boot := Boot(ctx, c, sc)
			Expect(boot).To(BeAsExpected())
			Expect(boot).To(ReachStage(stage.SwitchRoot))
			Expect(boot).To(ReachUserspace())
		}, SpecTimeout(prepare))
	})
})

// server is the init of a root file system that has a network and waits for a caller.
const server = `#!/bin/busybox sh
/bin/busybox ip addr add 10.0.2.15/24 dev eth0
/bin/busybox ip link set eth0 up
while :; do /bin/busybox nc -l -p 8080 -e /bin/busybox true; done
`

// serverRoot makes a root file system of busybox that serves a TCP port.
func serverRoot(ctx context.Context, a arch.Arch) string {
	GinkgoHelper()
	dir := GinkgoT().TempDir()
	for name, data := range map[string][]byte{"bin/busybox": packaged(ctx, a, "busybox-static", "/bin/busybox"), "sbin/init": []byte(server)} {
		path := filepath.Join(dir, name)
		Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
		Expect(os.WriteFile(path, data, 0o755)).To(Succeed())
	}
	Expect(os.Symlink("busybox", filepath.Join(dir, "bin/sh"))).To(Succeed())
	for _, d := range []string{"dev", "proc", "sys", "run", "tmp"} {
		Expect(os.Mkdir(filepath.Join(dir, d), 0o755)).To(Succeed())
	}
	return dir
}

// with9P is the kernel, or Debian's where that has no 9p.
func with9P(ctx context.Context, k Kernel) *candidate.Candidate {
	GinkgoHelper()
	c := k.Get(ctx)
	if c.Kernel.Config == nil || c.Kernel.Config.Get("CONFIG_9P_FS") != "n" {
		return c
	}
	c, err := Find(ctx, "deb:linux-image-"+k.Arch.Facts().Debian+"@bookworm")
	Expect(err).NotTo(HaveOccurred())
	return c
}

// rootDir is the host's own root, or, for another architecture, that of the images.
func rootDir(ctx context.Context, a arch.Arch) string {
	GinkgoHelper()
	if a == arch.Host() {
		return "/"
	}
	dir, err := rootfs.Root(ctx, rootfs.Options{Arch: a})
	Expect(err).NotTo(HaveOccurred())
	return dir
}

// ranKernel expects that the guest's memory told which kernel ran.
func ranKernel(boot *result.Result, k *kernel.Kernel) {
	GinkgoHelper()
	Expect(boot.Kernel.Running).NotTo(BeNil())
	Expect(*boot.Kernel.Running).To(Equal(result.Running{Release: k.Release, BuildID: k.BuildID, From: result.FromMemory}))
}

func own(ctx context.Context, a arch.Arch, sign scenarios.Sign) scenarios.Scenario {
	GinkgoHelper()
	sc := Cell("tiny", a)
	sc.Initramfs, sc.Initrd, sc.Modules = scenarios.OwnInitrd, initrd(ctx, a), nil
	sc.Expect = sc.Expect.With(sign)
	return sc
}

// initrd makes an initramfs of Debian's busybox.
func initrd(ctx context.Context, a arch.Arch) string {
	GinkgoHelper()
	busybox := packaged(ctx, a, "busybox-static", "/bin/busybox")
	var b bytes.Buffer
	w := cpio.NewWriter(&b)
	for _, f := range []struct {
		name string
		mode cpio.FileMode
		data []byte
	}{
		{"bin", cpio.TypeDir | 0o755, nil}, {"dev", cpio.TypeDir | 0o755, nil},
		{"bin/busybox", cpio.TypeReg | 0o755, busybox}, {"init", cpio.TypeReg | 0o755, []byte(ownInit)},
	} {
		Expect(w.WriteHeader(&cpio.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Links: 1})).To(Succeed())
		_, err := w.Write(f.data)
		Expect(err).NotTo(HaveOccurred())
	}
	Expect(w.Close()).To(Succeed())
	path := filepath.Join(GinkgoT().TempDir(), "initrd")
	Expect(os.WriteFile(path, b.Bytes(), 0o644)).To(Succeed())
	return path
}

func packaged(ctx context.Context, a arch.Arch, pkg, file string) []byte {
	GinkgoHelper()
	path, err := candidate.ArchiveFile(ctx, pkg, file, candidate.Options{Arch: a})
	Expect(err).NotTo(HaveOccurred())
	b, err := os.ReadFile(path)
	Expect(err).NotTo(HaveOccurred())
	return b
}

// qcow2 makes a disk with one FAT partition: systemd-boot, the kernel, and the initramfs.
func qcow2(ctx context.Context, c *candidate.Candidate, initrd string) string {
	GinkgoHelper()
	for _, tool := range []string{"mkfs.vfat", "mcopy", "mmd", "qemu-img"} {
		if _, err := exec.LookPath(tool); err != nil {
			Skip(tool + " is not installed: it makes the disk (packages dosfstools, mtools, qemu-utils)")
		}
	}
	f, a := c.Kernel.Arch.Facts(), c.Kernel.Arch
	dir := GinkgoT().TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, b []byte) string {
		Expect(os.WriteFile(in(name), b, 0o644)).To(Succeed())
		return in(name)
	}
	run := func(name string, args ...string) {
		GinkgoHelper()
		out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s: %s", name, out)
	}
	const first, sectors = 2048, 96 << 11
	raw := write("disk.raw", table(first, sectors))
	Expect(os.Truncate(raw, (first+sectors)<<9)).To(Succeed())
	run("mkfs.vfat", "--offset", fmt.Sprint(first), "-s", "32", raw, fmt.Sprint(sectors/2))
	part := fmt.Sprintf("%s@@%d", raw, first<<9)
	run("mmd", "-i", part, "::EFI", "::EFI/BOOT", "::loader", "::loader/entries")
	fw := firmware[f.Debian]
	for to, from := range map[string]string{
		"EFI/BOOT/" + fw.boot:      write("loader.efi", packaged(ctx, a, "systemd-boot-efi", "/usr/lib/systemd/boot/efi/"+fw.loader)),
		"loader/loader.conf":       write("loader.conf", []byte("timeout 0\n")),
		"loader/entries/demo.conf": write("demo.conf", fmt.Appendf(nil, "title demo\nlinux /vmlinuz\ninitrd /initrd\noptions console=%s\n", f.Console)),
		"vmlinuz":                  c.Kernel.Path,
		"initrd":                   initrd,
	} {
		run("mcopy", "-i", part, from, "::"+to)
	}
	run("qemu-img", "convert", "-O", "qcow2", raw, in("disk.qcow2"))
	Expect(os.Chmod(in("disk.qcow2"), 0o444)).To(Succeed())
	return in("disk.qcow2")
}

// table is a master boot record with one EFI system partition.
func table(first, sectors uint32) []byte {
	mbr := make([]byte, 512)
	entry := mbr[446:]
	entry[4] = 0xef
	binary.LittleEndian.PutUint32(entry[8:], first)
	binary.LittleEndian.PutUint32(entry[12:], sectors)
	copy(mbr[510:], "\x55\xaa")
	return mbr
}
