package dump

import (
	"bytes"

	"github.com/unwedge/unwedge/harness/internal/notice"
	"github.com/unwedge/unwedge/harness/internal/phrase"
)

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
	{kind: EventNoDevice, need: []string{"Timed out waiting for device ", ", trying to mount anyway"}, after: "for device ", until: ", trying"}, // NixOS, stage-1-init.sh
	{kind: EventTimedOut, need: []string{"Timed out waiting for device"}, after: "waiting for device "},
	{kind: EventDependency, need: []string{"Dependency failed for "}, after: "Dependency failed for "},
	{kind: EventUnitFailed, need: []string{"Failed to start "}, after: "Failed to start "},
	{kind: EventUnitFailed, need: []string{"Failed to mount "}, after: "Failed to mount "},
	{kind: EventNoDevice, need: []string{"/dev/", " does not exist"}, after: "", until: " does not exist"},
	{kind: EventNoDevice, need: []string{"ALERT!", " does not exist"}, after: "ALERT!", until: " does not exist"},
	{kind: EventNoDevice, need: []string{"ALERT!", " does not exist, can't unlock"}, after: "device ", until: " does not exist"}, // cryptsetup-initramfs
	{kind: EventNoDevice, need: []string{"ERROR: device '", "' not found"}, after: "device ", until: "' not found"},              // mkinitcpio
	{kind: EventNoDevice, need: []string{"Root device '", "' doesn't exist"}, after: "device ", until: "' doesn't"},
	{kind: EventNoDevice, need: []string{"Unable to find root device '"}, after: "device "},
	{kind: EventNoDevice, need: []string{"mount: mounting ", " failed: No such file or directory"}, after: "mounting ", until: " on "}, // busybox
	{kind: EventNoDevice, need: []string{": can't find UUID="}, after: "can't find "},                                                  // util-linux
	{kind: EventNoDevice, need: []string{": can't find LABEL="}, after: "can't find "},
	{kind: EventNoDevice, need: []string{"device did not show up after "}, after: "ERROR: ", until: " device did"}, // archiso
	{kind: EventNoDevice, need: []string{"Could not find the root block device in "}, after: "device in "},         // genkernel
	{kind: EventNoDevice, need: []string{"failed to resolve partition \""}, after: "partition \"", until: "\""},    // Guix, gnu/build/file-systems.scm
	{kind: EventHook, need: []string{"initqueue/finished/", ".sh"}, after: "initqueue/finished/", until: ".sh"},    // dracut, dracut-initqueue.sh
	{kind: EventEmergency, need: []string{"You are in emergency mode"}},
	{kind: EventEmergency, need: []string{"Entering emergency mode"}},
	{kind: EventEmergency, need: []string{"Dropping to a shell"}},
	{kind: EventEmergency, need: []string{"Press Enter for maintenance"}},
	{kind: EventEmergency, need: []string{"Cannot open access to console, the root account is locked"}},
	{kind: EventEmergency, need: []string{"Give root password for maintenance"}},
	{kind: EventEmergency, need: []string{"Press Enter for emergency shell"}}, // Fedora CoreOS
	{kind: EventEmergency, need: []string{"Spawning shell within the initramfs"}},
	{kind: EventEmergency, need: []string{"Rebooting automatically due to panic= boot argument"}}, // initramfs-tools
	{kind: EventEmergency, need: []string{"Halting automatically due to panic= boot argument"}},
	{kind: EventEmergency, need: []string{"being dropped into an emergency shell"}}, // mkinitcpio
	{kind: EventEmergency, need: []string{"being dropped to a recovery shell"}},
	{kind: EventEmergency, need: []string{"Bailing out, you are on your own"}},
	{kind: EventEmergency, need: []string{"Falling back to interactive prompt"}},
	{kind: EventEmergency, need: []string{"emergency recovery shell launched"}}, // mkinitfs
	{kind: EventEmergency, need: []string{"Launching emergency recovery shell"}},
	{kind: EventEmergency, need: []string{"An error occurred in stage 1 of the boot process"}}, // NixOS
	{kind: EventEmergency, need: []string{"Manually import the "}},                             // OpenZFS
	{kind: EventEmergency, need: []string{"Boot has failed. To debug this issue"}},             // dracut with rd.shell=0
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
	{kind: EventShellRun, need: []string{"Run /bin/sh as init process"}},
	{kind: EventBinfmt, need: []string{"modprobe binfmt-"}, after: "binfmt-", until: " "}, // kernel/module/kmod.c
	{kind: EventInitramfs, need: []string{"Freeing initrd memory: "}},
	{kind: EventInitramfsBad, need: []string{"Initramfs unpacking failed"}},
	{kind: EventInitramfsBad, need: []string{"RAMDISK: incomplete write"}}, // init/do_mounts_rd.c
	{kind: EventInitramfsBad, need: []string{"RAMDISK: image too big"}},
	{kind: EventInitramfsBad, need: []string{"rootfs image is not initramfs"}},
	{kind: EventSwitchFailed, need: []string{"Failed to switch root"}},
	{kind: EventSwitchFailed, need: []string{"switch_root: failed"}},
	{kind: EventIOError, need: []string{"I/O error"}},
	{kind: EventIOError, need: []string{"EXT4-fs error"}},
	{kind: EventShutdown, need: []string{"systemd-shutdown"}},
	{kind: EventLeak, need: []string{"kmemleak: ", " new suspected memory leak"}, after: " new ", until: " (see"},
	{kind: EventFirmwareBug, need: []string{"[Firmware Bug]: "}, after: "[Firmware Bug]: "},  // include/linux/printk.h, FW_BUG
	{kind: EventFirmwareBug, need: []string{"ACPI BIOS Error (bug): "}, after: "(bug): "},    // drivers/acpi/acpica/utxferror.c
	{kind: EventHardware, need: []string{"[Hardware Error]: "}, after: "[Hardware Error]: "}, // HW_ERR
	{kind: EventFirmwareBug, need: []string{"ACPI BIOS Warning (bug): "}, after: "(bug): "},
	{kind: EventFIPSMode, need: []string{"fips mode: enabled"}},
	{kind: EventModuleBad, need: []string{"disagrees about version of symbol"}},
	{kind: EventModuleBad, need: []string{"version magic"}},
	{kind: EventModuleBad, need: []string{"Unknown symbol"}},
	// What file systems and their devices say when they cannot be mounted.
	{kind: EventFileSystem, need: []string{"XFS (", "orruption"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"XFS (", " failed"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"XFS (", "Superblock has unknown "}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"XFS (", "Invalid superblock magic"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"BTRFS error (", "): "}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"BTRFS critical (", "): "}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"BTRFS: ", "open_ctree failed"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"EXT4-fs (", "ouldn't mount"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"EXT4-fs (", "unsupported"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"EXT4-fs (", "unable to read superblock"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"EXT4-fs (", "bad geometry"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"EXT4-fs (", "journal", "rror"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"F2FS-fs (", "Can't find valid F2FS"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"F2FS-fs (", "Failed to "}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"SQUASHFS error: "}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"UBIFS error ("}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"erofs (", "): ", "invalid"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"cramfs: wrong magic"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"virtio-fs: tag <", "> not found"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"9pnet_virtio: no channels available"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"device-mapper: verity: ", " is corrupted"}, until: wholeLine},
	{kind: EventFileSystem, need: []string{"device-mapper: table: ", "verity"}, until: wholeLine},
}

