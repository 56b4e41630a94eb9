// Package boottime says whether kernels boot slower: it compares when the stages of the
// boot were reached in two sets of boots, with the Mann-Whitney test, which asks nothing
// of how the times are spread, and the Hodges-Lehmann estimate of the change.
package boottime

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/harness/history/stats"
	"github.com/unwedge/unwedge/harness/history/store"
)

// When a change is told: it is this likely or less to be seen without one (in each stage
// of each cell), and it is at least this part of the time before.
const (
	Alpha = 0.01
	Part  = 0.05
)

// MaxBoots bounds the boots of one set that are compared, the latest.
const MaxBoots = 200

// MinBoots is how many boots of each set it takes: fewer cannot give p < Alpha.
const MinBoots = 5

// Change is how a stage's time differs between two sets of boots of the same cell, on the
// same class of host, with the same accelerator and QEMU.
type Change struct {
	// Cell, Host and Stage are what was compared, or Initcall instead of a stage.
	Cell     string `json:"cell"`
	Host     string `json:"host"`
	Stage    string `json:"stage,omitempty"`
	Initcall string `json:"initcall,omitempty"`
	// A and B are the medians in seconds of guest time, BootsA and BootsB how many boots.
	A      float64 `json:"a_s"`
	B      float64 `json:"b_s"`
	BootsA int     `json:"boots_a"`
	BootsB int     `json:"boots_b"`
	// Shift is the Hodges-Lehmann estimate of the change in seconds, Low and High its
	// 99 % interval, Part the estimate as a part of A.
	Shift float64 `json:"shift_s"`
	Low   float64 `json:"low_s"`
	High  float64 `json:"high_s"`
	Part  float64 `json:"part"`
	// P is the two-sided p-value of the Mann-Whitney test.
	P float64 `json:"p"`
	// Verdict is slower or faster, empty where neither is shown.
	Verdict Verdict `json:"verdict,omitempty"`
}

// Verdict is what a comparison shows.
type Verdict string

// The verdicts.
const (
	Slower Verdict = "slower"
	Faster Verdict = "faster"
)

// String is the change in a few words, such as "slower: switch-root +1.8 s (+14 %)".
func (c Change) String() string {
	what := c.Stage
	if c.Initcall != "" {
		what = "initcall " + c.Initcall
	}
	return fmt.Sprintf("%s: %s %s (%+.0f %%)", cmp.Or(c.Verdict, "no change"), what, c.Seconds(c.Shift), 100*c.Part)
}

// Seconds writes a difference of the times that are compared: of initcalls in milliseconds.
func (c Change) Seconds(v float64) string {
	if v < 0 {
		return "-" + c.Time(-v)
	}
	return "+" + c.Time(v)
}

// Time writes a time, such as A or B.
func (c Change) Time(v float64) string {
	if c.Initcall != "" {
		return fmt.Sprintf("%.0f ms", 1000*v)
	}
	return fmt.Sprintf("%.1f s", v)
}

// Of compares two samples of one stage, neither empty.
func Of(a, b []float64) Change { return at(Alpha, a, b) }

// at is Of with another bound for the p-value; the interval stays that of Alpha.
func at(alpha float64, a, b []float64) Change {
	a, b = a[:min(len(a), MaxBoots)], b[:min(len(b), MaxBoots)]
	s := stats.ShiftOf(a, b, 1-Alpha)
	c := Change{A: stats.Median(a), B: stats.Median(b), BootsA: len(a), BootsB: len(b), Shift: s.Estimate, Low: s.Low, High: s.High, P: s.P}
	if c.A > 0 {
		c.Part = c.Shift / c.A
	}
	switch {
	case c.P >= alpha:
	case c.Part >= Part:
		c.Verdict = Slower
	case c.Part <= -Part:
		c.Verdict = Faster
	}
	return c
}

// Compare compares what two sets of boots have in common: cell, host and stage, in the
// order of cells and of time. Sets of fewer than MinBoots are left out. KVM and TCG are
// different hosts, so they never meet.
func Compare(a, b []store.StageTime) []Change {
	type place struct {
		cell  store.Cell
		host  store.Host
		stage string
	}
	group := func(list []store.StageTime) map[place][]float64 {
		out := map[place][]float64{}
		for _, s := range list {
			p := place{s.Cell, s.Host, s.Stage}
			out[p] = append(out[p], s.At)
		}
		return out
	}
	before, after := group(a), group(b)
	var out []Change
	for p, times := range after {
		if len(times) < MinBoots || len(before[p]) < MinBoots {
			continue
		}
		c := Of(before[p], times)
		c.Cell, c.Host, c.Stage = p.cell.Name, p.host.String(), p.stage
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y Change) int {
		return cmp.Or(cmp.Compare(x.Cell, y.Cell), cmp.Compare(x.Host, y.Host), cmp.Compare(x.A, y.A), cmp.Compare(x.Stage, y.Stage))
	})
	return out
}
