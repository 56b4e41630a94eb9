// Package arch is the table of the architectures that unwedge boots, one file each.
// Code elsewhere asks for a fact of an architecture and never for its name, which a
// test enforces. The package imports nothing of the project.
package arch

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// Arch names an architecture the way the kernel's `uname -m` does.
type Arch string

// Facts are what unwedge needs to know of one Arch. What the harness knows of its
// instruction set is in harness/internal/isa.
type Facts struct {
	// GOARCH is Go's name of the architecture, Debian dpkg's.
	GOARCH, Debian string
	// Source is the folder below arch/ of the kernel's source, make's SRCARCH;
	// Make is make's ARCH, and Option the configuration option of its kernels.
	Source, Make, Option string
	// BootTarget is make's target of the boot image, BootImages are where a build
	// leaves boot images, the one that is meant for booting first.
	BootTarget string
	BootImages []string
	// Multiarch is the Debian multiarch triplet of the library directories.
	Multiarch string
	// ELF is e_machine of its programs and kernels (include/uapi/linux/elf-em.h).
	ELF uint16

	// QEMU is the system emulator's program name, and QEMUPackages hold it.
	QEMU         string
	QEMUPackages Packages
	// Machines are the machine types, the default first; WithholdSeeds is the option
	// that keeps QEMU from handing seeds to the guest, "" where none is needed.
	Machines      []MachineType
	WithholdSeeds string
	// CPU is QEMU's CPU model by accelerator; Seedless is added to a model of the
	// user's that must not give the guest random numbers.
	CPU      CPUs
	Seedless string
	// UEFI are the files that hold UEFI firmware, by where distributions put them, and
	// UEFIPackages hold them. DisksNeedUEFI says that the machines start a disk by no
	// other firmware.
	UEFI          []FirmwareFiles
	UEFIPackages  Packages
	DisksNeedUEFI bool
	// Threads is the first QEMU version, as major and minor, whose TCG runs
	// several vCPUs of the guest at once without faults.
	Threads [2]int
	// Console is the kernel's name for the machine's first UART, EarlyConsole its
	// earlycon= before the driver is up.
	Console, EarlyConsole string
	// KernelArgs are on every command line.
	KernelArgs []string
	// HasNMI says that QMP `inject-nmi` is documented to work.
	HasNMI bool
	// Test is a guest of some instructions that proves an accelerator.
	Test TestGuest
}

// MachineType is one of QEMU's machine types as unwedge uses it.
type MachineType struct {
	// Name is what a scenario calls it, QEMU its -machine option.
	Name, QEMU string
	// HasKeyboard says that it has a keyboard that a stock kernel drives without
	// modules, so that `send-key` can reach sysrq.
	HasKeyboard bool
	// Slots says that PCI Express devices can be plugged in while it runs.
	Slots bool
	// UEFI says that the UEFI firmware starts on it.
	UEFI bool
	// Serial is the option that has the firmware of a disk print to the first UART, ""
	// where it does so anyway.
	Serial string
	// Limit and Low say how its memory is cut: of Limit bytes or more, what lies above
	// Low begins at 4 GiB. Zero: it is not cut.
	Limit, Low uint64
}

// MachineType returns the machine type of a name, the default for "".
func (f Facts) MachineType(name string) (MachineType, bool) {
	for _, m := range f.Machines {
		if name == "" || m.Name == name {
			return m, true
		}
	}
	return MachineType{}, false
}

// MachineNames lists the machine types.
func (f Facts) MachineNames() []string {
	var names []string
	for _, m := range f.Machines {
		names = append(names, m.Name)
	}
	return names
}

// FirmwareFiles are the code and the template of the variables of a UEFI firmware.
type FirmwareFiles struct{ Code, Vars string }

// Packages are the names of the packages that hold one thing, by package manager.
type Packages struct{ APT, DNF, Pacman, Zypper string }

// CPUs are QEMU's CPU models: those with all that the accelerator offers, and those
// that give the guest no random numbers.
type CPUs struct {
	KVM, KVMSeedless, TCG, TCGSeedless string
	// MSRs are the model-specific registers that some KVMs refuse, with the
	// feature of -cpu that makes QEMU set them.
	MSRs map[uint32]string
}

// TestGuest is a machine, its code, and what shows that the code ran.
type TestGuest struct {
	// Machine are QEMU's arguments, Load is the option that takes the code's file.
	Machine []string
	Load    string
	Code    func() []byte
	// Exit is QEMU's exit status after a run, Serial what the guest has printed.
	Exit   int
	Serial string
}

// table has one line for each file in this package.
var table = []struct {
	arch  Arch
	facts Facts
}{
	{X86_64, x86_64},
	{AArch64, aarch64},
}

// All lists every architecture, sorted with x86_64 first.
func All() []Arch {
	var all []Arch
	for _, row := range table {
		all = append(all, row.arch)
	}
	return all
}

// Facts returns the architecture's facts; the zero Facts for an Arch that is not in
// the table.
func (a Arch) Facts() Facts {
	for _, row := range table {
		if row.arch == a {
			return row.facts
		}
	}
	return Facts{}
}

// Valid says whether the architecture is in the table.
func (a Arch) Valid() bool { return slices.Contains(All(), a) }

// OfELF returns the architecture of an ELF file by its e_machine.
func OfELF(machine uint16) (Arch, bool) {
	for _, row := range table {
		if row.facts.ELF == machine {
			return row.arch, true
		}
	}
	return "", false
}

// Parse accepts the kernel's, Debian's and Go's spelling of an architecture.
func Parse(s string) (Arch, error) {
	for _, a := range All() {
		f := a.Facts()
		if s == string(a) || s == f.Debian || s == f.GOARCH {
			return a, nil
		}
	}
	return "", fmt.Errorf("unknown architecture %q: use one of %s", s, List())
}

// List names the architectures for messages.
func List() string {
	var names []string
	for _, a := range All() {
		names = append(names, string(a))
	}
	return strings.Join(names, ", ")
}

// Host returns the architecture this program runs on, "" for one that is not
// in the table.
func Host() Arch {
	a, _ := Parse(runtime.GOARCH) // an unknown one has no guest that KVM could run
	return a
}
