package diagnose

import (
	"github.com/unwedge/unwedge/harness/result"

	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
)

// rootDevice: the kernel, dracut, initramfs-tools or systemd waits for a device
// that does not come.
func rootDevice(f *facts) *result.Diagnosis {
	b := &f.d.Boot
	if e, ok := b.Event(dump.EventRootWait); ok && b.Stage == dump.StageRootWait {
		if f.end != nil && !f.end.Has("prepare_namespace", "wait_for_root", "kernel_init_freeable", "mount_root") {
			return nil
		}
		// Of a device that was found later the kernel says nothing: only the
		// stack, or that nothing followed, shows that it still waits.
		out := f.hang(result.CauseRootDevice, result.WhereKernel, asConfidence(f.end != nil || b.LastOffset == e.Offset))
		out.Title = "hang: the kernel waits for the root device " + e.Subject
		out.Summary = "the kernel waits for the root device " + e.Subject + " (rootwait), and no driver has found it"
		out.Remedy = "check that the machine has the device, that its driver is built into the kernel or comes with an initramfs, and that root= names it right"
		out.Evidence = append([]result.Evidence{f.eventEvidence("the kernel waits", e)}, out.Evidence...)
		return out
	}
	dev, ev, conf := f.missingDevice()
	if len(ev) == 0 || f.blockedElsewhere() {
		return nil
	}
	out := &result.Diagnosis{Kind: result.KindHang, Cause: result.CauseRootDevice, Where: result.WhereInitramfs, Confidence: conf, Evidence: ev}
	if b.Stage.Rank() >= dump.StageSystem.Rank() {
		out.Where = result.WhereUserspace
	}
	name := dev
	if r := f.rootPath(); strings.HasSuffix(dev, "…") && strings.HasPrefix(r, strings.TrimSuffix(dev, "…")) {
		name = r
	}
	if name == "" {
		name = "it needs"
		if r := f.argument("root"); r != "" {
			name = r
		}
	}
	out.Title = "hang: the device " + name + " never appears"
	out.Summary = "user space waits for the device " + name + ", which never appears"
	out.Remedy = "check that the machine has the device, that its driver and the file system's module are in the initramfs (virtio_blk, virtio_scsi, nvme, ext4, ...), and that root= or fstab names it right"
	if f.end != nil {
		out.Evidence = append(out.Evidence, f.taskEvidence(f.end))
	}
	return out
}

// rootPath is the device that root= names, as a path.
func (f *facts) rootPath() string {
	r := f.argument("root")
	for _, by := range []string{"LABEL", "UUID", "PARTUUID", "PARTLABEL"} {
		if v, ok := strings.CutPrefix(r, by+"="); ok {
			return "/dev/disk/by-" + strings.ToLower(by) + "/" + v
		}
	}
	return r
}

// isRoot says that a device is the one that root= names.
func (f *facts) isRoot(dev string) bool { return dev != "" && dev == f.rootPath() }

// lasts says that the boot came no further since an event: what was printed before
// that did not hold it up. That it is in the initramfs may be seen late, by the
// prompt of its shell.
func (f *facts) lasts(e dump.Event) bool {
	b := &f.d.Boot
	return (e.Offset >= b.StageOffset || b.Stage.Rank() <= dump.StageInitramfs.Rank()) && f.latestJob(e)
}

// blockedElsewhere says that the boot is known to wait for something that is no
// device: a lock, a FIFO, the kernel.
func (f *facts) blockedElsewhere() bool {
	if f.end == nil || !f.chain.fromInit || f.chain.assumed {
		return false
	}
	switch f.wait.mech {
	case onFileLock, onFifo, onFuse, onNetFS, onStop, onVfork, onTTYWrite:
		return true
	}
	return f.end.State == "D" && f.wait.hard >= 80
}

// missingDevice finds what user space says of a device that is not there, as far
// as it is what holds the boot up: many a program misses some device, and goes on.
func (f *facts) missingDevice() (dev string, ev []result.Evidence, conf result.Confidence) {
	b := &f.d.Boot
	conf = result.Likely
	timeout, gaveUp := b.Event(dump.EventDracutTimeout)
	gaveUp = gaveUp && f.lasts(timeout)
	if e, ok := b.Event(dump.EventEmergency); ok && f.lasts(e) {
		gaveUp = true
	}
	for _, k := range []dump.EventKind{dump.EventNoDevice, dump.EventTimedOut} {
		what := "the device is not there"
		if k == dump.EventTimedOut {
			what = "systemd gave up waiting for the device"
		}
		for _, e := range b.All(k) {
			name := strings.TrimPrefix(e.Subject, "device ")
			if !gaveUp && (!f.lasts(e) || !f.isRoot(name) && !strings.Contains(e.Text, "ALERT!")) {
				continue
			}
			dev, conf = name, result.Certain
			ev = append(ev, f.eventEvidence(what, e))
		}
	}
	if timeout.Count > 0 && f.lasts(timeout) {
		conf = result.Certain
		ev = append(ev, f.eventEvidence("the initramfs gave up waiting", timeout))
	}
	for _, e := range b.All(dump.EventStartJob) {
		if n, ok := deviceJob(e.Subject); ok && (f.latestJob(e) || len(ev) > 0) {
			dev = n
			ev = append(ev, f.eventEvidence("systemd waits for the device"+times(e), e))
		}
	}
	return dev, ev, conf
}

// latestJob says whether an event, such as a start job, is among the last things
// printed: no target was reached after it but those of a boot that has failed.
func (f *facts) latestJob(e dump.Event) bool {
	for _, o := range f.d.Boot.All(dump.EventTarget) {
		if o.Offset > e.Offset && !strings.Contains(o.Subject, "mergency") && !strings.Contains(o.Subject, "escue") {
			return false
		}
	}
	return true
}

func times(e dump.Event) string {
	if e.Elapsed == "" {
		return ""
	}
	return " (" + e.Elapsed + " of " + e.Limit + ")"
}

// deviceJob tells the start job of a device unit: `dev-vda1.device`,
// `/dev/vda1`, `Device /dev/disk/by-uuid/...`, also where systemd has shortened
// the name to the width of the console: `dev-disk-by\x2dlabel-ro…ice`.
func deviceJob(s string) (string, bool) {
	t := strings.TrimPrefix(s, "device ")
	t = strings.TrimPrefix(t, "Device ")
	head, tail, short := strings.Cut(t, "…")
	switch {
	case strings.HasPrefix(t, "/dev/"):
		return t, true
	case strings.HasPrefix(t, "dev-") && short && strings.HasSuffix(".device", tail) && tail != "":
		return devicePath(head) + "…", true
	case strings.HasPrefix(t, "dev-") && strings.Contains(t, ".device"):
		name, _, _ := strings.Cut(t, ".device")
		return devicePath(name), true
	case strings.Contains(t, ".device"):
		return t, true
	}
	return "", false
}

// devicePath undoes systemd's escaping of a device's path (systemd-escape(1)).
func devicePath(unit string) string {
	for _, torn := range []string{`\x2`, `\x`, `\`} { // cut in the middle of an escape
		unit = strings.TrimSuffix(unit, torn)
	}
	path := "/" + strings.ReplaceAll(unit, "-", "/")
	return strings.ReplaceAll(path, `\x2d`, "-")
}
