package harness

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
)

// wrongKernel says that another kernel runs than the one that was asked for, "" where it
// is that one, or where it is not known which.
func wrongKernel(got *result.Running, want result.Kernel) string {
	switch {
	case got == nil:
		return ""
	case want.BuildID != "" && got.BuildID != "" && got.BuildID != want.BuildID:
		return fmt.Sprintf("another kernel is running: build ID %s, expected %s", got.BuildID, want.BuildID)
	case want.Release != "" && got.Release != "" && got.Release != want.Release:
		return fmt.Sprintf("another kernel is running: release %s, expected %s", got.Release, want.Release)
	default:
		return ""
	}
}

// wrongState says what of a booted guest is not as the scenario asks, "" if all is.
func wrongState(last agentproto.Report, req Request) string {
	sc := req.Machine.Scenario
	switch {
	case sc.Initramfs.FIPS() && (last.FIPS == nil || *last.FIPS != 1):
		return "FIPS mode was requested but is off: /proc/sys/crypto/fips_enabled is not 1"
	case !sc.Entropy.Device() && !sc.Entropy.Seeded() && last.HWRNG != "none" && last.HWRNG != "":
		return fmt.Sprintf("the guest has no entropy source, yet it uses the hwrng %s", console.SanitizeMax(last.HWRNG, 64))
	default:
		return ""
	}
}
