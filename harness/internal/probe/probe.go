// Package probe experiments on a hung guest to show why it hangs. Each experiment
// changes one thing, is bounded in time, and reports what happened. It destroys
// evidence, so the hang is captured before.
package probe

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/result"
)

// Parse reads names; "all" stands for all of them. The result is in order and has
// each once.
func Parse(words []string) ([]result.ProbeName, error) {
	var out []result.ProbeName
	for _, n := range result.ProbeNames() {
		if slices.Contains(words, string(n)) || slices.Contains(words, "all") {
			out = append(out, n)
		}
	}
	for _, w := range words {
		if w != "all" && !slices.Contains(result.ProbeNames(), result.ProbeName(w)) {
			return nil, fmt.Errorf("unknown probe %q: use all, %s", w, list())
		}
	}
	return out, nil
}

func list() string {
	var words []string
	for _, n := range result.ProbeNames() {
		words = append(words, string(n))
	}
	return strings.Join(words, ", ")
}

// Times bound the experiments, in wall time.
type Times struct {
	// Nudge is the time before the first nudge, and between nudges.
	Nudge time.Duration
	// Limit bounds the wait for each breakpoint.
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
