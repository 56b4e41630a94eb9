package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/images/agentproto"
)

// Ending is how the run ended, as the harness saw it.
type Ending string

// The endings; "" is not known.
const (
	EndingSilent   Ending = "running-silent" // runs, but nothing happens
	EndingPanicked Ending = "panicked"       // pvpanic or panic text
	EndingReset    Ending = "reset"          // the machine reset itself
	EndingExited   Ending = "exited"         // QEMU exited
	EndingDeadline Ending = "deadline"       // the hard limit passed
	EndingShutdown Ending = "guest-shutdown" // the guest powered off
)

// Input is what is known of a run. Everything is optional.
type Input struct {
	// Dump is the parsed console.
	Dump *dump.Dump
	// Ending is how the run ended.
	Ending Ending
	// Repeated is how many bytes the guest printed between its last progress
	// and the capture: lines that repeat earlier ones except for their numbers.
	Repeated int64
	// VCPUs are samples of the virtual CPUs while the guest hung.
	VCPUs []VCPU
	// Agent are the reports of the guest agent, oldest first.
	Agent []agentproto.Report
	// Scenario is what was booted; nil if not known (explain).
	Scenario *Scenario
	// Attempts are the sysrq keys that were sent.
	Attempts []Attempt
	// Memory are the tasks that were read from the guest's memory; nil where
	// it was not read. They are used first, unless MemoryPartial: the list was
	// not read to its end.
	Memory        []model.Task
	MemoryPartial bool
	// MemoryBefore are the tasks of a reading before the sysrq keys were sent,
	// nil if there was none.
	MemoryBefore []model.Task
	// Asked is where in the log the answers to the last sysrq keys begin, 0 if
	// not known: a dump before it belongs to an earlier capture.
	Asked int64
	// Owners are the owners of locks that memory shows; their Offset and End
	// are 0.
	Owners []model.Owner
	// Waits are what tasks wait for, as memory shows it.
	Waits []model.Wait
	// User are user-space stacks that were read from memory, by PID.
	User map[int]model.UserStack
}

// VCPU is what was seen of one virtual CPU over several samples.
type VCPU struct {
	// PC is a program counter in the place where it was sampled most often,
	// Symbol the kernel function there, with or without an offset, "" for user
	// space or without symbols.
	PC     uint64
	Symbol string
	// User says that the CPU was in user mode.
	User bool
	// Idle says that it sat in the idle loop in every sample.
	Idle bool
	// BusyFraction is the share of host CPU time it used, 0..1.
	BusyFraction float64
	// Loops says that it is proven to be in a loop that never ends.
	Loops bool
}

// Scenario is what the rules need to know of a scenario.
type Scenario struct {
	// HasVirtioRNG says that the machine has a virtio-rng device.
	HasVirtioRNG bool
	// FIPS says that the initramfs has dracut's fips module.
	FIPS    bool
	Cmdline string
	// Console is the console device that the harness reads, "ttyS0".
	Console string
}

// Attempt is one sysrq key that was sent and what came of it.
type Attempt struct {
	Key   string
	Route string // a result.Route: "serial-break", "keyboard", "nmi"
	// Yielded says that the kernel printed something for it.
	Yielded bool
	// Detail is which layer refused it, if one did.
	Detail string
}
