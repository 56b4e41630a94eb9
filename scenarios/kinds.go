package scenarios

import "strings"

// table holds what each kind of something does, in the order of the lists. A kind
// that is not in it does nothing; Validate refuses it.
type table[K ~string, Does any] []row[K, Does]

type row[K ~string, Does any] struct {
	kind K
	does Does
}

func (t table[K, Does]) of(kind K) (does Does) {
	for _, r := range t {
		if r.kind == kind {
			return r.does
		}
	}
	return does
}

func (t table[K, Does]) kinds() []K {
	var all []K
	for _, r := range t {
		all = append(all, r.kind)
	}
	return all
}

// Entropy says where the guest's random number generator can get its seed.
type Entropy string

// The entropy sources.
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

type source struct{ device, seeded bool }

var sources = table[Entropy, source]{
	{VirtioRNG, source{device: true}},
	{None, source{}},
	{Host, source{seeded: true}},
}

// Entropies lists the entropy sources.
func Entropies() []Entropy { return sources.kinds() }

// Device says that the machine has a virtio-rng device.
func (e Entropy) Device() bool { return sources.of(e).device }

// Seeded says that CPU, firmware and device tree give the guest the seeds they have.
func (e Entropy) Seeded() bool { return sources.of(e).seeded }

// Initramfs says what the kernel unpacks and runs first. How each kind is built
// stands in package plan.
type Initramfs string

// The kinds of initramfs.
const (
	Tiny       Initramfs = "tiny"        // made in Go: the agent as /init, and busybox
	Dracut     Initramfs = "dracut"      // the distribution's dracut, with systemd
	DracutFIPS Initramfs = "dracut-fips" // the same with the fips module, booted with fips=1
	NoInitrd   Initramfs = "none"        // no initramfs at all
	OwnInitrd  Initramfs = "own"         // a file of the user's, Scenario.Initrd
)

type archive struct{ present, systemd, fips, loadsNamed, agent bool }

var archives = table[Initramfs, archive]{
	{Tiny, archive{present: true, loadsNamed: true, agent: true}},
	{Dracut, archive{present: true, systemd: true, agent: true}},
	{DracutFIPS, archive{present: true, systemd: true, fips: true, agent: true}},
	{NoInitrd, archive{}},
	{OwnInitrd, archive{present: true}},
}

// Initramfses lists the kinds of initramfs.
func Initramfses() []Initramfs { return archives.kinds() }

// Present says that there is an initramfs.
func (i Initramfs) Present() bool { return archives.of(i).present }

// FIPS says that the kernel is booted in FIPS mode.
func (i Initramfs) FIPS() bool { return archives.of(i).fips }

// Systemd says that systemd is its init.
func (i Initramfs) Systemd() bool { return archives.of(i).systemd }

// NeedsRoot says that it cannot do without a root file system.
func (i Initramfs) NeedsRoot() bool { return i.Systemd() }

// HasAgent says that it is made with the guest agent in it.
func (i Initramfs) HasAgent() bool { return archives.of(i).agent }

// LoadsNamed says that it loads the modules that a scenario names; dracut chooses
// its own.
func (i Initramfs) LoadsNamed() bool { return archives.of(i).loadsNamed }

// those names the kinds of initramfs that can do something.
func those(can func(Initramfs) bool) string {
	var names []string
	for _, k := range Initramfses() {
		if can(k) {
			names = append(names, string(k))
		}
	}
	return strings.Join(names, " or ")
}

// Root says which root file system there is.
type Root string

// The kinds of root file system.
const (
	NoRoot  Root = "none"    // the initramfs is all there is
	Ext4    Root = "ext4"    // a small ext4 disk with systemd
	Missing Root = "missing" // the command line names the ext4 disk, the machine lacks it
	DirRoot Root = "own"     // a directory of the user's, Scenario.RootDir
)

type disk struct{ wanted, attached bool }

var disks = table[Root, disk]{
	{NoRoot, disk{}},
	{Ext4, disk{wanted: true, attached: true}},
	{Missing, disk{wanted: true}},
	{DirRoot, disk{}},
}

// Roots lists the kinds of root file system.
func Roots() []Root { return disks.kinds() }

// Wanted says that the kernel command line names a root file system.
func (r Root) Wanted() bool { return disks.of(r).wanted }

// Attached says that the machine has the disk.
func (r Root) Attached() bool { return disks.of(r).attached }

// Firmware says what a machine starts with.
type Firmware string

// The kinds of firmware.
const (
	// DefaultFirmware is none where QEMU loads the kernel itself, but for the ROM that
	// starts it, and else what machines of the architecture usually have.
	DefaultFirmware Firmware = "default"
	// UEFI is EDK II, from the distribution's packages.
	UEFI Firmware = "uefi"
)

type firmware struct{ uefi bool }

var firmwares = table[Firmware, firmware]{
	{DefaultFirmware, firmware{}},
	{UEFI, firmware{uefi: true}},
}

// Firmwares lists the kinds of firmware.
func Firmwares() []Firmware { return firmwares.kinds() }

// UEFI says that it is asked for by name.
func (f Firmware) UEFI() bool { return firmwares.of(f).uefi }
