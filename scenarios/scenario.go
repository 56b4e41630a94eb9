// Package scenarios says what to boot: a Scenario is one cell (one arch, one
// entropy source, one initramfs, one root), a Template is a line of cells over
// those axes. It is pure: nothing here touches the machine.
package scenarios

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/release"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// Outcome is how a boot ends.
type Outcome string

// The outcomes of a boot. What the harness could not find out is an error of
// the harness, never an outcome.
const (
	Booted     Outcome = "booted"      // the expected stage was reached
	Hung       Outcome = "hung"        // progress stopped
	Panicked   Outcome = "panicked"    // the kernel said so
	Rebooting  Outcome = "rebooting"   // the guest resets itself again and again
	Stopped    Outcome = "stopped"     // the guest powered off or halted before the expected stage
	WrongState Outcome = "wrong-state" // it booted, but not as asked: another kernel, FIPS off, …
	Slow       Outcome = "slow"        // still making progress at the hard deadline
)

// Findings says which reports of the kernel a boot may show and still be as expected.
type Findings string

// What a boot may show.
const (
	FindingsNone     Findings = "none"     // nothing worse than a note
	FindingsWarnings Findings = "warnings" // warnings, but no errors; the default
	FindingsAny      Findings = "any"      // anything
)

// Expect is what must happen. The zero value means: boot as far as the images
// allow.
type Expect struct {
	// Outcome is Booted where it is empty.
	Outcome Outcome `yaml:"outcome,omitempty" json:"outcome,omitempty"`
	// Stage is the agent's stage that counts as booted. Empty means
	// multi-user with a root file system and userspace without.
	Stage stage.Stage `yaml:"stage,omitempty" json:"stage,omitempty"`
	// Init: the kernel says that it runs init, and does not panic at once.
	Init bool `yaml:"init,omitempty" json:"init,omitempty"`
	// Console is a regular expression (RE2) that a line of the console matches.
	Console string `yaml:"console,omitempty" json:"console,omitempty"`
	// Login: the console shows a login prompt.
	Login bool `yaml:"login,omitempty" json:"login,omitempty"`
	// Systemd is a unit that systemd says to have reached.
	Systemd string `yaml:"systemd,omitempty" json:"systemd,omitempty"`
	// TCP is a port on which the guest takes connections.
	TCP int `yaml:"tcp,omitempty" json:"tcp,omitempty"`
	// Task is the name of a task that runs, as the guest's memory shows.
	Task string `yaml:"task,omitempty" json:"task,omitempty"`
	// Cause must be the diagnosis's cause where it is not empty.
	Cause string `yaml:"cause,omitempty" json:"cause,omitempty"`
	// Findings are the kernel's reports that a boot may show; empty means warnings.
	Findings Findings `yaml:"findings,omitempty" json:"findings,omitempty"`
}

// Scenario is one cell: everything that decides how a kernel is booted and
// what must happen.
type Scenario struct {
	// Name identifies the cell: the template's name and its axis values.
	Name string `json:"name"`
	// Description is what the scenario is for.
	Description string `json:"description,omitempty"`
	// Arch is the guest's architecture, as `uname -m` prints it.
	Arch arch.Arch `json:"arch"`
	// Entropy is where the guest's random number generator can get its seed.
	Entropy Entropy `json:"entropy"`
	// Initramfs is what the kernel unpacks and runs first.
	Initramfs Initramfs `json:"initramfs"`
	// Initrd is the file of an initramfs of the user's own.
	Initrd string `json:"initrd,omitempty"`
	// WithAgent puts the agent behind Initrd as one more archive.
	WithAgent bool `json:"with_agent,omitempty"`
	// ImageRelease is the distribution's release whose dracut, systemd and libraries the
	// initramfs and the ext4 root are made of; "" is release.Default.
	ImageRelease release.Release `json:"image_release,omitempty"`
	// Root is the root file system.
	Root Root `json:"root"`
	// RootDir is the directory that the guest sees as its root file system, read-only
	// and below an overlay.
	RootDir string `json:"root_dir,omitempty"`
	// Disk is the image of a disk, raw or qcow2, that is never written.
	Disk string `json:"disk,omitempty"`
	// BootDisk has the machine's firmware boot the disk, which brings its own boot
	// loader and kernel.
	BootDisk bool `json:"boot_disk,omitempty"`
	// Firmware is what the machine starts with.
	Firmware Firmware `json:"firmware,omitempty"`
	// Machine is the machine type, see arch.Facts.Machines; "" is the first.
	Machine string `json:"machine,omitempty"`
	// CPUModel is QEMU's name of the CPU model; "" is what suits the accelerator.
	CPUModel string `json:"cpu_model,omitempty"`
	// Devices are given to QEMU's -device as they are.
	Devices []string `json:"devices,omitempty"`
	// QEMUArgs are given to QEMU as they are, after all others.
	QEMUArgs []string `json:"qemu_args,omitempty"`
	// Modules are loaded by the tiny initramfs, with what they depend on,
	// beside those that its entropy source and its agent need.
	Modules []string `json:"modules,omitempty"`
	// Cmdline is added to the kernel command line.
	Cmdline []string `json:"cmdline,omitempty"`
	// MemoryMiB is the guest's memory in MiB.
	MemoryMiB int `json:"memory_mib"`
	// CPUs is the number of vCPUs.
	CPUs int `json:"cpus"`
	// Network gives the guest QEMU's user-mode network.
	Network bool `json:"network,omitempty"`
	// ExternalModule builds a small module for the kernel, out of its tree, loads
	// it, and tries copies of it that do not fit.
	ExternalModule bool `json:"external_module,omitempty"`
	// WrongHMAC puts a wrong FIPS checksum beside the kernel.
	WrongHMAC bool `json:"wrong_hmac,omitempty"`
	// SeedLibrary has systemd of dracut's initramfs load a library whose
	// constructor waits for random numbers (package seedlib).
	SeedLibrary bool `json:"seed_library,omitempty"`
	// Without names what the command line leaves out: the console, or that sysrq is
	// allowed. The guest's memory can be read all the same.
	Without []Facility `json:"without,omitempty"`
	// Deadline bounds the boot in wall time; 0 means: scaled from the
	// calibration.
	Deadline time.Duration `json:"deadline_ns,omitempty"`
	// Expect is what must happen.
	Expect Expect `json:"expect"`
}

