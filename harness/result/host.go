package result

// Accel names a QEMU accelerator.
type Accel string

// The accelerators unwedge uses.
const (
	KVM Accel = "kvm" // the host's CPU runs the guest
	TCG Accel = "tcg" // QEMU emulates the guest's CPU
)
