package plan

import "github.com/unwedge/unwedge/scenarios/arch"

// DefaultKernel is the kernel argument that stands for an architecture where
// the user names no kernel: the distribution kernel that the images were made
// with.
func DefaultKernel(a arch.Arch) string {
	return "deb:linux-image-cloud-" + a.Facts().Debian + "@bookworm"
}
