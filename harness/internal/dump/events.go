package dump

import "bytes"

// eventRule finds one kind of line. It sees the lines of the kernel and of user
// space, because systemd and dracut write to /dev/kmsg too.
type eventRule struct {
	kind EventKind
	// need must all be in the line.
	need []string
	// after is what the subject follows; "" for none.
	after string
	// until ends the subject; "" for the end of the line.
	until string
}

var eventRules = []eventRule{
	{kind: EventTimedOut, need: []string{"Timed out waiting for device"}, after: "waiting for device "},
	{kind: EventDependency, need: []string{"Dependency failed for "}, after: "Dependency failed for "},
	{kind: EventUnitFailed, need: []string{"Failed to start "}, after: "Failed to start "},
	{kind: EventUnitFailed, need: []string{"Failed to mount "}, after: "Failed to mount "},
	{kind: EventNoDevice, need: []string{"/dev/", " does not exist"}, after: "", until: " does not exist"},
	{kind: EventNoDevice, need: []string{"ALERT!", " does not exist"}, after: "ALERT!", until: " does not exist"},
	{kind: EventEmergency, need: []string{"You are in emergency mode"}},
	{kind: EventEmergency, need: []string{"Entering emergency mode"}},
	{kind: EventEmergency, need: []string{"Dropping to a shell"}},
	{kind: EventEmergency, need: []string{"Press Enter for maintenance"}},
	{kind: EventEmergency, need: []string{"Cannot open access to console, the root account is locked"}},
	{kind: EventFreezing, need: []string{"Freezing execution", "systemd[1]"}},
	{kind: EventDracutTimeout, need: []string{"dracut-initqueue", "timeout"}},
	{kind: EventDracutTimeout, need: []string{"Gave up waiting for root"}},
	{kind: EventDracutTimeout, need: []string{"Could not boot."}},
	{kind: EventRootOpen, need: []string{"VFS: Cannot open root device "}, after: "root device ", until: " or "},
	{kind: EventFIPS, need: []string{"FIPS integrity test failed", "dracut"}},
	{kind: EventFIPS, need: []string{"integrity check failed", "FIPS", "dracut"}},
	{kind: EventFatal, need: []string{"dracut: FATAL: "}, after: "dracut: FATAL: "},
	{kind: EventRefusing, need: []string{"Refusing to continue", "dracut"}},
	{kind: EventHMAC, need: []string{".hmac", "does not exist"}},
	{kind: EventHMAC, need: []string{".hmac", "No such file"}},
	{kind: EventHMAC, need: []string{"vmlinuz", ": FAILED"}},
	{kind: EventHMAC, need: []string{"vmlinuz", ": Not OK"}}, // libkcapi's sha512hmac -c
	{kind: EventHMAC, need: []string{"computed checksum did NOT match"}},
	{kind: EventHMAC, need: []string{"HMAC sum mismatch"}},
	// dracut's modules.d/01fips/fips.sh says each step before it does it.
	{kind: EventFIPSStep, need: []string{"Checking integrity of kernel"}, after: "]: "},
	{kind: EventFIPSStep, need: []string{"Self testing crypto algorithms"}, after: "]: "},
	{kind: EventFIPSStep, need: []string{"Loading and integrity checking all crypto modules"}, after: "]: "},
	{kind: EventFIPSStep, need: []string{"All initrd crypto checks done"}, after: "]: "},
	{kind: EventTcrypt, need: []string{"could not insert 'tcrypt'"}},
	{kind: EventSelfTest, need: []string{"alg: self-tests for ", "failed"}, after: "self-tests for ", until: " "},
	{kind: EventSelfTest, need: []string{"alg: ", "est failed"}, after: "alg: ", until: ":"},
	{kind: EventSelfTest, need: []string{"alg: ", "test ", " failed on "}, after: "alg: ", until: ":"},
	{kind: EventCRNG, need: []string{"random: crng init done"}},
	{kind: EventCRNG, need: []string{"random: nonblocking pool is initialized"}},
	{kind: EventURandom, need: []string{"uninitialized urandom read"}, after: "random: ", until: ":"},
	{kind: EventHWRNG, need: []string{"virtio_rng"}},
	{kind: EventHWRNG, need: []string{"hwrng"}},
	{kind: EventHWRNG, need: []string{"hw_random"}},
	{kind: EventNoInit, need: []string{"No working init found"}},
	{kind: EventNoInit, need: []string{"Failed to execute ", "(error"}, after: "execute ", until: " "},
	{kind: EventNoInit, need: []string{"Requested init ", "failed"}, after: "Requested init ", until: " "},
	{kind: EventNoInit, need: []string{"Starting init: ", "couldn't execute"}, after: "init: ", until: " "},
	{kind: EventNoInit, need: []string{"No /sbin/init, trying fallback"}}, // systemd, src/core/main.c
	{kind: EventNoInit, need: []string{"doesn't have requested"}},
	{kind: EventNoInit, need: []string{"check access for rdinit="}},
	{kind: EventInitramfs, need: []string{"Freeing initrd memory: "}},
	{kind: EventInitramfsBad, need: []string{"Initramfs unpacking failed"}},
	{kind: EventInitramfsBad, need: []string{"rootfs image is not initramfs"}},
	{kind: EventSwitchFailed, need: []string{"Failed to switch root"}},
	{kind: EventSwitchFailed, need: []string{"switch_root: failed"}},
	{kind: EventIOError, need: []string{"I/O error"}},
	{kind: EventIOError, need: []string{"EXT4-fs error"}},
	{kind: EventShutdown, need: []string{"systemd-shutdown"}},
	{kind: EventLeak, need: []string{"kmemleak: ", " new suspected memory leak"}, after: " new ", until: " (see"},
	{kind: EventFirmwareBug, need: []string{"[Firmware Bug]: "}, after: "[Firmware Bug]: "}, // include/linux/printk.h, FW_BUG
	{kind: EventFirmwareBug, need: []string{"ACPI BIOS Error (bug): "}, after: "(bug): "},   // drivers/acpi/acpica/utxferror.c
	{kind: EventFirmwareBug, need: []string{"ACPI BIOS Warning (bug): "}, after: "(bug): "},
	{kind: EventFIPSMode, need: []string{"fips mode: enabled"}},
	{kind: EventModuleBad, need: []string{"disagrees about version of symbol"}},
	{kind: EventModuleBad, need: []string{"version magic"}},
	{kind: EventModuleBad, need: []string{"Unknown symbol"}},
}

