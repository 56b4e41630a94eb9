package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/dump"
)

// rootDevice: the kernel, dracut, initramfs-tools or systemd waits for a device
// that does not come.
func rootDevice(f *facts) *Diagnosis {
	b := &f.d.Boot
	if e, ok := b.Event(dump.EventRootWait); ok && b.Stage == dump.StageRootWait {
		if f.end != nil && !f.end.Has("prepare_namespace", "wait_for_root", "kernel_init_freeable", "mount_root") {
			return nil
		}
		out := f.hang(CauseRootDevice, WhereKernel, Certain)
		out.Title = "hang: the kernel waits for the root device " + e.Subject
		out.Summary = "the kernel waits for the root device " + e.Subject + " (rootwait), and no driver has found it"
		out.Remedy = "check that the machine has the device, that its driver is built into the kernel or comes with an initramfs, and that root= names it right"
		out.Evidence = append([]Evidence{f.eventEvidence("the kernel waits", e)}, out.Evidence...)
		return out
	}
	dev, ev := f.missingDevice()
	if len(ev) == 0 {
		return nil
	}
	conf := Likely
	for _, k := range []dump.EventKind{dump.EventDracutTimeout, dump.EventTimedOut, dump.EventNoDevice, dump.EventEmergency} {
		if f.hasEvent(k) {
			conf = Certain
		}
	}
	out := &Diagnosis{Kind: KindHang, Cause: CauseRootDevice, Where: WhereInitramfs, Confidence: conf, Evidence: ev}
	if b.Stage.Rank() >= dump.StageSystem.Rank() {
		out.Where = WhereUserspace
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

// missingDevice finds what user space says of a device that is not there.
func (f *facts) missingDevice() (dev string, ev []Evidence) {
	b := &f.d.Boot
	for _, e := range b.All(dump.EventNoDevice) {
		dev = e.Subject
		ev = append(ev, f.eventEvidence("the device is not there", e))
	}
	for _, e := range b.All(dump.EventTimedOut) {
		dev = strings.TrimPrefix(e.Subject, "device ")
		ev = append(ev, f.eventEvidence("systemd gave up waiting for the device", e))
	}
	if e, ok := b.Event(dump.EventDracutTimeout); ok {
		ev = append(ev, f.eventEvidence("the initramfs gave up waiting", e))
	}
	for _, e := range b.All(dump.EventStartJob) {
		if n, ok := deviceJob(e.Subject); ok && (f.latestJob(e) || len(ev) > 0) {
			dev = n
			ev = append(ev, f.eventEvidence("systemd waits for the device"+times(e), e))
		}
	}
	return dev, ev
}

// latestJob says whether a start job is among the last things printed.
func (f *facts) latestJob(e dump.Event) bool {
	for _, o := range f.d.Boot.All(dump.EventTarget) {
		if o.Offset > e.Offset {
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
