// Package probe experiments on a guest that hangs, to show by what happens why it
// does. Each experiment changes one thing and nothing else, is bounded in time,
// and says what came of it. What an experiment changes, the guest cannot be asked
// about afterwards: what is to be known of the hang itself is captured before.
package probe

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Name is one of the experiments.
type Name string

// The experiments, in the order in which they are made.
const (
	// Syscall makes the system call that the boot waits in return an error, so
	// that the one who made it says who it is.
	Syscall Name = "fail-syscall"
	// Input feeds the entropy pool by a keyboard, whose times are credited, or
	// by bytes at the console, which are credited as interrupts
	// (drivers/char/random.c, add_input_randomness, add_interrupt_randomness).
	// It needs no driver that a kernel may lack, and it takes its time.
	Input Name = "input"
	// VirtioRNG plugs a virtio-rng device into the running machine. It is the
	// last: a machine with another device cannot be put back to where it was.
	VirtioRNG Name = "virtio-rng"
)

// Names are all experiments, in order.
func Names() []Name { return []Name{Syscall, Input, VirtioRNG} }

// Parse reads names; "all" stands for all of them. The result is in order and has
// each once.
func Parse(words []string) ([]Name, error) {
	var out []Name
	for _, n := range Names() {
		if slices.Contains(words, string(n)) || slices.Contains(words, "all") {
			out = append(out, n)
		}
	}
	for _, w := range words {
		if w != "all" && !slices.Contains(Names(), Name(w)) {
			return nil, fmt.Errorf("no probe is called %q: use all, %s", w, list())
		}
	}
	return out, nil
}

func list() string {
	var words []string
	for _, n := range Names() {
		words = append(words, string(n))
	}
	return strings.Join(words, ", ")
}

// Outcome is what came of an experiment.
type Outcome string

// The outcomes.
const (
	WentOn   Outcome = "went-on"   // the boot did what it had not done before
	NoChange Outcome = "no-change" // it hangs as it did
	Refused  Outcome = "refused"   // not made: it makes no sense here, or is not safe
	Failed   Outcome = "failed"    // begun, and not completed
)

// Times bound the experiments. All are wall times.
type Times struct {
	// Nudge is how long a thing that must happen in the guest is waited for
	// before, and between, nudges.
	Nudge time.Duration
	// Limit bounds the wait for each such thing.
	Limit time.Duration
	// Feed bounds the feeding of entropy by input.
	Feed time.Duration
}

// Scaled returns the times of a probe for a host on which a good boot takes unit.
func Scaled(unit time.Duration) Times {
	return Times{
		Nudge: max(time.Second, unit/4),
		Limit: max(20*time.Second, 6*unit),
		Feed:  max(time.Minute, 20*unit),
	}
}
