// Package machine turns a Scenario, a kernel and its images into the QEMU
// command line that boots them. It is pure: the same Spec always gives the same
// arguments, and nothing is started, opened or looked up here.
package machine

import (
	"strings"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Spec is everything the command line depends on.
type Spec struct {
	// QEMU is the program's path.
	QEMU string
	// Scenario decides arch, memory, entropy, command line.
	Scenario scenarios.Scenario
	// Accel is what the guest runs under.
	Accel result.Accel
	// CPULacks are features of the CPU model that KVM cannot give on this host.
	CPULacks []string
	// OneThread has TCG run all vCPUs in turn on one thread of the host.
	OneThread bool
	// Kernel is the file given to -kernel; "" where the firmware boots a disk.
	Kernel string
	// Firmware are the files of the UEFI firmware, zero without.
	Firmware arch.FirmwareFiles
	// Initrd is the file given to -initrd, "" for none.
	Initrd string
	// Disks are attached as virtio-blk, in order.
	Disks []Disk
	// KernelArgs come from the images (root=, fips=1, …).
	KernelArgs []string
	// Append is the whole kernel command line where a boot is made again; "" makes it of
	// what the machine has.
	Append string
	// Slot reserves a place for one device to be plugged in while the guest
	// runs, see SlotID.
	Slot bool
	// Sockets are the run's; the zero value leaves all of them out and puts
	// the console on standard output, which is the machine a person starts by
	// hand.
	Sockets Sockets
}

// Disk is an image, never written: the guest's writes go to a temporary
// overlay of QEMU's that vanishes with it.
type Disk struct {
	Path string
	// Format is QEMU's name of the format, raw where it is empty.
	Format string
	// Boot has the firmware boot this disk.
	Boot bool
	// Serial is the virtio-blk serial, which udev turns into
	// /dev/disk/by-id/virtio-SERIAL; 20 bytes at most (virtio spec, 5.2.6).
	Serial string
	// BPS makes the disk slow: so many bytes a second go to and from it at
	// most; 0 is as fast as it goes (QEMU, throttling.bps-total).
	BPS int64
}

// Sockets are how the harness reaches the guest: the console by a pair of named
// pipes (PATH.in and PATH.out), the rest by listening Unix sockets that QEMU
// inherits, as the numbers of its file descriptors, and its memory by a file that
// QEMU inherits too. "" and 0 mean that there is none.
type Sockets struct {
	Console string // the first UART
	QMP     int    // the harness's monitor
	Seat    int    // a second monitor, for a person
	GDB     int    // QEMU's gdb stub
	Agent   int    // the guest agent's virtio-serial port
	RAM     int    // the file that is the guest's memory, as large as that
}

// feature is one thing the machine has: it owns both the QEMU arguments and the
// kernel arguments that belong together.
type feature interface {
	qemu() []string
	kernel() []string
}

// Args returns QEMU's arguments, without the program's name.
func (s Spec) Args() []string {
	var args []string
	for _, f := range s.features() {
		args = append(args, f.qemu()...)
	}
	if s.Scenario.BootDisk {
		return args
	}
	return append(args, "-append", s.Cmdline())
}

// Cmdline returns the kernel command line. What the scenario adds comes last,
// because the kernel takes the last of two equal options. A kernel from a disk has
// its boot loader's, which is not known.
func (s Spec) Cmdline() string {
	if s.Scenario.BootDisk {
		return ""
	}
	if s.Append != "" {
		return s.Append
	}
	var words []string
	for _, f := range s.features() {
		words = append(words, f.kernel()...)
	}
	words = append(words, s.KernelArgs...)
	words = append(words, s.Scenario.Cmdline...)
	return strings.Join(words, " ")
}

func (s Spec) features() []feature {
	fs := []feature{
		base{s.Scenario, s.Sockets.RAM},
		cpu{s.Scenario, s.Accel, s.OneThread, s.CPULacks},
		boot{s.Kernel, s.Initrd},
		console{s.Scenario, s.Sockets},
		sysrq{s.Scenario},
		entropy{s.Scenario},
	}
	for i, d := range s.Disks {
		fs = append(fs, disk{d, i})
	}
	if s.Firmware.Code != "" {
		fs = append(fs, uefi{s.Firmware})
	}
	if s.Scenario.RootDir != "" {
		fs = append(fs, rootDir{s.Scenario.RootDir})
	}
	if s.Scenario.NeedsNetwork() {
		fs = append(fs, network{})
	}
	if s.Slot {
		fs = append(fs, slot{})
	}
	return append(fs, monitors{s.Sockets}, own{s.Scenario})
}

// CommandLine returns what a person pastes into a shell to boot the same guest
// by hand, its console on the terminal (Ctrl-A x ends it).
func (s Spec) CommandLine() string {
	s.Sockets = Sockets{}
	var b strings.Builder
	b.WriteString(Quote(s.QEMU))
	args := s.Args()
	for i, a := range args {
		if strings.HasPrefix(a, "-") && i > 0 {
			b.WriteString(" \\\n   ")
		}
		b.WriteByte(' ')
		b.WriteString(Quote(a))
	}
	return b.String()
}

// Quote quotes a word for a POSIX shell where it needs it.
func Quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=.,:/@%+", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
