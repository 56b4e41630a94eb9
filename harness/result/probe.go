package result

// ProbeName names a probe: an experiment on a hung guest.
type ProbeName string

// The probes, in the order in which they are made.
const (
	// ProbeSyscall makes the system call that the boot is blocked in return an
	// error, so that its caller complains and is known by that.
	ProbeSyscall ProbeName = "fail-syscall"
	// ProbeInput feeds the entropy pool by key presses, whose timing is credited,
	// or by bytes on the console, which are credited as interrupts
	// (drivers/char/random.c, add_input_randomness, add_interrupt_randomness).
	// It needs no driver that a kernel may lack, and it takes its time.
	ProbeInput ProbeName = "input"
	// ProbeVirtioRNG plugs a virtio-rng device into the running machine. It comes
	// last: a machine with one more device cannot be restored to what it was.
	ProbeVirtioRNG ProbeName = "virtio-rng"
)

// ProbeOutcome is the outcome of a probe.
type ProbeOutcome string

// The outcomes of a probe.
const (
	ProbeWentOn   ProbeOutcome = "went-on"   // the boot made progress
	ProbeNoChange ProbeOutcome = "no-change" // it hangs as before
	ProbeRefused  ProbeOutcome = "refused"   // not made: it makes no sense here, or is not safe
	ProbeFailed   ProbeOutcome = "failed"    // begun, but not completed
)

// ProbeNames are all probes, in order.
func ProbeNames() []ProbeName {
	return []ProbeName{ProbeSyscall, ProbeInput, ProbeVirtioRNG}
}
