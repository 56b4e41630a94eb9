package scenarios

import (
	"slices"
	"strings"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// HasAgent says that the guest agent runs in the guest: unwedge has made its images, or
// has added the agent to the user's.
func (s Scenario) HasAgent() bool {
	return !s.BootDisk && (s.Initramfs.HasAgent() || s.WithAgent)
}

// OfRelease says that the guest's user space is a distribution's, of ImageRelease.
func (s Scenario) OfRelease() bool { return s.Initramfs.Systemd() || s.Root == Ext4 }

// UEFI says that the machine starts with UEFI firmware.
func (s Scenario) UEFI() bool {
	return s.Firmware.UEFI() || s.BootDisk && s.Arch.Facts().DisksNeedUEFI
}

// MachineType is the machine, with the architecture's default for none.
func (s Scenario) MachineType() arch.MachineType {
	m, _ := s.Arch.Facts().MachineType(s.Machine) // Validate refuses an unknown one
	return m
}

// NeedsNetwork says that the guest has a network.
func (s Scenario) NeedsNetwork() bool { return s.Network || s.Expect.TCP != 0 }

// HostFiles says whether the scenario reaches files of the host that it names, or gives
// QEMU arguments of its own: what a stranger's file must not do.
func (s Scenario) HostFiles() bool {
	return s.Initrd != "" || s.RootDir != "" || s.Disk != "" || len(s.QEMUArgs) > 0 || len(s.Devices) > 0
}

// init= names the program that the root file system starts with.
const initWord = "init="

// OwnInit returns the program that the command line has run as init of the root file
// system, "" for none.
func (s Scenario) OwnInit() string {
	init := ""
	for _, word := range s.words() {
		if p, ok := strings.CutPrefix(word, initWord); ok {
			init = p
		}
	}
	return init
}

// words are those of Cmdline; one of its strings may hold several.
func (s Scenario) words() []string { return strings.Fields(strings.Join(s.Cmdline, " ")) }

// validateGuest checks the parts of the guest that are the user's own.
func (s Scenario) validateGuest(bad func(format string, args ...any)) {
	if s.Arch.Valid() {
		if _, ok := s.Arch.Facts().MachineType(s.Machine); !ok {
			bad("machine %q: on %s use %s", s.Machine, s.Arch, strings.Join(s.Arch.Facts().MachineNames(), ", "))
		}
	}
	if s.Firmware != "" && !slices.Contains(Firmwares(), s.Firmware) {
		bad("firmware %q: use %s", s.Firmware, list(Firmwares()))
	}
	if s.UEFI() && s.Arch.Valid() && !s.MachineType().UEFI {
		bad("firmware uefi: the machine %s has none", s.MachineType().Name)
	}
	switch own := s.Initramfs == OwnInitrd; {
	case own && s.Initrd == "":
		bad("initramfs %s needs a file", OwnInitrd)
	case !own && s.Initrd != "":
		bad("the file %s is for initramfs %s, not %s", s.Initrd, OwnInitrd, s.Initramfs)
	case !own && s.WithAgent:
		bad("with_agent is for an initramfs of your own: %s has the agent, or cannot", s.Initramfs)
	}
	switch own := s.Root == DirRoot; {
	case own && s.RootDir == "":
		bad("root %s needs a directory", DirRoot)
	case !own && s.RootDir != "":
		bad("the directory %s is for root %s, not %s", s.RootDir, DirRoot, s.Root)
	case own && !s.Initramfs.LoadsNamed():
		bad("a directory as root is mounted by initramfs %s, not %s", those(Initramfs.LoadsNamed), s.Initramfs)
	case own && s.OwnInit() != "" && s.Expect.Sign().Kind == "":
		bad("%s%s runs in place of the agent: say what counts as booted: expect %s", initWord, s.OwnInit(), strings.Join(SignNames(), ", "))
	}
	switch {
	case s.BootDisk && s.Disk == "":
		bad("boot_disk needs a disk")
	case s.BootDisk && (s.Initramfs.Present() || s.Root.Wanted()):
		bad("a disk that brings its own kernel brings initramfs and root, too: use initramfs none and root none")
	}
	for _, text := range slices.Concat(s.QEMUArgs, s.Devices, []string{s.CPUModel, s.Disk, s.Initrd, s.RootDir}) {
		if strings.ContainsRune(text, 0) {
			bad("%q: no NUL bytes", text)
		}
	}
}
