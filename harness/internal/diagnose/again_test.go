package diagnose

import (
	"slices"
	"testing"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/images/agentproto"
)

const early = "[    0.000000] Linux version 7.1.0 (demo) #1 SMP\n[    0.200000] smp: Brought up 1 node, 1 CPU\n[    0.300000] pci 0000:00:01.0: ready\n"

func TestAgain(t *testing.T) {
	t.Parallel()
	idle := []VCPU{{Symbol: "default_idle+0xb/0x10", Idle: true}}
	spins := []VCPU{{Symbol: "demo_poll+0xb/0x10", BusyFraction: 1}}
	sleeper := []model.Task{{PID: 1, Comm: "swapper/0", State: "S", Frames: []model.Frame{{Func: "schedule"}, {Func: "demo_init"}, {Func: "do_one_initcall"}, {Func: "kernel_init"}}}}
	asked := &Scenario{Cmdline: "quiet initcall_debug", Console: "ttyS0"}
	for _, tt := range []struct {
		name string
		log  string
		in   Input
		want bool
	}{
		{name: "start-up sleeps", log: early, in: Input{VCPUs: idle}, want: true},
		{name: "start-up spins", log: early, in: Input{VCPUs: spins}, want: true},
		{name: "silent, but the kernel runs", in: Input{VCPUs: idle}, want: true},
		{name: "silent, and nothing is known to run", in: Input{VCPUs: []VCPU{{PC: 0xfff0, BusyFraction: 1}}}},
		{name: "the task is known", log: early, in: Input{VCPUs: idle, Memory: sleeper}},
		{name: "asked already", log: early, in: Input{VCPUs: idle, Scenario: asked}},
		{name: "asked already, by the log", log: "[    0.000000] Linux version 7.1.0 (demo) #1 SMP\n[    0.000000] Command line: initcall_debug\n", in: Input{VCPUs: idle}},
		{name: "an initcall is named", log: early + "[    0.400000] calling  demo_init+0x0/0x10 @ 1\n", in: Input{VCPUs: idle}},
		{name: "a panic", log: early + "[    0.400000] Kernel panic - not syncing: demo\n", in: Input{Ending: EndingPanicked}},
		{name: "in user space", log: early + "[    0.400000] Run /init as init process\n", in: Input{VCPUs: idle}},
		{name: "the agent ran", log: early, in: Input{VCPUs: idle, Agent: []agentproto.Report{{Stage: "init"}}}},
		{name: "firmware", log: "SeaBIOS (version 1.16)\nBooting from Hard Disk...\n", in: Input{VCPUs: spins}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.in.Ending == "" {
				tt.in.Ending = EndingSilent
			}
			tt.in.Dump = dump.Parse([]byte(tt.log))
			d := Diagnose(tt.in)
			if got := slices.Equal(d.Again, initcallDebug); got != tt.want || !got && len(d.Again) > 0 {
				t.Errorf("again %q of %q (%s)", d.Again, d.Title, d.Confidence)
			}
		})
	}
}
