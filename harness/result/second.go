package result

import (
	"time"

	"github.com/unwedge/unwedge/scenarios"
)

// Second is a second boot of the same kernel in the same guest, with arguments added that
// make the kernel say more.
type Second struct {
	// Added are the arguments that were added to the kernel command line.
	Added []string `json:"added"`
	// Told is what came of it.
	Told Told `json:"told"`
	// Says is that in a sentence.
	Says string `json:"says"`
	// Outcome is how the second boot ended; empty if that is not known.
	Outcome scenarios.Outcome `json:"outcome,omitempty"`
	// Why is one sentence on its outcome.
	Why string `json:"why,omitempty"`
	// Diagnosis is that of the second boot alone; nil if it booted.
	Diagnosis *Diagnosis `json:"diagnosis,omitempty"`
	// First is what was said of the first boot alone, where Told is more.
	First *Diagnosis `json:"first,omitempty"`
	// Took is how long the second boot took.
	Took time.Duration `json:"took_ns"`
	// Dir is where its artifacts are, below the run's.
	Dir string `json:"dir"`
}

// Told is what a second boot told.
type Told string

// What it can be.
const (
	ToldMore         Told = "more"         // it failed alike and named what the first left open: Diagnosis is its
	ToldNothing      Told = "nothing"      // it failed alike and named no more
	ToldIntermittent Told = "intermittent" // it booted: the failure does not show in each boot
	ToldOtherwise    Told = "otherwise"    // it failed in another way
	ToldNotMade      Told = "not-made"     // it did not come to an end: the harness, QEMU or a signal stopped it
)