// ruleBytes are the first of need as bytes, to keep conversions out of the loop.
var ruleBytes = func() [][]byte {
	out := make([][]byte, len(eventRules))
	for i, r := range eventRules {
		out[i] = []byte(r.need[0])
	}
	return out
}()

// ruleLine matches the table against a line. A line gives at most one event.
func (p *parser) ruleLine(b []byte, r Record) {
	if len(b) < 8 || len(b) > 1200 || r.Source == SourceFirmware {
		return
	}
	p.work += len(b)
	if isQuote(b) {
		if hasPrefix(b, "Unknown kernel command line parameters ") && bytes.Contains(b, []byte("fips=1")) {
			p.event(Event{Kind: EventFIPSUnknown}, b, r)
		}
		return
	}
next:
	for i := range eventRules {
		if !bytes.Contains(b, ruleBytes[i]) {
			continue
		}
		rule := &eventRules[i]
		for _, n := range rule.need[1:] {
			if !bytes.Contains(b, []byte(n)) {
				continue next
			}
		}
		if rule.unless(b) {
			continue
		}
		p.event(Event{Kind: rule.kind, Subject: rule.subject(b)}, b, r)
		if rule.kind == EventDracutTimeout || rule.kind == EventFIPS || rule.kind == EventRefusing {
			p.d.Boot.reach(StageInitramfs, b, r)
		}
		return
	}
}

// isQuote says that a line only repeats the words: the kernel command line, and
// what the guest agent reports.
func isQuote(b []byte) bool {
	return bytes.Contains(b, []byte("ommand line")) || bytes.Contains(b, []byte("unwedge-agent: "))
}

// unless says that the line reverses the rule's meaning.
func (rule *eventRule) unless(b []byte) bool {
	if rule.kind != EventHWRNG {
		return false
	}
	for _, w := range []string{"not found", "rror", "ail", "FATAL"} {
		if bytes.Contains(b, []byte(w)) {
			return true
		}
	}
	return false
}

func (rule *eventRule) subject(b []byte) string {
	s := b
	if rule.after != "" {
		i := bytes.Index(s, []byte(rule.after))
		if i < 0 {
			return ""
		}
		s = s[i+len(rule.after):]
	} else if rule.until == "" {
		return ""
	}
	if rule.until != "" {
		if i := bytes.Index(s, []byte(rule.until)); i >= 0 {
			s = s[:i]
		}
	}
	if rule.kind == EventNoDevice {
		if i := bytes.LastIndexByte(bytes.TrimRight(s, " \"'"), ' '); i >= 0 {
			s = s[i+1:]
		}
	}
	return clip(bytes.Trim(s, " .\"'"))
}
