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

	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Entropy says where the guest's random number generator can get its seed.
type Entropy string

const (
	// VirtioRNG gives the guest a virtio-rng device and nothing else, so that
	// it differs from None in this one thing.
	VirtioRNG Entropy = "virtio-rng"
	// None withholds whatever the machine could hand over: no device, no
	// RDRAND or RNDR that the kernel trusts, no boot-loader or device-tree
	// seed. What the kernel gathers by itself remains.
	None Entropy = "none"
	// Host is the machine as QEMU makes it, with all it hands over.
	Host Entropy = "host"
)

// Initramfs says what the kernel unpacks and runs first.
type Initramfs string

// The kinds of initramfs.
const (
	Tiny       Initramfs = "tiny"        // made in Go: the agent as /init, and busybox
	Dracut     Initramfs = "dracut"      // the distribution's dracut, with systemd
	DracutFIPS Initramfs = "dracut-fips" // the same with the fips module, booted with fips=1
	NoInitrd   Initramfs = "none"        // no initramfs at all
)

// FIPS says whether the kernel is booted in FIPS mode.
func (i Initramfs) FIPS() bool { return i == DracutFIPS }

// Root says which root file system there is.
type Root string

// The kinds of root file system.
const (
	NoRoot  Root = "none"    // the initramfs is all there is
	Ext4    Root = "ext4"    // a small ext4 disk with systemd
	Missing Root = "missing" // the command line names the ext4 disk, the machine lacks it
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
	Stage agentproto.Stage `yaml:"stage,omitempty" json:"stage,omitempty"`
	// Cause must be the diagnosis's cause where it is not empty.
	Cause string `yaml:"cause,omitempty" json:"cause,omitempty"`
}

// Scenario is one cell: everything that decides how a kernel is booted and
// what must happen.
type Scenario struct {
	// Name identifies the cell: the template's name and its axis values.
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Arch        arch.Arch `json:"arch"`
	Entropy     Entropy   `json:"entropy"`
	Initramfs   Initramfs `json:"initramfs"`
	Root        Root      `json:"root"`
	// Modules are loaded by the tiny initramfs, with what they depend on,
	// beside those that its entropy source and its agent need.
	Modules []string `json:"modules,omitempty"`
	// Cmdline is added to the kernel command line.
	Cmdline []string `json:"cmdline,omitempty"`
	// MemoryMiB is the guest's memory, CPUs the number of its vCPUs.
	MemoryMiB int `json:"memory_mib"`
	CPUs      int `json:"cpus"`
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
	// Without names what the kernel is not told of: a console to print to, or that
	// sysrq is allowed. The guest's memory answers all the same.
	Without []Facility `json:"without,omitempty"`
	// Deadline bounds the boot in wall time; 0 means: scaled from the
	// calibration.
	Deadline time.Duration `json:"deadline_ns,omitempty"`
	Expect   Expect        `json:"expect"`
}

// Facility is what a boot can do without.
type Facility string

// The facilities.
const (
	Console Facility = "console" // console= and earlycon=
	SysRq   Facility = "sysrq"   // sysrq_always_enabled
)

// Lacks says whether the kernel is not told of a facility.
func (s Scenario) Lacks(f Facility) bool { return slices.Contains(s.Without, f) }

// BootedStage is the agent's stage at which the cell counts as booted.
func (s Scenario) BootedStage() agentproto.Stage {
	switch {
	case s.Expect.Stage != "":
		return s.Expect.Stage
	case s.Root == NoRoot:
		return agentproto.StageUserspace
	default:
		return agentproto.StageMultiUser
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
	if s.Entropy == VirtioRNG || s.Lacks(Console) {
		out = append(out, "virtio_pci")
	}
	if s.Entropy == VirtioRNG {
		out = append(out, "virtio_rng")
	}
	if s.Lacks(Console) { // the agent's reports need another way
		out = append(out, "virtio_console")
	}
	return append(out, s.Modules...)
}

// The ranges that Validate checks.
const (
	minMemoryMiB, maxMemoryMiB = 64, 1 << 20
	maxCPUs                    = 256
)

// Validate says in one error all that is wrong with the scenario.
func (s Scenario) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !s.Arch.Valid() {
		bad("arch %q: use %s", s.Arch, list(arch.All()))
	}
	oneOf(&errs, "entropy", s.Entropy, Entropies())
	oneOf(&errs, "initramfs", s.Initramfs, Initramfses())
	oneOf(&errs, "root", s.Root, []Root{NoRoot, Ext4, Missing})
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
	if s.WrongHMAC && !s.Initramfs.FIPS() {
		bad("wrong_hmac needs initramfs %s, not %s", DracutFIPS, s.Initramfs)
	}
	if (s.Initramfs == Dracut || s.Initramfs == DracutFIPS) && s.Root == NoRoot {
		bad("initramfs %s needs a root file system", s.Initramfs)
	}
	if s.SeedLibrary && s.Initramfs != Dracut && s.Initramfs != DracutFIPS {
		bad("seed_library needs initramfs %s or %s, not %s", Dracut, DracutFIPS, s.Initramfs)
	}
	if len(s.Modules) > 0 && s.Initramfs != Tiny {
		bad("modules are for initramfs %s; dracut has its own", Tiny)
	}
	if s.ExternalModule && s.Initramfs != Tiny {
		bad("external_module needs initramfs %s, not %s", Tiny, s.Initramfs)
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

// Entropies lists the entropy sources.
func Entropies() []Entropy { return []Entropy{VirtioRNG, None, Host} }

// Initramfses lists the kinds of initramfs.
func Initramfses() []Initramfs { return []Initramfs{Tiny, Dracut, DracutFIPS, NoInitrd} }

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
