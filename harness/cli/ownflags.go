package cli

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/scenarios"
)

// ownFlags are those that bring parts of the guest.
type ownFlags struct {
	initrd, disk, root                  string
	withAgent, bootDisk                 bool
	firmware, machine, cpuModel, expect string
	devices, qemuArgs                   []string
	alone                               bool // there is no kernel argument
}

func (f *ownFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.initrd, "initrd", "", "boot with this initramfs `FILE`, as it is")
	fs.BoolVar(&f.withAgent, "with-agent", false, "add unwedge's agent to --initrd, as one more cpio archive")
	fs.StringVar(&f.disk, "disk", "", "attach this disk `IMAGE`, raw or qcow2, which is never written; without KERNEL boot it, with --append root=DEVICE have the kernel mount it")
	fs.BoolVar(&f.bootDisk, "boot-disk", false, "boot the boot loader and kernel of --disk; KERNEL is the one that should run")
	fs.StringVar(&f.root, "root", "", "have this `DIR` of the host, or /, as root: read-only, with an overlay in the guest")
	fs.StringVar(&f.firmware, "firmware", "", "firmware: default, uefi (default: the scenario's)")
	fs.StringVar(&f.machine, "machine", "", "machine type: q35, pc, microvm; virt, virt-gic2, virt-gic3, virt-gic4 (default: the scenario's)")
	fs.StringVar(&f.cpuModel, "cpu", "", "QEMU's CPU `MODEL` (default: by accelerator and entropy source)")
	fs.StringVar(&f.expect, "expect", "", "what counts as booted: stage=NAME, init, console=PATTERN, login, systemd[=UNIT], tcp=PORT, task=NAME (default: the scenario's)")
	fs.StringArrayVar(&f.devices, "device", nil, "give QEMU one more -device")
	fs.StringArrayVar(&f.qemuArgs, "qemu-arg", nil, "give QEMU one more argument, after all others")
}

// bootsDisk says that the machine's firmware boots the disk.
func (f *ownFlags) bootsDisk() bool { return f.bootDisk || f.disk != "" && f.alone }

// template changes a template as the flags say.
func (f *ownFlags) template(t *scenarios.Template) error {
	if f.initrd != "" {
		abs, err := filepath.Abs(f.initrd)
		if err != nil {
			return usage.Errorf("--initrd: %w", err)
		}
		t.Initramfs = scenarios.Axis[scenarios.Initramfs]{scenarios.Initramfs(abs)}
	}
	if f.root != "" {
		abs, err := filepath.Abs(f.root)
		if err != nil {
			return usage.Errorf("--root: %w", err)
		}
		t.Root = scenarios.Axis[scenarios.Root]{scenarios.Root(abs)}
	}
	if f.disk != "" {
		abs, err := filepath.Abs(f.disk)
		if err != nil {
			return usage.Errorf("--disk: %w", err)
		}
		t.Disk = scenarios.Axis[string]{abs}
	}
	if f.firmware != "" {
		t.Firmware = scenarios.Axis[scenarios.Firmware]{scenarios.Firmware(f.firmware)}
	}
	if f.machine != "" {
		t.Machine = scenarios.Axis[string]{f.machine}
	}
	if f.cpuModel != "" {
		t.CPUModel = scenarios.Axis[string]{f.cpuModel}
	}
	if f.bootsDisk() {
		if f.initrd != "" || f.root != "" {
			return usage.Errorf("--disk without a kernel brings its own initramfs and root: name a kernel, or leave out --initrd and --root")
		}
		t.BootDisk = true
		t.Initramfs = scenarios.Axis[scenarios.Initramfs]{scenarios.NoInitrd}
		t.Root, t.Modules = nil, nil
	}
	return nil
}

// rootOnDisk makes a kernel with a disk and root= mount that root itself, as QEMU's
// -kernel and -append do: unwedge's own initramfs would never look at it.
func (f *ownFlags) rootOnDisk(t *scenarios.Template, initramfs string, cmdline []string) {
	named := slices.ContainsFunc(slices.Concat(append(slices.Clone(t.Cmdline), cmdline)...), func(words string) bool {
		return slices.ContainsFunc(strings.Fields(words), func(w string) bool { return strings.HasPrefix(w, "root=") })
	})
	if f.disk == "" || f.bootsDisk() || f.initrd != "" || f.root != "" || initramfs != "" || !named {
		return
	}
	t.Initramfs = scenarios.Axis[scenarios.Initramfs]{scenarios.NoInitrd}
	t.Root, t.Modules = nil, nil
	if t.Expect.Sign().Kind == scenarios.ByStage {
		t.Expect = t.Expect.With(scenarios.Sign{})
	}
}

// cell changes a cell as the flags say.
func (f *ownFlags) cell(sc *scenarios.Scenario) error {
	sc.WithAgent = sc.WithAgent || f.withAgent
	sc.Devices = append(sc.Devices[:len(sc.Devices):len(sc.Devices)], f.devices...)
	sc.QEMUArgs = append(sc.QEMUArgs[:len(sc.QEMUArgs):len(sc.QEMUArgs)], f.qemuArgs...)
	if f.expect == "" {
		return nil
	}
	sign, err := scenarios.ParseSign(f.expect)
	if err != nil {
		return usage.Errorf("--expect: %w", err)
	}
	sc.Expect = sc.Expect.With(sign)
	return nil
}
