package diagnose

import (
	"slices"

	"github.com/unwedge/unwedge/harness/internal/vcpu"
)

// atRest tells the CPUs that rest from those that keep the guest busy: the load
// is the guest's, and of several CPUs one may make all of it.
func atRest(cpus []VCPU) []VCPU {
	out := slices.Clone(cpus)
	for i := range out {
		if c := &out[i]; !c.User && vcpu.IdleFunction(functionOf(c.Symbol)) {
			c.Idle, c.BusyFraction = true, 0
		}
	}
	return out
}
