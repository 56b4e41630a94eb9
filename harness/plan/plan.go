// Package plan gets everything ready that a boot needs: it resolves the tools,
// proves the accelerator, builds or finds the images, and puts it all into a
// harness.Request. It is where scenarios and images meet.
package plan

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/calibrate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/kimage"
	"github.com/unwedge/unwedge/harness/internal/identity"
	"github.com/unwedge/unwedge/harness/internal/kerneltypes"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/qemu"
	"github.com/unwedge/unwedge/harness/internal/qemu/accel"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// minMajor.minMinor is the oldest QEMU that has all that is used:
// dtb-randomness=off came with 7.2.
const minMajor, minMinor = 7, 2

// Planner plans boots. It is safe for use by several goroutines; what it learns
// of the host it asks once.
type Planner struct {
	// Store is the cache of images.
	Store *cache.Store
	// State is where calibrations and the accelerator's proof are kept.
	State string
	// Version is unwedge's own.
	Version string
	// Mirror is the Debian mirror; "" means the host's own.
	Mirror string
	// Force, where not empty, is the accelerator to use without proof.
	Force result.Accel
	// Probes are the experiments that boots which hang are to be put to; they
	// need preparation, see Request.Probes.
	Probes []result.ProbeName

	mu    sync.Mutex
	hosts map[arch.Arch]*Host
}

// New returns a Planner over the user's own cache and state directory, so that
// what one program has made the others find.
func New(version string) (*Planner, error) {
	store, err := cache.Default()
	if err != nil {
		return nil, err
	}
	state, err := rundir.Base()
	if err != nil {
		return nil, err
	}
	return &Planner{Store: store, State: state, Version: version}, nil
}

// Host is what boots guests of one arch on this machine.
type Host struct {
	QEMU     string
	Version  qemu.VersionInfo
	Accel    result.Accel
	AccelWhy string
	// CPULacks are features that KVM cannot give here: guests do without.
	CPULacks []string
}

// Host finds QEMU for an arch and proves its accelerator, once.
func (p *Planner) Host(ctx context.Context, a arch.Arch) (Host, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.hosts[a]; h != nil {
		return *h, nil
	}
	f := a.Facts()
	path, err := exec.LookPath(f.QEMU)
	if err != nil {
		return Host{}, fmt.Errorf("find %s: it is not installed: run `unwedge doctor` for the command that installs it", f.QEMU)
	}
	v, err := qemu.CachedVersion(ctx, path, p.State)
	if err != nil {
		return Host{}, err
	}
	if !v.AtLeast(minMajor, minMinor) {
		return Host{}, fmt.Errorf("%s is QEMU %s: %d.%d or later is needed", path, v, minMajor, minMinor)
	}
	h := Host{QEMU: path, Version: v}
	if p.Force != "" {
		h.Accel, h.AccelWhy = p.Force, "asked for with --accel"
	} else if err := p.prove(ctx, a, &h); err != nil {
		return Host{}, err
	}
	if p.hosts == nil {
		p.hosts = map[arch.Arch]*Host{}
	}
	p.hosts[a] = &h
	return h, nil
}

func (p *Planner) prove(ctx context.Context, a arch.Arch, h *Host) error {
	got, err := accel.Probe(ctx, a, h.QEMU, accel.Options{Dir: p.State})
	if err != nil {
		return err
	}
	h.Accel, h.AccelWhy, h.CPULacks = result.Accel(got.Name), got.Reason, got.Lacks
	return nil
}

// Candidate resolves a user's kernel argument.
func (p *Planner) Candidate(ctx context.Context, arg string, a arch.Arch) (*candidate.Candidate, error) {
	return candidate.Resolve(ctx, arg, candidate.Options{Arch: a, Mirror: p.Mirror, Cache: p.Store})
}

// Running finds the kernel that a guest runs among the files on this machine, by what
// its memory says of it; first are files to look at first. A kernel that is not found
// gives an error that says where it was looked for.
func (p *Planner) Running(ctx context.Context, r identity.Running, a arch.Arch, first []string) (*candidate.Candidate, error) {
	c, looked, err := candidate.Find(ctx, candidate.Search{Is: r.Is, Releases: r.Releases(), BuildID: r.BuildID, First: first},
		candidate.Options{Arch: a, Mirror: p.Mirror, Cache: p.Store})
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, usage.Errorf("the guest runs %s: no such kernel in %s: name its kernel with --kernel", r, strings.Join(looked, ", "))
	}
	return c, nil
}

// UnsupportedError says that a scenario makes no sense for a kernel: booting it
// would tell nothing about the kernel that is not known before.
type UnsupportedError struct{ Scenario, Release, Reason string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("scenario %s is not for kernel %s: %s", e.Scenario, e.Release, e.Reason)
}

// maxCmdline is the kernels' COMMAND_LINE_SIZE of 2048 less the NUL
// (arch/x86/include/asm/setup.h, arch/arm64/include/uapi/asm/setup.h).
const maxCmdline = 2047

