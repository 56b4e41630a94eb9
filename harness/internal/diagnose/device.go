package diagnose

import (
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// missingDevice finds what user space reports about a missing device that holds the
// boot up: many programs miss some device and go on.
func missingDevice(f facts) (dev string, ev []result.Evidence, conf result.Confidence) {
	b := &f.log.Boot
	conf = result.Likely
	gaveUp := f.log.gaveUp()
	for _, k := range []dump.EventKind{dump.EventNoDevice, dump.EventTimedOut} {
		what := "the device is not there"
		if k == dump.EventTimedOut {
			what = "systemd gave up waiting for the device"
		}
		for _, e := range b.All(k) {
			name := deviceName(e.Subject)
			if !f.log.lasts(e) || !gaveUp && !f.cmdline.isRoot(name) && !strings.Contains(e.Text, "ALERT!") {
				continue
			}
			if !f.cmdline.isRoot(dev) {
				dev = name
			}
			conf = result.Certain
			ev = append(ev, f.log.eventEvidence(what, e))
		}
	}
	if timeout, ok := b.Event(dump.EventDracutTimeout); ok && f.log.lasts(timeout) {
		conf = asConfidence(conf == result.Certain || f.ends(timeout))
		for _, h := range f.log.hooks() {
			if name := hookDevice(h.Subject); dev == "" || !f.cmdline.isRoot(dev) && f.cmdline.isRoot(name) {
				dev = name
			}
			ev = append(ev, f.log.eventEvidence("what the initramfs still waits for", h))
		}
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

// ends says that a timeout of the initramfs is the end of its waiting: dracut's first
// is a warning, and a log alone may have been cut there.
func (f facts) ends(timeout dump.Event) bool {
	gaveUp := strings.Contains(timeout.Text, "Could not boot") || strings.Contains(timeout.Text, "Gave up waiting")
	again, _ := f.log.Boot.Event(dump.EventHooks)
	return gaveUp || again.Count > 1 || f.in.Ending != "" || f.end != nil || f.log.has(dump.EventEmergency)
}

// hooks are the hooks that dracut still waited for when it last listed them.
func (l log) hooks() []dump.Event {
	list, _ := l.Boot.Event(dump.EventHooks)
	return slices.DeleteFunc(l.Boot.All(dump.EventHook), func(e dump.Event) bool { return e.Offset < list.Offset })
}

// otherHook stands before the name of a hook that waits for no device.
const otherHook = "hook:"

// hookDevice names what a hook of dracut waits for: the device whose path is in the
// hook's name (wait_for_dev in dracut-lib.sh), or else the hook.
func hookDevice(hook string) string {
	path, ok := strings.CutPrefix(hook, "devexists-")
	if !ok {
		return otherHook + hook
	}
	return strings.ReplaceAll(strings.ReplaceAll(path, `\x2f`, "/"), `\x2d`, "-")
}

// deviceName is a device as people name it, where systemd names its unit:
// "dev-vda1.device - /dev/vda1".
func deviceName(subject string) string {
	name := strings.TrimPrefix(subject, "device ")
	if _, path, ok := strings.Cut(name, ".device - "); ok && strings.HasPrefix(path, "/dev/") {
		return path
	}
	if path, ok := deviceJob(name); ok {
		return path
	}
	return name
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
