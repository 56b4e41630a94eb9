package harness

import (
	"errors"
	"time"

	"github.com/unwedge/unwedge/harness/internal/boot"
	"github.com/unwedge/unwedge/harness/internal/calibrate"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/known"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/stall"
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
	// Kind names what is booted, for Calibration.
	Kind string
	// Reference makes the limits; Calibrated says that it was measured.
	Reference  result.Reference
	Calibrated bool
	// Limits, where not nil, are used instead of those that Reference makes.
	// The scenario's deadline still counts.
	Limits *result.Limits
	// QMPTimeout bounds each answer of QEMU's monitor; 0 means
	// qmp.DefaultTimeout.
	QMPTimeout time.Duration
	// Image is what the kernel's image says of the guest: symbols, and how to read its
	// memory. The zero value says nothing, and then sysrq alone is asked.
	Image stall.Image
	// Modules are the external modules that the guest will try, and what is
	// predicted of each.
	Modules []ModuleTrial
	// Probes are the experiments that a hung guest is put to once all is
	// captured, see package probe; they exclude Keep. probe.VirtioRNG needs
	// Machine.Slot and the driver in the guest.
	Probes []result.ProbeName
	// Known are findings that do not count.
	Known known.List
	// Against is a good boot, to say which findings are new; nil compares with none.
	Against *result.Baseline
	// Keep leaves a hung guest paused, to be looked at by hand.
	Keep bool
	// Again allows a second boot, with arguments added that make the kernel say more,
	// where the diagnosis of the first names some (result.Diagnosis.Again). There is none
	// of a guest that is kept or was probed, nor where the disk's own boot loader makes the
	// command line.
	Again bool
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

// Observer is told what happens during a boot, from one goroutine. It must not block:
// Line gets each whole console line, raw, Report each report of the agent, and Phase
// what the harness does now, and why.
type Observer = boot.Observer

// Line is a line of the console: its raw text, when it came, where it stands.
type Line = console.Line

// Phase is what the harness does.
type Phase = boot.Phase

// The phases of a boot.
const (
	Starting   = boot.Starting   // QEMU is being started
	Waiting    = boot.Waiting    // somebody else has paused the guest
	Booting    = boot.Booting    // the guest runs
	Capturing  = boot.Capturing  // it has stalled, and is being asked where
	Proven     = boot.Proven     // it hangs for certain, and its memory says where; it is asked further
	Confirming = boot.Confirming // it gets a last chance
	Probing    = boot.Probing    // it hangs, and is experimented on
	Again      = boot.Again      // the guest is booted once more, with arguments that make it say more
	Finished   = boot.Finished   // the verdict is there
)

// observer is the request's, or one that takes no notice.
func (r Request) observer() Observer {
	if r.Observer == nil {
		return silent{}
	}
	return r.Observer
}

type silent struct{}

func (silent) Line(Line)                {}
func (silent) Report(agentproto.Report) {}
func (silent) Phase(Phase, string)      {}
