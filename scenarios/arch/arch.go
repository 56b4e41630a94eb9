// Package arch is the table of what differs between the architectures that
// unwedge boots. It imports nothing of the project, so everything may use it.
package arch

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
)

// Arch names an architecture the way the kernel's `uname -m` does.
type Arch string

// The architectures unwedge boots.
const (
	X86_64  Arch = "x86_64" //nolint:revive // the kernel's own spelling
	AArch64 Arch = "aarch64"
)

// Facts are the per-architecture constants of one Arch.
type Facts struct {
	// GOARCH is Go's name, used to build the guest agent.
	GOARCH string
	// Debian is dpkg's name for the architecture.
	Debian string
	// Source is the folder below arch/ of the kernel's source, make's SRCARCH.
	Source string
	// QEMU is the system emulator's program name.
	QEMU string
	// QEMUPackage is the Debian package that holds QEMU.
	QEMUPackage string
	// User is the name of the user-mode emulator for this architecture.
	User string
	// Console is the kernel's name for the machine's first UART.
	Console string
	// Multiarch is the Debian multiarch triplet of the library directories.
	Multiarch string
	// HasKeyboard says that the machine has a keyboard that a stock kernel
	// drives without modules, so that `send-key` can reach sysrq.
	HasKeyboard bool
	// HasNMI says that QMP `inject-nmi` is documented to work.
	HasNMI bool
}

var table = map[Arch]Facts{
	X86_64: {
		GOARCH: "amd64", Debian: "amd64", Source: "x86", QEMU: "qemu-system-x86_64", QEMUPackage: "qemu-system-x86",
		User: "qemu-x86_64", Console: "ttyS0", Multiarch: "x86_64-linux-gnu", HasKeyboard: true, HasNMI: true,
	},
	AArch64: {
		GOARCH: "arm64", Debian: "arm64", Source: "arm64", QEMU: "qemu-system-aarch64", QEMUPackage: "qemu-system-arm",
		User: "qemu-aarch64", Console: "ttyAMA0", Multiarch: "aarch64-linux-gnu",
	},
}

// All lists every architecture, sorted with x86_64 first.
func All() []Arch { return []Arch{X86_64, AArch64} }

// Facts returns the architecture's constants; the zero Facts for an Arch that
// is not in the table.
func (a Arch) Facts() Facts { return table[a] }

// Valid says whether the architecture is in the table.
func (a Arch) Valid() bool { return slices.Contains(All(), a) }

// Parse accepts the kernel's, Debian's and Go's spelling of an architecture.
func Parse(s string) (Arch, error) {
	for _, a := range All() {
		f := a.Facts()
		if s == string(a) || s == f.Debian || s == f.GOARCH {
			return a, nil
		}
	}
	return "", fmt.Errorf("unknown architecture %q: use one of %s", s, strings.Join(names(), ", "))
}

func names() []string {
	var out []string
	for _, a := range All() {
		out = append(out, string(a))
	}
	return out
}

// Host returns the architecture this program runs on, "" for one that is not
// in the table.
func Host() Arch {
	a, _ := Parse(runtime.GOARCH) // an unknown one has no guest that KVM could run
	return a
}
