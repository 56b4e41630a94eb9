package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/guestbin"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/modules"
	"github.com/unwedge/unwedge/images/rootfs"
	"github.com/unwedge/unwedge/images/seedlib"
	"github.com/unwedge/unwedge/images/tiny"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// initrdName is the file in the cache entry of an initramfs.
const initrdName = "initrd"

// imagesOf says how each kind of initramfs gets into a request, with the disks and
// kernel arguments that belong to it.
var imagesOf = map[scenarios.Initramfs]func(*Planner, context.Context, *harness.Request, *candidate.Candidate) error{
	scenarios.NoInitrd:   func(*Planner, context.Context, *harness.Request, *candidate.Candidate) error { return nil },
	scenarios.Tiny:       (*Planner).addTiny,
	scenarios.Dracut:     (*Planner).addDistro,
	scenarios.DracutFIPS: (*Planner).addDistro,
	scenarios.OwnInitrd:  (*Planner).addOwnInitrd,
}

// addImages adds the initramfs, the disks and their kernel arguments.
func (p *Planner) addImages(ctx context.Context, req *harness.Request, c *candidate.Candidate) error {
	kind := req.Machine.Scenario.Initramfs
	add, ok := imagesOf[kind]
	if !ok {
		return fmt.Errorf("build initramfs: no kind %q", kind)
	}
	return add(p, ctx, req, c)
}

func (p *Planner) addTiny(ctx context.Context, req *harness.Request, c *candidate.Candidate) error {
	sc := req.Machine.Scenario
	o := tiny.Options{Release: c.Kernel.Release}
	mods := tinyModules(req)
	var err error
	if o.Agent, err = guestbin.Binary(ctx, guestbin.Agent, sc.Arch); err != nil {
		return err
	}
	if o.Busybox, err = p.busybox(ctx, sc.Arch); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		req.Notes = append(req.Notes, "the tiny initramfs has no busybox: "+err.Error())
	}
	inputs := []string{"1", c.Kernel.SHA256, c.ModulesDir, strings.Join(mods, " "), digest(o.Agent), digest(o.Busybox)}
	if sc.ExternalModule {
		if o.Files, err = p.externalModule(ctx, req, c); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(o.Files)) {
			inputs = append(inputs, name, digest(o.Files[name]))
		}
	}
	key := cache.Key{Kind: "tiny", Inputs: inputs}
	var missing []string
	dir, err := p.Store.Get(ctx, key, func(_ context.Context, dir string) error {
		if missing, err = addModules(&o, c, mods); err != nil {
			return err
		}
		b, err := tiny.Build(o)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, missingName), []byte(strings.Join(missing, " ")), 0o644); err != nil {
			return fmt.Errorf("keep tiny initramfs: %w", err)
		}
		return os.WriteFile(filepath.Join(dir, initrdName), b, 0o644)
	})
	if err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(dir, missingName))
	if names := notBuiltIn(c.Kernel.Config, strings.Fields(string(b))); err == nil && len(names) > 0 {
		req.Notes = append(req.Notes, fmt.Sprintf("the kernel came without the modules %s, and does not have them built in: devices that need them are not driven",
			strings.Join(names, " ")))
	}
	req.Machine.Initrd = filepath.Join(dir, initrdName)
	return nil
}

// missingName is the file that lists the modules a kernel did not have.
const missingName = "missing-modules"

// addModules puts the named modules into a tiny initramfs.
func addModules(o *tiny.Options, c *candidate.Candidate, names []string) (missing []string, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	if c.ModulesDir == "" {
		return names, nil
	}
	set, err := modules.Open(c.ModulesDir)
	if err != nil {
		return nil, err
	}
	o.Modules, missing, err = tiny.Collect(set, names)
	return missing, err
}

// moduleOptions are the options of modules that scenarios ask for by themselves.
var moduleOptions = map[string]string{"virtio_pci": "CONFIG_VIRTIO_PCI", "virtio_rng": "CONFIG_HW_RANDOM_VIRTIO"}

// notBuiltIn leaves out the modules that a configuration has built in: a kernel that
// was built without modules tells it nowhere else. The configuration may be nil.
func notBuiltIn(config *kernel.Config, names []string) []string {
	return slices.DeleteFunc(names, func(n string) bool { return config.Get(moduleOptions[n]) == "y" })
}

// busybox returns the distribution's static busybox for an arch. It is for a
// person with --append unwedge.shell; a boot does without.
func (p *Planner) busybox(ctx context.Context, a arch.Arch) ([]byte, error) {
	path, err := candidate.ArchiveFile(ctx, "busybox-static", "/bin/busybox", candidate.Options{Arch: a, Mirror: p.Mirror, Cache: p.Store})
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read busybox: %w", err)
	}
	return b, nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// addDistro adds a dracut initramfs, the ext4 root and, for FIPS, the boot disk
// whose kernel checksum dracut checks.
func (p *Planner) addDistro(ctx context.Context, req *harness.Request, c *candidate.Candidate) error {
	sc := req.Machine.Scenario
	o := rootfs.Options{Arch: sc.Arch, Release: sc.ImageRelease, Mirror: p.Mirror, Store: p.Store}
	k := rootfs.Kernel{Release: c.Kernel.Release, ModulesDir: c.ModulesDir}
	flavour := rootfs.Flavour{FIPS: sc.Initramfs.FIPS()}
	base, err := rootfs.Dracut(ctx, o, k, flavour)
	if err != nil {
		return err
	}
	agent, err := guestbin.Binary(ctx, guestbin.Agent, sc.Arch)
	if err != nil {
		return err
	}
	var seed []byte
	if sc.SeedLibrary {
		if seed, err = seedlib.Build(sc.Arch); err != nil {
			return err
		}
	}
	overlay, err := rootfs.Overlay(agent, seed)
	if err != nil {
		return err
	}
	if req.Machine.Initrd, err = p.withOverlay(ctx, base, overlay); err != nil {
		return err
	}
	req.Machine.KernelArgs = rootfs.Cmdline(flavour)
	if sc.Root.Attached() {
		root, err := rootfs.Ext4(ctx, o)
		if err != nil {
			return err
		}
		req.Machine.Disks = append(req.Machine.Disks, machine.Disk{Path: root, Serial: "unwedge-root"})
	}
	if !flavour.FIPS {
		return nil
	}
	disk, err := rootfs.BootDisk(ctx, o, k, c.Kernel.Path, rootfs.BootOptions{CorruptHMAC: sc.WrongHMAC})
	if err != nil {
		return err
	}
	req.Machine.Disks = append(req.Machine.Disks, machine.Disk{Path: disk, Serial: "unwedge-boot"})
	return nil
}

// withOverlay puts an archive behind dracut's: the kernel unpacks them one after
// the other, so dracut need not run again for a new agent.
func (p *Planner) withOverlay(ctx context.Context, base string, overlay []byte) (string, error) {
	dir, err := p.Store.Get(ctx, cache.Key{Kind: "initrd", Inputs: []string{"1", base, digest(overlay)}},
		func(_ context.Context, dir string) error {
			first, err := os.ReadFile(base)
			if err != nil {
				return fmt.Errorf("read dracut's initramfs: %w", err)
			}
			if err := os.WriteFile(filepath.Join(dir, initrdName), append(first, overlay...), 0o644); err != nil {
				return fmt.Errorf("keep initramfs: %w", err)
			}
			return nil
		})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, initrdName), nil
}
