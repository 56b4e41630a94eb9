package harness

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/images/agentproto"
)

// wrongState says what of a booted guest is not as the scenario asks, "" if all is.
func wrongState(last agentproto.Report, req Request) string {
	k, sc := req.Kernel, req.Machine.Scenario
	switch {
	case k.BuildID != "" && last.BuildID != "" && last.BuildID != k.BuildID:
		return fmt.Sprintf("another kernel is running: build ID %s, expected %s", console.SanitizeMax(last.BuildID, 64), k.BuildID)
	case k.Release != "" && last.Release != "" && last.Release != k.Release:
		return fmt.Sprintf("another kernel is running: release %s, expected %s", console.SanitizeMax(last.Release, 64), k.Release)
	case sc.Initramfs.FIPS() && (last.FIPS == nil || *last.FIPS != 1):
		return "FIPS mode was requested but is off: /proc/sys/crypto/fips_enabled is not 1"
	case !sc.Entropy.Device() && !sc.Entropy.Seeded() && last.HWRNG != "none" && last.HWRNG != "":
		return fmt.Sprintf("the guest has no entropy source, yet it uses the hwrng %s", console.SanitizeMax(last.HWRNG, 64))
	default:
		return ""
	}
}
