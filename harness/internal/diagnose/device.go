package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// missingDevice finds what user space reports about a missing device that holds the
// boot up: many programs miss some device and go on.
func missingDevice(f facts) (dev string, ev []result.Evidence, conf result.Confidence) {
	b := &f.log.Boot
	conf = result.Likely
	timeout, gaveUp := b.Event(dump.EventDracutTimeout)
	gaveUp = gaveUp && f.log.lasts(timeout)
	if e, ok := b.Event(dump.EventEmergency); ok && f.log.lasts(e) {
		gaveUp = true
	}
	for _, k := range []dump.EventKind{dump.EventNoDevice, dump.EventTimedOut} {
		what := "the device is not there"
		if k == dump.EventTimedOut {
			what = "systemd gave up waiting for the device"
		}
		for _, e := range b.All(k) {
			name := strings.TrimPrefix(e.Subject, "device ")
			if !gaveUp && (!f.log.lasts(e) || !f.cmdline.isRoot(name) && !strings.Contains(e.Text, "ALERT!")) {
				continue
			}
			dev, conf = name, result.Certain
			ev = append(ev, f.log.eventEvidence(what, e))
		}
	}
	if timeout.Count > 0 && f.log.lasts(timeout) {
		conf = result.Certain
		ev = append(ev, f.log.eventEvidence("the initramfs gave up waiting", timeout))
	}
	for _, e := range b.All(dump.EventStartJob) {
		if n, ok := deviceJob(e.Subject); ok && (f.log.latestJob(e) || len(ev) > 0) {
			dev = n
			ev = append(ev, f.log.eventEvidence("systemd waits for the device"+times(e), e))
		}
	}
	return dev, ev, conf
}

// deviceJob recognises the start job of a device unit: `dev-vda1.device`,
// `/dev/vda1`, `Device /dev/disk/by-uuid/...`, also where systemd shortened the
// name to the width of the console: `dev-disk-by\x2dlabel-ro…ice`.
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
