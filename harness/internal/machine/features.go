package machine

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/qemu/accel"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// base is the bare machine: nothing that was not asked for, and a QEMU that may
// neither spawn programs nor gain rights. Its RAM is a file that the harness
// reads too (QEMU, memory-backend-file with share=on).
type base struct {
	s   scenarios.Scenario
	ram int // the file that is the guest's RAM, 0 for none
}

func (b base) qemu() []string {
	f := b.s.Arch.Facts()
	machine := b.s.MachineType().QEMU
	if option := b.s.MachineType().Serial; option != "" && b.s.BootDisk {
		machine += "," + option
	}
	if f.WithholdSeeds != "" && !b.s.Entropy.Seeded() {
		machine += "," + f.WithholdSeeds
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
	}
	size := strconv.Itoa(b.s.MemoryMiB) + "M"
	if b.ram != 0 {
		machine += ",memory-backend=ram"
		args = append(args, "-object", fmt.Sprintf("memory-backend-file,id=ram,share=on,size=%s,mem-path=/proc/self/fd/%d", size, b.ram))
	}
	return append(args, "-machine", machine, "-m", size, "-smp", strconv.Itoa(b.s.CPUs))
}

func (base) kernel() []string { return nil }

// cpu is the accelerator and the CPU model. Where the machine must not hand out
// entropy, the model has no RDRAND and no RDSEED.
type cpu struct {
	s         scenarios.Scenario
	accel     result.Accel
	oneThread bool
	lacks     []string // under KVM
}

func (c cpu) qemu() []string {
	name := string(c.accel)
	if c.oneThread && c.accel == result.TCG {
		name += ",thread=single"
	}
	return []string{"-accel", name, "-cpu", c.model()}
}

func (c cpu) model() string {
	f, seeded := c.s.Arch.Facts(), c.s.Entropy.Seeded()
	models := f.CPU
	switch {
	case c.s.CPUModel != "" && seeded:
		return c.s.CPUModel
	case c.s.CPUModel != "":
		return c.s.CPUModel + f.Seedless
	case c.accel == result.KVM && seeded:
		return accel.Without(models.KVM, c.lacks)
	case c.accel == result.KVM:
		return accel.Without(models.KVMSeedless, c.lacks)
	case seeded:
		return models.TCG
	default:
		return models.TCGSeedless
	}
}

func (c cpu) kernel() []string { return c.s.Arch.Facts().KernelArgs }

// boot is direct kernel boot; without a kernel the firmware boots a disk.
type boot struct{ kernelFile, initrd string }

func (b boot) qemu() []string {
	if b.kernelFile == "" {
		return nil
	}
	args := []string{"-kernel", b.kernelFile}
	if b.initrd != "" {
		args = append(args, "-initrd", b.initrd)
	}
	return args
}

func (boot) kernel() []string { return nil }

// ConsoleID is QEMU's id of the chardev of the first UART.
const ConsoleID = "console"

// console is the first UART, from the kernel's first message on.
type console struct {
	s       scenarios.Scenario
	sockets Sockets
}

func (c console) qemu() []string {
	if c.sockets.Console == "" {
		return []string{"-serial", "mon:stdio"}
	}
	// A pipe, because a socket drops bytes of a UART: see package qemu, Pipe.
	return []string{"-chardev", "pipe,id=" + ConsoleID + ",path=" + escape(c.sockets.Console), "-serial", "chardev:" + ConsoleID}
}

// kernel names the early console too, so that a kernel that dies before the driver
// is up still leaves its log.
func (c console) kernel() []string {
	if c.s.Lacks(scenarios.Console) {
		return nil
	}
	f := c.s.Arch.Facts()
	return []string{"earlycon=" + f.EarlyConsole, "console=" + f.Console}
}

// sysrq lets every key through: it beats CONFIG_MAGIC_SYSRQ_DEFAULT_ENABLE and
// a sysctl of user space (drivers/tty/sysrq.c, sysrq_always_enabled).
type sysrq struct{ s scenarios.Scenario }

func (sysrq) qemu() []string { return nil }
func (q sysrq) kernel() []string {
	if q.s.Lacks(scenarios.SysRq) {
		return nil
	}
	return []string{"sysrq_always_enabled"}
}

// entropy is the axis of the same name. See scenarios.Entropy.
type entropy struct{ s scenarios.Scenario }

func (e entropy) qemu() []string {
	if e.s.Entropy.Device() {
		return []string{"-object", "rng-builtin,id=rng0", "-device", "virtio-rng-pci,rng=rng0,id=virtio-rng0"}
	}
	return nil
}

