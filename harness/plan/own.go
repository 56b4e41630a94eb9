package plan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/cache"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/guestbin"
	"github.com/unwedge/unwedge/images/guestfile"
	"github.com/unwedge/unwedge/images/kernel"
	"github.com/unwedge/unwedge/images/rootfs"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// addOwnInitrd adds an initramfs of the user's, as it is or with the agent behind it.
func (p *Planner) addOwnInitrd(ctx context.Context, req *harness.Request, _ *candidate.Candidate) error {
	sc := req.Machine.Scenario
	file, err := absolute("initrd", sc.Initrd)
	if err != nil {
		return err
	}
	found, err := guestfile.Initrd(file)
	if err := wrong("initrd", file, err, found, sc.Arch); err != nil {
		return err
	}
	req.Machine.Initrd = file
	if !sc.WithAgent {
		return nil
	}
	agent, err := guestbin.Binary(ctx, guestbin.Agent, sc.Arch)
	if err != nil {
		return err
	}
	overlay, err := rootfs.Overlay(agent, nil)
	if err != nil {
		return err
	}
	sum, err := kernel.HashFile(file)
	if err != nil {
		return err
	}
	dir, err := p.Store.Get(ctx, cache.Key{Kind: "initrd", Inputs: []string{"own 1", sum, digest(overlay)}},
		func(_ context.Context, dir string) error { return join(filepath.Join(dir, initrdName), file, overlay) })
	if err != nil {
		return err
	}
	req.Machine.Initrd = filepath.Join(dir, initrdName)
	// The agent runs first, and then what would have.
	req.Machine.KernelArgs = append(req.Machine.KernelArgs, "rdinit="+agentproto.FirstInit)
	return nil
}

// join writes a file and an archive behind it, from a multiple of four bytes on.
func join(to, first string, overlay []byte) error {
	in, err := os.Open(first)
	if err != nil {
		return fmt.Errorf("read initrd: %w", err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return fmt.Errorf("keep initrd: %w", err)
	}
	n, err := io.Copy(out, in)
	if err == nil {
		_, err = out.Write(append(make([]byte, -n&3), overlay...))
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("keep initrd: %w", err)
	}
	return nil
}

// addOwn adds the user's own disk, directory and firmware.
func addOwn(req *harness.Request) error {
	sc := &req.Machine.Scenario
	if sc.Disk != "" {
		file, err := absolute("disk", sc.Disk)
		if err != nil {
			return err
		}
		format, err := guestfile.Disk(file)
		if err := wrong("disk", file, err, "", sc.Arch); err != nil {
			return err
		}
		req.Machine.Disks = append(req.Machine.Disks, machine.Disk{Path: file, Format: string(format), Boot: sc.BootDisk})
	}
	if sc.RootDir != "" {
		dir, err := absolute("root", sc.RootDir)
		if err != nil {
			return err
		}
		found, err := guestfile.Root(dir)
		if err := wrong("root", dir, err, found, sc.Arch); err != nil {
			return err
		}
		sc.RootDir = dir
		req.Machine.KernelArgs = append(req.Machine.KernelArgs, agentproto.RootArg)
	}
	if sc.UEFI() {
		files, err := uefi(sc.Arch, exists)
		if err != nil {
			return err
		}
		req.Machine.Firmware = files
	}
	return nil
}

func absolute(what, path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", usage.Errorf("%s: %w", what, err)
	}
	return abs, nil
}

// wrong makes a usage error of a file that is not what it was given for, or for another
// architecture than the guest's.
func wrong(what, path string, err error, found, guest arch.Arch) error {
	switch bad := new(guestfile.BadFileError); {
	case errors.As(err, &bad):
		return usage.Errorf("%s %w", what, err)
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	case found != "" && found != guest:
		return usage.Errorf("%s %s: its programs are for %s, and the guest is %s: use --arch, or another kernel", what, path, found, guest)
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// uefi finds the UEFI firmware of an architecture.
func uefi(a arch.Arch, exists func(string) bool) (arch.FirmwareFiles, error) {
	for _, f := range a.Facts().UEFI {
		if exists(f.Code) && exists(f.Vars) {
			return f, nil
		}
	}
	return arch.FirmwareFiles{}, fmt.Errorf("find UEFI firmware for %s: it is not installed: run `unwedge doctor` for the command that installs it", a)
}

// bootFile is the file that the machine gets as its kernel, and why.
func bootFile(sc scenarios.Scenario, k *kernel.Kernel) (file, why string, err error) {
	switch {
	case sc.BootDisk:
		return "", "the disk brings its own", nil
	case !sc.UEFI():
		file, why = k.BootFile()
		return file, why, nil
	case k.Format == kernel.Vmlinux:
		return "", "", &UnsupportedError{sc.Name, k.Release, "UEFI starts a bzImage or an Image with the EFI stub, not a vmlinux"}
	default:
		return k.Path, "UEFI starts it as it is", nil
	}
}

// needs are the options without which a kernel does not boot in a scenario, and what
// needs them.
var needs = []struct {
	when    func(scenarios.Scenario) bool
	options []string
	// module says that a module does.
	module bool
	what   string
}{
	{func(s scenarios.Scenario) bool { return s.UEFI() && !s.BootDisk }, []string{"CONFIG_EFI_STUB"}, false, "UEFI cannot start it"},
	{func(s scenarios.Scenario) bool { return s.RootDir != "" }, []string{"CONFIG_9P_FS", "CONFIG_NET_9P_VIRTIO", "CONFIG_OVERLAY_FS"}, true, "it cannot have a directory of the host as root"},
	{mountsDisk, []string{"CONFIG_VIRTIO_PCI", "CONFIG_VIRTIO_BLK"}, false, "it cannot mount root= of the disk itself: name the disk's own initramfs with --initrd"},
}

// mountsDisk says that the kernel itself has to mount a root file system from the user's
// disk.
func mountsDisk(s scenarios.Scenario) bool {
	return s.Disk != "" && !s.BootDisk && !s.Initramfs.Present() && slices.ContainsFunc(s.Cmdline, func(words string) bool {
		return strings.HasPrefix(words, "root=") || strings.Contains(words, " root=")
	})
}

// lacks says what a kernel lacks for a scenario, "" for nothing or where its
// configuration is not known.
func lacks(sc scenarios.Scenario, config *kernel.Config) string {
	if config == nil {
		return ""
	}
	for _, n := range needs {
		if !n.when(sc) {
			continue
		}
		var missing []string
		for _, o := range n.options {
			switch v := config.Get(o); {
			case v == "y", v == "m" && n.module:
			case v == "m":
				missing = append(missing, o+"=y")
			default:
				missing = append(missing, o)
			}
		}
		if len(missing) > 0 {
			return fmt.Sprintf("it was built without %s, so %s", strings.Join(missing, ", "), n.what)
		}
	}
	return ""
}

// kind names what is booted, for the calibration: times of one kind say nothing of
// another.
func kind(sc scenarios.Scenario) string {
	words := []string{string(sc.Initramfs)}
	if sc.BootDisk {
		words = []string{"disk"}
	}
	for _, w := range []struct {
		is   bool
		name string
	}{{sc.UEFI(), "uefi"}, {sc.RootDir != "", "9p"}, {sc.Machine != "", sc.Machine}, {sc.CPUModel != "", sc.CPUModel}} {
		if w.is {
			words = append(words, w.name)
		}
	}
	return strings.Join(words, "+")
}
