package diagnose

import (
	"testing"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// TestACPUAtRestDoesNotSpin: of two CPUs, the one that halts is not the one that
// keeps the guest busy.
func TestACPUAtRestDoesNotSpin(t *testing.T) {
	idle := blocked(0, "swapper/0", "R", "pv_native_safe_halt default_idle default_idle_call do_idle cpu_startup_entry")
	busy := blocked(1, "init", "R", "pipe_read vfs_read ksys_read __x64_sys_read"+syscall)
	idle.Running, busy.Running = true, true
	for _, cpu := range []string{"pv_native_safe_halt+0xf/0x20", "cpu_do_idle+0x8/0x10"} {
		in := Input{Dump: parsed("[    0.000000] Linux version 6.12.0 (gcc)\n[    1.000000] Run /init as init process\n"), Ending: EndingSilent,
			VCPUs: []VCPU{{Symbol: cpu, BusyFraction: 1}, {Symbol: "pipe_read+0x9/0x480", BusyFraction: 1}}}
		for _, memory := range [][]model.Task{nil, {idle, busy}} {
			in.Memory = memory
			if d := Diagnose(in); d.Cause != result.CauseSpin || d.Function != "pipe_read" {
				t.Errorf("%s, %d tasks: %s in %s", cpu, len(memory), d.Cause, d.Function)
			}
		}
		if in.VCPUs[0].Idle {
			t.Error("the input was changed")
		}
	}
}
