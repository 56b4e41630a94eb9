package diagnose

import (
	"testing"

	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// A loop that is proven is certain, whatever else waits for it; one that only looks so is
// likely.
func TestProvenLoop(t *testing.T) {
	frames := []model.Frame{{Func: "demo_wait", Reliable: true}, {Func: "demo_init", Reliable: true}, {Func: "do_one_initcall", Reliable: true}, {Func: "kernel_init", Reliable: true}}
	in := Input{
		Dump:   parsed("[    0.000000] Linux version 6.1.0\n[    0.100000] x\n[    0.200000] calling  demo_init+0x0/0x10 @ 1\n"),
		Ending: EndingSilent, VCPUs: []VCPU{{Symbol: "demo_wait+0x3/0x10", BusyFraction: 1}},
		Memory: []model.Task{{PID: 1, Comm: "swapper/0", State: "R", Running: true, Frames: frames}},
	}
	for _, loops := range []bool{false, true} {
		in.VCPUs[0].Loops = loops
		want := map[bool]result.Confidence{false: result.Likely, true: result.Certain}[loops]
		if d := Diagnose(in); d.Cause != result.CauseSpin || d.Function != "demo_wait" || d.Confidence != want {
			t.Errorf("loops %v: %s %s in %s, want %s", loops, d.Confidence, d.Cause, d.Function, want)
		}
	}
}