// wholeLine, which no line holds, makes the line itself the subject.
const wholeLine = "\x00"

// eventIndex finds the rules whose first words may be in a line.
var eventIndex = func() *phrase.Index {
	anchors := make([]phrase.Anchor, len(eventRules))
	for i, r := range eventRules {
		anchors[i].Text = []byte(r.need[0])
	}
	return phrase.NewIndex(anchors)
}()

// ruleLine matches the tables against a line. A line gives at most one event of
// each.
func (p *parser) ruleLine(b []byte, r Record) {
	if len(b) < 2 || len(b) > 1200 {
		return
	}
	p.work += len(b)
	p.noticeLine(b, r)
	if r.Source == SourceFirmware {
		return
	}
	if hasPrefix(b, "Unknown kernel command line parameters ") && bytes.Contains(b, []byte("fips=1")) {
		p.event(Event{Kind: EventFIPSUnknown}, b, r)
	}
	if rule := findRule(b); rule != nil && !isQuote(b) {
		p.event(Event{Kind: rule.kind, Subject: rule.subject(b)}, b, r)
		if rule.kind == EventDracutTimeout && bytes.Contains(b, []byte("still waiting for following")) {
			p.event(Event{Kind: EventHooks}, b, r)
		}
		if rule.kind == EventDracutTimeout || rule.kind == EventFIPS || rule.kind == EventRefusing {
			p.d.Boot.reach(StageInitramfs, b, r)
		}
	}
}

// findRule is the first rule that fits a line, nil if there is none.
func findRule(b []byte) *eventRule {
	best := len(eventRules)
	eventIndex.Each(b, func(i int) {
		if i < best && eventRules[i].fits(b) {
			best = i
		}
	})
	if best == len(eventRules) {
		return nil
	}
	return &eventRules[best]
}

func (rule *eventRule) fits(b []byte) bool {
	for _, n := range rule.need {
		if !bytes.Contains(b, []byte(n)) {
			return false
		}
	}
	return !rule.unless(b)
}

// noticeLine matches the table of package notice against a line.
func (p *parser) noticeLine(b []byte, r Record) {
	bo := &p.d.Boot
	switch {
	case bootsAgain(b):
		bo.KernelRuns = false
	case r.Source == SourceKernel && !isKernelStart(b), bo.Stage.Rank() >= StageInit.Rank() && bo.StageOffset == r.Offset:
		bo.KernelRuns = true
	}
	if n, what := notice.Match(b, bo.KernelRuns); n != nil && !isQuote(b) {
		kind := EventKind(n.Name)
		if n.Role == notice.Go {
			kind = GoesOn(n.Name)
		}
		p.event(Event{Kind: kind, Subject: clip(what)}, b, r)
	}
}

// GoesOn is the kind of the event that ends a notice (notice.Go).
func GoesOn(name string) EventKind { return EventKind(name + ", over") }

// bootsAgain recognises the lines by which firmware or a boot loader begins.
func bootsAgain(b []byte) bool {
	return isFirmwareStart(b) || hasPrefix(b, "BdsDxe: ") || hasPrefix(b, "GRUB loading") || hasPrefix(b, "Welcome to GRUB!") || hasPrefix(b, "iPXE initialising devices")
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