func (e entropy) kernel() []string {
	if e.s.Entropy.Seeded() {
		return nil
	}
	// What the CPU or the boot loader may still hand over is mixed in but not
	// credited (drivers/char/random.c, since 4.19 and 5.4).
	return []string{"random.trust_cpu=off", "random.trust_bootloader=off"}
}

// disk is a virtio-blk disk.
type disk struct {
	d Disk
	i int
}

func (d disk) qemu() []string {
	id := fmt.Sprintf("disk%d", d.i)
	device := "virtio-blk-pci,drive=" + id
	if d.d.Serial != "" {
		device += ",serial=" + escape(d.d.Serial)
	}
	if d.d.Boot {
		device += ",bootindex=0"
	}
	drive := "if=none,format=" + cmp.Or(d.d.Format, "raw") + ",snapshot=on,id=" + id + ",file=" + escape(d.d.Path)
	if d.d.BPS > 0 {
		drive += fmt.Sprintf(",throttling.bps-total=%d", d.d.BPS)
	}
	return []string{
		"-drive", drive,
		"-device", device,
	}
}

func (disk) kernel() []string { return nil }

// uefi is UEFI firmware: its code, which nobody writes, and a copy of its variables
// that vanishes with the guest.
type uefi struct{ files arch.FirmwareFiles }

func (u uefi) qemu() []string {
	return []string{
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + escape(u.files.Code),
		"-drive", "if=pflash,format=raw,unit=1,snapshot=on,file=" + escape(u.files.Vars),
	}
}
func (uefi) kernel() []string { return nil }

// rootDir is a directory of the host's that the guest may read (9p). QEMU itself
// refuses all writes; ids of files on several devices are kept apart.
type rootDir struct{ path string }

func (r rootDir) qemu() []string {
	return []string{
		"-fsdev", "local,id=root,security_model=none,readonly=on,multidevs=remap,path=" + escape(r.path),
		"-device", "virtio-9p-pci,fsdev=root,mount_tag=" + agentproto.RootTag,
	}
}
func (rootDir) kernel() []string { return nil }

// own is what the user has QEMU do besides.
type own struct{ s scenarios.Scenario }

func (o own) qemu() []string {
	var args []string
	for _, d := range o.s.Devices {
		args = append(args, "-device", d)
	}
	return append(args, o.s.QEMUArgs...)
}
func (own) kernel() []string { return nil }

// network is QEMU's user-mode network, without its boot ROM.
type network struct{}

// NetID is QEMU's name of that network.
const NetID = "net0"

func (network) qemu() []string {
	return []string{"-netdev", "user,id=" + NetID, "-device", "virtio-net-pci,netdev=" + NetID + ",romfile="}
}
func (network) kernel() []string { return nil }

// SlotID is QEMU's name of the bus that Spec.Slot makes.
const SlotID = "slot0"

// slot is a PCI Express root port with nothing in it: on q35 and virt alike,
// devices can be plugged into a running guest nowhere else (QEMU, docs/pcie.txt).
type slot struct{}

func (slot) qemu() []string {
	return []string{"-device", "pcie-root-port,id=" + SlotID + ",chassis=1"}
}
func (slot) kernel() []string { return nil }

// monitors are the harness's way in. The guest starts paused, so that no event
// is missed before somebody listens.
type monitors struct{ s Sockets }

func (m monitors) qemu() []string {
	var args []string
	for _, mon := range []struct {
		id string
		fd int
	}{{"qmp", m.s.QMP}, {"seat", m.s.Seat}} {
		if mon.fd != 0 {
			args = append(args, "-chardev", listen(mon.id, mon.fd), "-mon", "chardev="+mon.id+",mode=control")
		}
	}
	if m.s.GDB != 0 {
		args = append(args, "-chardev", listen("gdb", m.s.GDB), "-gdb", "chardev:gdb")
	}
	if m.s.Agent != 0 {
		args = append(args, "-device", "virtio-serial-pci", "-chardev", listen("agent", m.s.Agent),
			"-device", "virtserialport,chardev=agent,name="+agentproto.Port)
	}
	if m.s.QMP != 0 {
		args = append(args, "-S", "-no-shutdown") // a guest that powers off can still be looked at
	}
	return args
}

func (monitors) kernel() []string { return nil }

// listen is a chardev on an inherited listening socket (QEMU 2.12 and later).
func listen(id string, fd int) string {
	return fmt.Sprintf("socket,id=%s,fd=%d,server=on,wait=off", id, fd)
}

// escape doubles commas, as QEMU's option syntax wants (docs/system/qemu-manpage).
func escape(v string) string { return strings.ReplaceAll(v, ",", ",,") }
