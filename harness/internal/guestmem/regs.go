package guestmem

import (
	"slices"

	"github.com/unwedge/unwedge/harness/internal/isa"
	"github.com/unwedge/unwedge/harness/internal/model"
)

// ParseRegisters reads the vCPUs that are in 64-bit mode from QEMU's text of `info
// registers -a`. It returns nil for the empty text only.
func ParseRegisters(text string) []model.VCPU {
	return slices.DeleteFunc(isa.ParseRegisters(text), func(v model.VCPU) bool { return v.Narrow })
}