// Supported checks what a scenario needs of a kernel, as far as its config is
// known. What is missing is an UnsupportedError.
func Supported(sc scenarios.Scenario, k *kernel.Kernel) error {
	if sc.Initramfs.FIPS() && k.Config != nil && k.Config.Get("CONFIG_CRYPTO_FIPS") != "y" {
		return &UnsupportedError{sc.Name, k.Release, "it was built without CONFIG_CRYPTO_FIPS, so it does not know fips=1"}
	}
	if why := lacks(sc, k.Config); why != "" {
		return &UnsupportedError{sc.Name, k.Release, why}
	}
	if sc.ExternalModule && k.Config != nil && k.Config.Get("CONFIG_MODULES") != "y" {
		return &UnsupportedError{sc.Name, k.Release, "it was built without CONFIG_MODULES, so it loads none"}
	}
	return nil
}

// Request plans one boot; the caller adds Dir, Keep and Observer. Where the scenario
// boots a disk, the candidate is the kernel that it should bring, or nil.
func (p *Planner) Request(ctx context.Context, sc scenarios.Scenario, c *candidate.Candidate) (harness.Request, error) {
	if err := sc.Validate(); err != nil {
		return harness.Request{}, err
	}
	if c == nil {
		if !sc.BootDisk {
			return harness.Request{}, fmt.Errorf("scenario %s needs a kernel", sc.Name)
		}
		c = &candidate.Candidate{Origin: sc.Disk, Kernel: &kernel.Kernel{Path: sc.Disk, Arch: sc.Arch, Format: "disk"}}
	}
	k := c.Kernel
	if k.Arch != sc.Arch {
		return harness.Request{}, fmt.Errorf("%s is a kernel for %s, and scenario %s is for %s", k.Path, k.Arch, sc.Name, sc.Arch)
	}
	if err := Supported(sc, k); err != nil {
		return harness.Request{}, err
	}
	h, err := p.Host(ctx, sc.Arch)
	if err != nil {
		return harness.Request{}, err
	}
	file, why, err := bootFile(sc, k)
	if err != nil {
		return harness.Request{}, err
	}
	req := harness.Request{
		Machine: machine.Spec{QEMU: h.QEMU, Scenario: sc, Accel: h.Accel, CPULacks: h.CPULacks, OneThread: oneThread(sc, h.Version), Kernel: file},
		Kernel: result.Kernel{
			Origin: c.Origin, Path: k.Path, Format: string(k.Format), Release: k.Release, BuildID: k.BuildID,
			SHA256: k.SHA256, Booted: file, BootedAs: why, Fault: seededFault(k.Path),
		},
		Version: p.Version, QEMUVersion: h.Version.String(), AccelWhy: h.AccelWhy,
		Calibration: calibrate.Open(filepath.Join(p.State, "calibration")), Kind: kind(sc),
	}
	p.addProbes(&req)
	if err := p.addImages(ctx, &req, c); err != nil {
		return harness.Request{}, err
	}
	if err := addOwn(&req); err != nil {
		return harness.Request{}, err
	}
	return p.observed(req, c)
}

// observed adds what the boot is watched and explained by.
func (p *Planner) observed(req harness.Request, c *candidate.Candidate) (harness.Request, error) {
	k, sc := c.Kernel, req.Machine.Scenario
	if k.SHA256 != "" {
		i := lazily(k)
		req.Image = describe(i, memory(i, p.types(c, "")), k.Config.HZ(), p.tree(sc))
	}
	if err := seesTasks(sc, req.Image); err != nil {
		return harness.Request{}, err
	}
	if n := len(req.Machine.Cmdline()); n > maxCmdline {
		return harness.Request{}, &UnsupportedError{sc.Name, k.Release, fmt.Sprintf("the kernel command line has %d bytes, and the kernel cuts it at %d", n, maxCmdline)}
	}
	class := calibrate.Class{Arch: string(sc.Arch), Accel: string(req.Machine.Accel), QEMU: req.QEMUVersion}
	var err error
	req.Reference, req.Calibrated, err = req.Calibration.Reference(class, kind(sc))
	if err != nil {
		req.Notes = append(req.Notes, err.Error())
	}
	return req, nil
}

// types finds the types of a kernel whose image has none.
func (p *Planner) types(c *candidate.Candidate, symbols string) func() (*kimage.Types, error) {
	return kerneltypes.Finder{Candidate: c, Symbols: symbols, Options: candidate.Options{Mirror: p.Mirror, Cache: p.Store}}.Find
}

// oneThread says that several vCPUs must take turns under TCG, see arch.Facts.Threads.
func oneThread(sc scenarios.Scenario, v qemu.VersionInfo) bool {
	since := sc.Arch.Facts().Threads
	return sc.CPUs > 1 && !v.AtLeast(since[0], since[1])
}
