package plan

import (
	"context"
	"os"
	"path/filepath"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/calibrate"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel"
)

// Again plans the boot of a guest that was booted before: r is what it showed, spec its
// machine and file its kernel, on this host; file is "" where a disk brings the kernel.
// The accelerator is the planner's; nothing is built.
func (p *Planner) Again(ctx context.Context, r *result.Result, spec machine.Spec, file string) (harness.Request, error) {
	sc := spec.Scenario
	if err := sc.Validate(); err != nil {
		return harness.Request{}, usage.Wrap(err)
	}
	if sc.ExternalModule {
		return harness.Request{}, usage.Errorf("boot %s again: it tries modules that were built for it: use `unwedge boot -s module`", sc.Name)
	}
	c := &candidate.Candidate{Origin: r.Kernel.Origin, Kernel: &kernel.Kernel{Path: sc.Disk, Arch: sc.Arch, Format: "disk"}}
	if file != "" {
		var err error
		if c, err = p.sameKernel(ctx, r, file); err != nil {
			return harness.Request{}, err
		}
	}
	h, err := p.Host(ctx, sc.Arch)
	if err != nil {
		return harness.Request{}, err
	}
	spec.QEMU, spec.Accel, spec.CPULacks, spec.OneThread = h.QEMU, h.Accel, h.CPULacks, oneThread(sc, h.Version)
	if err := there(spec); err != nil {
		return harness.Request{}, err
	}
	k := r.Kernel
	k.Path, k.Booted, k.Running = c.Kernel.Path, spec.Kernel, nil
	req := harness.Request{
		Machine: spec, Kernel: k, Version: p.Version, QEMUVersion: h.Version.String(), AccelWhy: h.AccelWhy,
		Calibration: calibrate.Open(filepath.Join(p.State, "calibration")), Kind: kind(sc),
	}
	return p.observed(req, c)
}

// sameKernel is the kernel in a file, which must be the one that was booted.
func (p *Planner) sameKernel(ctx context.Context, r *result.Result, file string) (*candidate.Candidate, error) {
	c, err := p.Candidate(ctx, file, r.Scenario.Arch)
	if err != nil {
		return nil, err
	}
	if c.Kernel.SHA256 != r.Kernel.SHA256 {
		return nil, usage.Errorf("boot %s again: it is not the kernel that was booted: its checksum is %.12s…, not %.12s…", file, c.Kernel.SHA256, r.Kernel.SHA256)
	}
	c.Origin = r.Kernel.Origin
	return c, nil
}

// there says which file of a machine is missing.
func there(spec machine.Spec) (err error) {
	spec.Rename(func(role, path string) string {
		if _, serr := os.Stat(path); serr != nil && err == nil {
			err = usage.Errorf("boot again: the %s %s is gone: use `unwedge boot`", role, path)
		}
		return path
	})
	return err
}
