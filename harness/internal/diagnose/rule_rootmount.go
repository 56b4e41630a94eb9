package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/notice"
	"github.com/unwedge/unwedge/harness/result"
)

// rootMount: the kernel could not mount the root file system itself.
func rootMount(f facts) *result.Diagnosis {
	p := f.log.panicReport("VFS: Unable to mount root fs", "VFS: Unable to open an initial console")
	if p == nil {
		return nil
	}
	root := f.cmdline.value("root")
	said := f.log.said(notice.EarlyUser)
	out := &result.Diagnosis{
		Kind: result.KindPanic, Cause: result.CauseRootMount, Where: result.WhereInitramfs, Confidence: result.Certain,
		Title:    p.Title,
		Evidence: []result.Evidence{f.log.reportEvidence("the panic", p)},
	}
	switch {
	case f.log.has(dump.EventInitramfsBad):
		e, _ := f.log.Boot.Event(dump.EventInitramfsBad)
		out.Cause = result.CauseInitramfs
		out.Summary = "the initramfs could not be unpacked, so the kernel tried to mount the root file system itself, and failed"
		out.Remedy = "rebuild the initramfs with a compression that the kernel supports (CONFIG_RD_*), and check that the file is complete"
		if why, fix := tooBig(e.Text); why != "" {
			out.Summary, out.Remedy = why, fix
		}
		out.Evidence = append(out.Evidence, f.log.eventEvidence("the initramfs", e))
	case f.log.has(dump.EventInitramfs) && strings.Contains(p.Text, "unknown-block(0,0)"):
		// init/main.c, kernel_init_freeable: without an init in the initramfs
		// the kernel mounts root= itself. It says so since 6.15 only.
		init := f.cmdline.value("rdinit")
		if init == "" {
			init = "/init"
		}
		e, _ := f.log.Boot.Event(dump.EventInitramfs)
		out.Cause = result.CauseNoInit
		out.Summary = "the initramfs was unpacked but has no " + init + " to run, so the kernel tried to mount the root file system itself, and failed"
		out.Remedy = "check that the initramfs contains " + init + ", and that it is executable; rdinit= selects another program"
		out.Evidence = append(out.Evidence, f.log.eventEvidence("the initramfs", e))
	case len(said.list) > 0:
		first := said.answer(f.log, result.KindPanic)
		out.Where, out.Remedy, out.Cause = first.Where, first.Remedy, first.Cause
		out.Summary = first.Summary + "; the kernel panicked for want of a root file system"
		out.Evidence = append(out.Evidence, first.Evidence...)
	case strings.Contains(p.Text, "unknown-block(0,255)"):
		// Root_NFS is (UNNAMED_MAJOR, 255), include/linux/root_dev.h.
		out.Where = result.WhereUnknown
		out.Summary = "the kernel could not mount the NFS root file system" + named(root)
		out.Remedy = "check nfsroot= and ip=, that a network device's driver is built into the kernel, and that the server exports the path"
	case strings.Contains(p.Text, "unknown-block(0,0)"):
		out.Summary = "the kernel had no driver or no device for the root file system" + named(root) + ", and no initramfs to load one"
		out.Remedy = "give the kernel an initramfs with the root device's driver, or build the driver in (virtio_blk, virtio_pci, the file system), and check root="
	default:
		out.Summary = "the kernel found the root device" + named(root) + " but could not mount it"
		out.Remedy = "check that the root device's file system is built into the kernel, or use an initramfs that loads it"
	}
	if !f.log.has(dump.EventInitramfsBad) {
		sayFileSystem(f.log, out)
	}
	out.Evidence = append(out.Evidence, f.log.lastEvent("the root device could not be opened", dump.EventRootOpen)...)
	return out
}

// sayFileSystem adds what the kernel first said of a file system that it could not use,
// after the boot's last step.
func sayFileSystem(l log, out *result.Diagnosis) {
	for _, e := range l.Boot.All(dump.EventFileSystem) {
		if !l.lasts(e) {
			continue
		}
		out.Summary += "; the kernel says: " + e.Subject
		out.Evidence = append(out.Evidence, l.eventEvidence("what the kernel says of the file system", e))
		return
	}
}

// tooBig explains an initramfs or ramdisk that was not unpacked for want of room, ""
// where its text names another reason.
func tooBig(text string) (why, fix string) {
	switch {
	case strings.Contains(text, "write error"), strings.Contains(text, "incomplete write"):
		// init/initramfs.c (xwrite) and init/do_mounts_rd.c; -28 is ENOSPC.
		return "the initramfs did not fit into memory when it was unpacked (write error), so the kernel tried to mount the root file system itself, and failed",
			"give the guest more memory (-m), or make the initramfs smaller: unpacked it lives in memory, and a tmpfs takes half of it at most; a ramdisk (root=/dev/ram0) also needs ramdisk_size= in KiB"
	case strings.Contains(text, "image too big"):
		return "the initrd is larger than the ramdisk, so the kernel could not load it",
			"raise ramdisk_size= (in KiB, CONFIG_BLK_DEV_RAM_SIZE), give the guest more memory, or use an initramfs (cpio)"
	}
	return "", ""
}
