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

// Expect is what must happen. The zero value means: boot as far as the images
// allow.
type Expect struct {
	// Outcome is Booted where it is empty.
	Outcome Outcome `yaml:"outcome,omitempty" json:"outcome,omitempty"`
	// Stage is the agent's stage that counts as booted. Empty means
	// multi-user with a root file system and userspace without.
	Stage stage.Stage `yaml:"stage,omitempty" json:"stage,omitempty"`
	// Cause must be the diagnosis's cause where it is not empty.
	Cause string `yaml:"cause,omitempty" json:"cause,omitempty"`
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
	// Root is the root file system.
	Root Root `json:"root"`
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

// BootedStage is the agent's stage at which the cell counts as booted.
func (s Scenario) BootedStage() stage.Stage {
	switch {
	case s.Expect.Stage != "":
		return s.Expect.Stage
	case s.Root.Wanted():
		return stage.MultiUser
	default:
		return stage.Userspace
	}
}

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
	if s.Expect.Outcome != "" {
		oneOf(&errs, "expected outcome", s.Expect.Outcome, []Outcome{Booted, Hung, Panicked, Rebooting, Stopped})
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
	if s.Initramfs.NeedsRoot() && !s.Root.Wanted() {
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
