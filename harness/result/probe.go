package result

// ProbeName is one of the experiments.
type ProbeName string

// The experiments, in the order in which they are made.
const (
	// ProbeSyscall makes the system call that the boot waits in return an error, so
	// that the one who made it says who it is.
	ProbeSyscall ProbeName = "fail-syscall"
	// ProbeInput feeds the entropy pool by a keyboard, whose times are credited, or
	// by bytes at the console, which are credited as interrupts
	// (drivers/char/random.c, add_input_randomness, add_interrupt_randomness).
	// It needs no driver that a kernel may lack, and it takes its time.
	ProbeInput ProbeName = "input"
	// ProbeVirtioRNG plugs a virtio-rng device into the running machine. It is the
	// last: a machine with another device cannot be put back to where it was.
	ProbeVirtioRNG ProbeName = "virtio-rng"
)

// ProbeOutcome is what came of an experiment.
type ProbeOutcome string

// The outcomes.
const (
	ProbeWentOn   ProbeOutcome = "went-on"   // the boot did what it had not done before
	ProbeNoChange ProbeOutcome = "no-change" // it hangs as it did
	ProbeRefused  ProbeOutcome = "refused"   // not made: it makes no sense here, or is not safe
	ProbeFailed   ProbeOutcome = "failed"    // begun, and not completed
)

// ProbeNames are all experiments, in order.
func ProbeNames() []ProbeName {
	return []ProbeName{ProbeSyscall, ProbeInput, ProbeVirtioRNG}
}
