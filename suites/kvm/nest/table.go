package nest

import (
	"fmt"

	"github.com/unwedge/unwedge/scenarios/arch"
)

// host is how QEMU's TCG is made to be a machine with virtualization, and what makes
// its kernel offer /dev/kvm.
type host struct {
	arch arch.Arch
	// machine are QEMU's arguments. A CPU of 7.2's TCG has SVM with nested paging
	// (target/i386/tcg/sysemu/svm_helper.c), or EL2 with virtualization=on
	// (docs/system/arm/virt.rst).
	machine []string
	// kernel is the host's own kernel; console is its first UART.
	kernel, console string
	// modules are loaded before /dev/kvm is there; where KVM is built in, none.
	modules []string
}

var hosts = []host{
	{
		arch:    arch.X86_64,
		machine: []string{"-machine", "q35", "-cpu", "max", "-smp", "1"},
		kernel:  "deb:linux-image-amd64@bookworm", console: "ttyS0",
		modules: []string{"kvm", "kvm_amd"},
	},
	{
		arch:    arch.AArch64,
		machine: []string{"-machine", "virt,virtualization=on,gic-version=3", "-cpu", "cortex-a57", "-smp", "2"},
		kernel:  "deb:linux-image-arm64@bookworm", console: "ttyAMA0",
	},
}

// channel are the modules by which the host and this program speak.
var channel = []string{"virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"}

func hostFor(a arch.Arch) (host, error) {
	for _, h := range hosts {
		if h.arch == a {
			return h, nil
		}
	}
	return host{}, fmt.Errorf("no host with KVM can be made for the architecture %q", a)
}
