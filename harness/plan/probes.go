package plan

import (
	"slices"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/result"
)

// addProbes prepares the machine for the experiments: a place to plug a device
// into must be there from the start.
func (p *Planner) addProbes(req *harness.Request) {
	req.Probes = p.Probes
	req.Machine.Slot = slices.Contains(p.Probes, result.ProbeVirtioRNG)
}

// tinyModules are the modules that the tiny initramfs loads: those of the
// scenario, and the driver of the device that an experiment plugs in. Nothing
// would load that once the boot hangs.
func tinyModules(req *harness.Request) []string {
	sc := req.Machine.Scenario
	if req.Machine.Slot && !sc.Entropy.Device() {
		return append([]string{"virtio_pci", "virtio_rng"}, sc.TinyModules()...)
	}
	return sc.TinyModules()
}