// Facility is what a boot can do without.
type Facility string

// The facilities.
const (
	Console Facility = "console" // console= and earlycon=
	SysRq   Facility = "sysrq"   // sysrq_always_enabled
)

// Lacks says that the command line leaves a facility out.
func (s Scenario) Lacks(f Facility) bool { return slices.Contains(s.Without, f) }

// ExpectedOutcome is Expect.Outcome with its default.
func (s Scenario) ExpectedOutcome() Outcome {
	if s.Expect.Outcome == "" {
		return Booted
	}
	return s.Expect.Outcome
}

// TinyModules are all modules that the tiny initramfs must load.
func (s Scenario) TinyModules() []string {
	var out []string
	if s.Entropy.Device() || s.Lacks(Console) {
		out = append(out, "virtio_pci")
	}
	if s.Entropy.Device() {
		out = append(out, "virtio_rng")
	}
	if s.RootDir != "" {
		out = append(out, "virtio_pci", "9pnet_virtio", "9p", "overlay")
	}
	if s.Lacks(Console) { // the agent's reports need another way
		out = append(out, "virtio_console")
	}
	return append(out, s.Modules...)
}

// Fragments names the configuration fragments of package kbuild that a kernel needs
// to boot in the scenario with everything built in. btf is left out: it needs pahole.
func (s Scenario) Fragments() []string {
	names := []string{"console", "machine", "virtio", "userspace", "introspect"}
	if s.Initramfs.Present() {
		names = append(names, "initrd")
	}
	if s.Root.Wanted() {
		names = append(names, "root")
	}
	if s.Initramfs.FIPS() {
		names = append(names, "fips")
	}
	return names
}

// LoadsModules says whether a kernel with Fragments loads modules of its own build:
// dracut packs what it finds, and the tiny initramfs what the scenario names beside
// the machine's drivers, which are built in.
func (s Scenario) LoadsModules() bool { return len(s.Modules) > 0 || s.Root.Wanted() }

// The ranges that Validate checks.
const (
	minMemoryMiB, maxMemoryMiB = 64, 1 << 20
	maxCPUs                    = 256
)

// Validate says in one error everything that is wrong with the scenario.
func (s Scenario) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !s.Arch.Valid() {
		bad("arch %q: use %s", s.Arch, arch.List())
	}
	oneOf(&errs, "entropy", s.Entropy, Entropies())
	oneOf(&errs, "initramfs", s.Initramfs, Initramfses())
	oneOf(&errs, "root", s.Root, Roots())
	if !s.ImageRelease.Valid() {
		bad("image_release %q: use %s", s.ImageRelease, release.List())
	}
	s.validateGuest(bad)
	s.validateExpect(bad)
	if s.Expect.Outcome != "" {
		oneOf(&errs, "expected outcome", s.Expect.Outcome, []Outcome{Booted, Hung, Panicked, Rebooting, Stopped})
	}
	if s.Expect.Findings != "" {
		oneOf(&errs, "expected findings", s.Expect.Findings, []Findings{FindingsNone, FindingsWarnings, FindingsAny})
	}
	if s.MemoryMiB < minMemoryMiB || s.MemoryMiB > maxMemoryMiB {
		bad("memory %d MiB: use %d to %d", s.MemoryMiB, minMemoryMiB, maxMemoryMiB)
	}
	if s.CPUs < 1 || s.CPUs > maxCPUs {
		bad("cpus %d: use 1 to %d", s.CPUs, maxCPUs)
	}
	if s.Deadline < 0 {
		bad("deadline %s: use a positive time, or 0 for the calibrated one", s.Deadline)
	}
	if s.Initramfs.NeedsRoot() && !s.Root.Wanted() && s.Disk == "" {
		bad("initramfs %s needs a root file system", s.Initramfs)
	}
	for _, need := range []struct {
		field string
		set   bool
		can   func(Initramfs) bool
	}{
		{"wrong_hmac", s.WrongHMAC, Initramfs.FIPS},
		{"seed_library", s.SeedLibrary, Initramfs.Systemd},
		{"modules", len(s.Modules) > 0, Initramfs.LoadsNamed},
		{"external_module", s.ExternalModule, Initramfs.LoadsNamed},
	} {
		if need.set && !need.can(s.Initramfs) {
			bad("%s needs initramfs %s, not %s", need.field, those(need.can), s.Initramfs)
		}
	}
	for _, w := range s.Without {
		oneOf(&errs, "without", w, []Facility{Console, SysRq})
	}
	for _, w := range s.Cmdline {
		if strings.ContainsAny(w, "\n\r\x00") {
			bad("kernel command line %q: no line breaks or NUL bytes", w)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("scenario %s: %s", s.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

func oneOf[T ~string](errs *[]error, what string, v T, allowed []T) {
	if !slices.Contains(allowed, v) {
		*errs = append(*errs, fmt.Errorf("%s %q: use %s", what, v, list(allowed)))
	}
}

func list[T ~string](vs []T) string {
	var words []string
	for _, v := range vs {
		words = append(words, string(v))
	}
	return strings.Join(words, ", ")
}
