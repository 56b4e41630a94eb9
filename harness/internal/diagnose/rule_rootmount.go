package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// rootMount: the kernel could not mount the root file system itself.
func rootMount(f facts) *result.Diagnosis {
	p := f.log.panicReport("VFS: Unable to mount root fs", "VFS: Unable to open an initial console")
	if p == nil {
		return nil
	}
	root := f.cmdline.value("root")
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
	case strings.Contains(p.Text, "unknown-block(0,0)"):
		out.Summary = "the kernel had no driver or no device for the root file system" + named(root) + ", and no initramfs to load one"
		out.Remedy = "give the kernel an initramfs with the root device's driver, or build the driver in (virtio_blk, virtio_pci, the file system), and check root="
	default:
		out.Summary = "the kernel found the root device" + named(root) + " but could not mount it"
		out.Remedy = "check that the root device's file system is built into the kernel, or use an initramfs that loads it"
	}
	out.Evidence = append(out.Evidence, f.log.lastEvent("the root device could not be opened", dump.EventRootOpen)...)
	return out
}
