package result

// Accel names a QEMU accelerator.
type Accel string

// The accelerators unwedge uses.
const (
	KVM Accel = "kvm"
	TCG Accel = "tcg"
)
