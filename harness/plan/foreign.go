package plan

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/calibrate"
	"github.com/unwedge/unwedge/harness/internal/foreign"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/identity"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/stall"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Watched says how a guest that somebody else started is watched.
type Watched struct {
	// Kernel is its kernel, as boot takes it; "": it is looked for by what the memory says
	// of it. Symbols is a vmlinux of the same build.
	Kernel, Symbols string
	// Expect is what counts as booted, Deadline bounds the watching; zero is the default.
	Expect   scenarios.Expect
	Deadline time.Duration
	// Silent says that its console cannot be read.
	Silent bool
}

// watchKind names foreign guests for the calibration, which learns nothing of them.
const watchKind = "foreign"

// Watch plans the watching of a guest that somebody else started; the caller adds Dir,
// Observer, and the console.
func (p *Planner) Watch(ctx context.Context, f *foreign.Guest, o Watched) (req harness.WatchRequest, err error) {
	sc := scenarios.Scenario{
		Name: "watch/" + string(f.Arch), Arch: f.Arch, Entropy: scenarios.Host, Initramfs: scenarios.NoInitrd, Root: scenarios.NoRoot,
		CPUs: len(f.CPUs), Deadline: o.Deadline, Expect: o.Expect,
	}
	if f.HasVirtioRNG() {
		sc.Entropy = scenarios.VirtioRNG
	}
	host, err := f.Host(ctx)
	if err != nil {
		return req, err
	}
	sc.MemoryMiB = int(host.Memory >> 20)
	k := &runningKernel{planner: p, arch: f.Arch, first: f.Kernels(), symbols: o.Symbols, silent: o.Silent}
	if o.Kernel != "" {
		if err := k.named(ctx, o.Kernel); err != nil {
			return req, err
		}
	}
	accel := result.TCG
	if host.KVM {
		accel = result.KVM
	}
	req = harness.WatchRequest{
		Request: harness.Request{
			Machine: machine.Spec{QEMU: host.Program, Scenario: sc, Accel: accel}, Image: k.image(),
			Version: p.Version, QEMUVersion: host.Version, AccelWhy: "somebody else has started it",
		},
		Kernel: k.facts, Args: f.Args(),
	}
	req.Cmdline, _ = f.Cmdline()
	class := calibrate.Class{Arch: string(f.Arch), Accel: string(accel), QEMU: host.Version}
	req.Reference, req.Calibrated, err = calibrate.Open(filepath.Join(p.State, "calibration")).Reference(class, watchKind)
	if err != nil {
		req.Notes = append(req.Notes, err.Error())
	}
	return req, nil
}

// runningKernel is the kernel of a foreign guest: named, or looked for once it is in the
// guest's memory.
type runningKernel struct {
	planner *Planner
	arch    arch.Arch
	first   []string // files to look at first
	symbols string
	silent  bool

	mu      sync.Mutex
	is      string // named by the user
	found   *candidate.Candidate
	img     stall.Image
	load    func() (*guestmem.Kernel, error)
	payload func() (*image, error)
	checked bool      // its build is that of the memory
	missing error     // it is not on this machine
	next    time.Time // when it is looked for again
}

// again is how long after a vain search the kernel is looked for again.
const again = 20 * time.Second

// named takes the kernel that the user names.
func (r *runningKernel) named(ctx context.Context, arg string) error {
	c, err := r.planner.Candidate(ctx, arg, r.arch)
	if err != nil {
		return err
	}
	if c.Kernel.Arch != r.arch {
		return usage.Errorf("%s is a kernel for %s, but the guest is %s", c.Kernel.Path, c.Kernel.Arch, r.arch)
	}
	if _, err := os.Stat(r.symbols); r.symbols != "" && err != nil {
		return usage.Errorf("--symbols: %w", err)
	}
	r.is = arg
	r.take(c)
	return nil
}

// take takes the kernel, with the lock held or before others use it.
func (r *runningKernel) take(c *candidate.Candidate) {
	r.found, r.payload = c, lazily(c.Kernel)
	r.load = memory(r.payload, r.planner.types(c, r.symbols))
	r.img = describe(r.payload, r.load, c.Kernel.Config.HZ(), "")
}

// in finds the kernel in the guest's memory.
func (r *runningKernel) in(ctx context.Context, ram physmem.Reader) (stall.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.found != nil:
		return r.img, nil
	case r.missing != nil && time.Now().Before(r.next):
		return r.img, r.missing
	}
	running := identity.Find(ctx, ram)
	if ctx.Err() != nil {
		return r.img, context.Cause(ctx)
	}
	if running.String() == "" {
		return r.img, locate.ErrNotLoaded
	}
	c, err := r.planner.Running(ctx, running, r.arch, r.first)
	if err != nil {
		if !r.silent { // the console tells without it
			err = errors.New(err.Error()) // what it is does not matter, and must not end the watching
		}
		r.missing, r.next = err, time.Now().Add(again)
		return r.img, err
	}
	r.take(c)
	return r.img, nil
}

// image is what the kernel's image says, once it is known.
func (r *runningKernel) image() stall.Image {
	known := func() stall.Image {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.img
	}
	return stall.Image{
		Symbol: func(addr uint64) (string, bool) {
			if s := known().Symbol; s != nil {
				return s(addr)
			}
			return "", false
		},
		HZ: func() int { return known().Hertz() },
		Load: func() {
			if load := known().Load; load != nil {
				load()
			}
		},
		Look: func(ctx context.Context, ram physmem.Reader, registers string) (*guestmem.View, error) {
			img, err := r.in(ctx, ram)
			if err != nil {
				return nil, err
			}
			v, err := img.Look(ctx, ram, registers)
			return v, r.same(ctx, ram, v, err)
		},
		UserStacks: func(ctx context.Context, ram physmem.Reader, registers string) ([]guestmem.UserStack, []string, error) {
			img, err := r.in(ctx, ram)
			if err != nil {
				return nil, nil, err
			}
			return img.UserStacks(ctx, ram, registers)
		},
	}
}

// same checks, once, that the kernel is the one that the guest runs; err is that of a
// look at it.
func (r *runningKernel) same(ctx context.Context, ram physmem.Reader, v *guestmem.View, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.found.Kernel
	if errors.Is(err, locate.ErrNotLoaded) && r.is != "" {
		if other := identity.Other(ctx, ram, k.Banner); other != "" {
			return usage.Errorf("the guest runs another kernel: %s, not %s (%s): name the guest's with --kernel", other, k.Path, identity.Short(k.Banner))
		}
	}
	if err != nil || v == nil || r.checked {
		return err
	}
	loaded, err := r.load()
	if err != nil {
		return err
	}
	i, err := r.payload()
	if err != nil {
		return err
	}
	if err := identity.SameBuild(k, i.payload, loaded.Start(), ram, v.PhysBase); err != nil {
		return usage.Wrap(err)
	}
	r.checked = true
	return nil
}

// facts are the kernel's in the Result.
func (r *runningKernel) facts() result.Kernel {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found == nil {
		return result.Kernel{}
	}
	k := r.found.Kernel
	return result.Kernel{
		Origin: r.found.Origin, Path: k.Path, Format: string(k.Format), Release: k.Release, BuildID: k.BuildID, SHA256: k.SHA256,
		BootedAs: "somebody else has booted it", Fault: seededFault(k.Path),
	}
}
