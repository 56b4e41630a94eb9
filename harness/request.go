package harness

import (
	"context"
	"errors"
	"time"

	"github.com/unwedge/unwedge/harness/internal/calibrate"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/extmod"
)

// ErrQEMU says that the harness or QEMU failed, so that nothing is known about
// the kernel. What a kernel does is never an error.
var ErrQEMU = errors.New("the harness or QEMU failed")

// Request is one boot.
type Request struct {
	// Machine is what to boot; its Sockets are made by Boot.
	Machine machine.Spec
	// Kernel describes the candidate in the Result.
	Kernel result.Kernel
	// Dir is the run's directory, which exists.
	Dir string
	// Version is unwedge's own, for the Result.
	Version string
	// QEMUVersion and AccelWhy are recorded.
	QEMUVersion, AccelWhy string
	// Calibration remembers good boots; nil remembers nothing.
	Calibration *calibrate.Store
	// Reference makes the limits; Calibrated says that it was measured.
	Reference  result.Reference
	Calibrated bool
	// Limits, where not nil, are used instead of those that Reference makes.
	// The scenario's deadline still counts.
	Limits *result.Limits
	// QMPTimeout bounds each answer of QEMU's monitor; 0 means
	// qmp.DefaultTimeout.
	QMPTimeout time.Duration
	// Symbols name kernel addresses; nil where the kernel has no table.
	Symbols vcpu.Symbolizer
	// HZ is how many jiffies a second the kernel counts; 0 where that is not
	// known, and then no timer of its is waited for.
	HZ int
	// Memory reads the memory of a guest that has stalled; nil reads none.
	Memory Memory
	// UserStacks reads the user-space stacks of such a guest; nil reads none.
	UserStacks UserStacks
	// Modules are the external modules that the guest will try, and what is
	// predicted of each.
	Modules []ModuleTrial
	// Sleeper finds a task for probe.Syscall; nil finds none.
	Sleeper Sleeper
	// Probes are the experiments that a hung guest is put to once all is
	// captured, see package probe; they exclude Keep. probe.VirtioRNG needs
	// Machine.Slot and the driver in the guest.
	Probes []result.ProbeName
	// Keep leaves a hung guest paused, to be looked at by hand.
	Keep bool
	// ConsoleCap is how many bytes of console.log are kept at most; 0 means
	// 64 MiB.
	ConsoleCap int64
	// Observer is told what happens as it happens; nil is allowed.
	Observer Observer
	// Notes go into the Result.
	Notes []string
}

// ModuleTrial is an external module that the guest will try.
type ModuleTrial struct {
	// Label is the trial's in the agent's report.
	Label string
	// Want is what the scenario asks for, Predicted what will be, by the files.
	Want      extmod.Verdict
	Predicted extmod.Prediction
	// Param is what its parameter must be afterwards, and Says what the kernel log
	// must have, where it loads.
	Param, Says string
}

// Memory looks into the memory of a guest. registers is QEMU's text of `info
// registers -a` of the same moment. What could be read comes with what could not
// in View.Problems; an error means that nothing could.
type Memory func(ctx context.Context, ram physmem.Reader, registers string) (*guestmem.View, error)

// UserStacks unwinds the user-space stacks of a guest's tasks. What could be read
// comes with what could not; an error means that nothing could.
type UserStacks func(ctx context.Context, ram physmem.Reader, registers string) (stacks []guestmem.UserStack, problems []string, err error)

// Sleeper finds a task that sleeps in a system call, see guestmem.Kernel.Sleeper.
type Sleeper func(ctx context.Context, ram physmem.Reader, registers string, pid int, functions []string) (*guestmem.Sleeper, error)

// Observer is told what happens during a boot, from one goroutine. It must not
// block.
type Observer interface {
	// Line is a whole console line, raw.
	Line(l Line)
	// Report is a report of the agent.
	Report(r agentproto.Report)
	// Phase is a change in what the harness does.
	Phase(p Phase, why string)
}

// Line is a line of the console: its raw text, when it came, where it stands.
type Line = console.Line

// Phase is what the harness does.
type Phase string

// The phases of a boot.
const (
	Starting   Phase = "starting"   // QEMU is being started
	Booting    Phase = "booting"    // the guest runs
	Capturing  Phase = "capturing"  // it has stalled, and is being asked where
	Confirming Phase = "confirming" // it gets a last chance
	Probing    Phase = "probing"    // it hangs, and is experimented on
	Finished   Phase = "finished"   // the verdict is there
)

type silent struct{}

func (silent) Line(console.Line)        {}
func (silent) Report(agentproto.Report) {}
func (silent) Phase(Phase, string)      {}

// tick is how often the vCPUs are looked at and the decision is made.
const tick = 250 * time.Millisecond
