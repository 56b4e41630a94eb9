package diagnose

import (
	"cmp"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// rootDevice: the kernel, dracut, initramfs-tools or systemd waits for a device that
// never appears.
func rootDevice(f facts) *result.Diagnosis {
	b := &f.log.Boot
	if e, ok := b.Event(dump.EventRootWait); ok && b.Stage == dump.StageRootWait {
		if f.end != nil && !f.end.Has("prepare_namespace", "wait_for_root", "kernel_init_freeable", "mount_root") {
			return nil
		}
		// The kernel prints nothing when the device is found later: only the
		// stack, or that nothing followed, shows that it still waits.
		out := hang(f, result.CauseRootDevice, result.WhereKernel, asConfidence(f.end != nil || b.LastOffset == e.Offset && f.in.Ending != ""))
		out.Title = "hang: the kernel waits for the root device " + e.Subject
		out.Summary = "the kernel waits for the root device " + e.Subject + " (rootwait), and no driver has found it"
		out.Remedy = "check that the machine has the device, that its driver is built into the kernel or comes with an initramfs, and that root= is right"
		out.Evidence = append([]result.Evidence{f.log.eventEvidence("the kernel waits", e)}, out.Evidence...)
		return out
	}
	dev, ev, conf := missingDevice(f)
	if len(ev) == 0 || blockedElsewhere(f) {
		return nil
	}
	out := &result.Diagnosis{Kind: result.KindHang, Cause: result.CauseRootDevice, Where: result.WhereInitramfs, Confidence: conf, Evidence: ev}
	if b.Stage.Rank() >= dump.StageSystem.Rank() {
		out.Where = result.WhereUserspace
	}
	sayDevice(f, out, dev)
	if f.end != nil {
		out.Evidence = append(out.Evidence, f.tasks.evidence(f.end))
	}
	return out
}

// sayDevice writes the texts about the device, "" where its name is not known.
func sayDevice(f facts, out *result.Diagnosis, dev string) {
	root := f.cmdline.value("root")
	if r := f.cmdline.rootPath(); strings.HasSuffix(dev, "…") && strings.HasPrefix(r, strings.TrimSuffix(dev, "…")) {
		dev = r
	}
	hook, isHook := strings.CutPrefix(dev, otherHook)
	switch {
	case isHook:
		out.Title = "hang: dracut waits for its hook " + hook
		out.Summary = "dracut's hook " + hook + " never succeeds: what it waits for does not come"
		out.Remedy = "look at the hook in the initramfs (lsinitrd, /lib/dracut/hooks/initqueue/finished) and at what it tests: a network link, a login to iSCSI or NFS, an assembled array"
		return
	case dev == "" && root == "":
		dev = "it needs"
	case dev == "":
		dev = root
	}
	below := ""
	if f.cmdline.isRoot(dev) && stacked(dev) {
		below = beneath(f)
	}
	out.Title = "hang: the device " + cmp.Or(below, dev) + " never appears"
	out.Summary = "user space waits for the device " + dev + ", which never appears"
	if below != "" {
		out.Summary = "user space waits for the devices " + below + " and " + dev + ", which never appear; the root device " + dev + " may lie on the other"
	}
	out.Remedy = "check that the machine has the device, that its driver and the file system's module are in the initramfs (virtio_blk, virtio_scsi, nvme, ext4, ...), and that root= or fstab is right"
	if len(f.log.hooks()) > 0 && root != "" && !f.cmdline.isRoot(dev) {
		out.Summary = "dracut still waits for the device " + dev + ", which never appears; it is not the root device"
		out.Remedy = "check what asks for it on the kernel command line (resume=, rd.lvm.lv=, rd.luks.uuid=, rd.md.uuid=) and in the initramfs (dracut --hostonly keeps what the host had): the device was removed, renamed or resized"
	}
}

// stacked says that a device is made of others: by device mapper or mdraid.
func stacked(dev string) bool {
	return strings.HasPrefix(dev, "/dev/mapper/") || strings.HasPrefix(dev, "/dev/md")
}

// beneath is the device, also missing, that a stacked root device may lie on; "" for
// none.
func beneath(f facts) string {
	var names []string
	for _, e := range f.log.Boot.All(dump.EventNoDevice) {
		names = append(names, deviceName(e.Subject))
	}
	for _, h := range f.log.hooks() {
		names = append(names, hookDevice(h.Subject))
	}
	resume := f.cmdline.value("resume")
	for _, n := range names {
		uuid := strings.TrimPrefix(n, "/dev/disk/by-uuid/")
		if strings.HasPrefix(n, "/dev/") && !stacked(n) && !f.cmdline.isRoot(n) && n != resume && "UUID="+uuid != resume {
			return n
		}
	}
	return ""
}

// blockedElsewhere says that the boot is known to wait for something other than a
// device: a lock, a FIFO, the kernel.
func blockedElsewhere(f facts) bool {
	if f.end == nil || !f.chain.fromInit || f.chain.assumed {
		return false
	}
	switch f.wait.mech {
	case onFileLock, onFifo, onFuse, onNetFS, onStop, onVfork, onTTYWrite:
		return true
	}
	return f.end.State == "D" && f.wait.hard >= 80
}
