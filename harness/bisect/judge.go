package bisect

import (
	"time"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

// Boot is what one boot showed, as far as a bisection asks.
type Boot struct {
	// Outcome is how the boot ended, as in result.json.
	Outcome string `json:"outcome"`
	// Expected says that it ended as the scenario asks.
	Expected bool `json:"expected"`
	// Title is the diagnosis's title.
	Title string `json:"title,omitempty"`
	// Signature is the same for the same failure of another kernel.
	Signature string `json:"signature,omitempty"`
	// Cause is the diagnosis's cause.
	Cause string `json:"cause,omitempty"`
	// Sure is the confidence in the cause: certain, likely, possible or unknown.
	Sure string `json:"sure,omitempty"`
	// Where is the component at fault: kernel, initramfs, ...
	Where string `json:"where,omitempty"`
	// What is the diagnosis in a sentence.
	What string `json:"what,omitempty"`
	// Stack is the call chain of a CPU that runs, if that is the failure, innermost
	// function first.
	Stack []string `json:"stack,omitempty"`
	// Met are all functions that CPUs were sampled in, if that is the failure.
	Met []string `json:"met,omitempty"`
	// Why is one sentence on the outcome.
	Why string `json:"why,omitempty"`
	// Stage is the last stage that the guest agent reported.
	Stage string `json:"stage,omitempty"`
	// Started is when the boot began.
	Started time.Time `json:"started"`
	// Took is how long it took.
	Took time.Duration `json:"took_ns"`
	// Dir is the run's directory, with its result.json.
	Dir string `json:"dir"`
}

// BootOf takes from a Result what a bisection asks.
func BootOf(r *result.Result) Boot {
	b := Boot{
		Outcome: string(r.Outcome), Expected: r.Expected, Why: r.Why, Stage: string(r.Stage),
		Started: r.Times.Started, Took: r.Times.Wall, Dir: r.Dir,
	}
	if d := r.Diagnosis; d != nil {
		b.Title, b.Signature, b.Cause = d.Title, d.Signature, string(d.Cause)
		b.Sure, b.Where, b.What = string(d.Confidence), string(d.Where), d.Summary
		b.Stack, b.Met = stackOf(d), metIn(r)
	} else if f := result.Worst(r.Findings); f != nil && r.Unclean {
		b.Title = f.Title
	}
	return b
}

// slow says that the boot was still at work when its time was up.
func (b Boot) slow() bool { return b.Outcome == string(scenarios.Slow) }

// Undecided says that a boot is to be made again: it was still at work when its time
// was up, which says as much of the host as of the kernel, unless that is the failure
// looked for.
func (b Boot) Undecided(want Boot) bool {
	return b.slow() && (want.Outcome == "" || !b.Same(want))
}

// Same says that two boots failed in the same way: by the signature, which does
// not differ between kernels and architectures, else by the title. A loop is the same
// wherever it was met.
func (b Boot) Same(other Boot) bool {
	if b.Signature != "" || other.Signature != "" {
		return b.Signature == other.Signature || sameLoop(b, other)
	}
	return b.Outcome == other.Outcome && b.Title == other.Title
}

// came says that the boot came to its end.
func (b Boot) came() bool { return b.Outcome == string(scenarios.Booted) }

// Name is the failure in a few words.
func (b Boot) Name() string {
	if b.Title != "" {
		return b.Title
	}
	return b.Outcome
}

// Judge says what a boot means when the failure looked for is want. Another
// failure says nothing on this one: it may hide it.
func Judge(b, want Boot, any bool) (search.Verdict, string) {
	switch {
	case b.Expected:
		return search.Good, b.Outcome
	case b.Same(want):
		return search.Bad, b.Name()
	case b.came() && want.Outcome != "" && !want.came(): // it came through, with findings
		return search.Good, b.Outcome + ", unclean: " + b.Name()
	case any && want.Outcome == "": // there is none to be like
		return search.Bad, b.Name()
	case any:
		return search.Bad, "another failure: " + b.Name()
	default:
		return search.Skip, "another failure: " + b.Name()
	}
}
