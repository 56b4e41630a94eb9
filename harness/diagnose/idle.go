package diagnose

import "slices"

// idleFunctions are where a CPU rests (arch/x86/kernel/process.c,
// arch/x86/include/asm/irqflags.h, arch/arm64/kernel/idle.c, drivers/cpuidle).
var idleFunctions = map[string]bool{
	"native_safe_halt": true, "pv_native_safe_halt": true, "arch_safe_halt": true, "default_idle": true, "default_idle_call": true,
	"amd_e400_idle": true, "mwait_idle": true, "mwait_idle_with_hints": true, "intel_idle": true, "poll_idle": true, "acpi_safe_halt": true,
	"acpi_idle_do_entry": true, "arch_cpu_idle": true, "cpu_do_idle": true, "cpuidle_enter_state": true, "cpuidle_idle_call": true,
	"tdx_safe_halt": true, "haltpoll_enter_idle": true,
}

// atRest tells the CPUs that rest from those that keep the guest busy: the load
// is the guest's, and of several CPUs one may make all of it.
func atRest(cpus []VCPU) []VCPU {
	out := slices.Clone(cpus)
	for i := range out {
		if c := &out[i]; !c.User && idleFunctions[functionOf(c.Symbol)] {
			c.Idle, c.BusyFraction = true, 0
		}
	}
	return out
}
