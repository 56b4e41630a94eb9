package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/scenarios"
)

// Healthy is the boot of an unmodified kernel.
type Healthy struct {
	Cell    string            `json:"cell"`
	Arch    string            `json:"arch"`
	Release string            `json:"release"`
	CPUs    int               `json:"cpus"`
	Outcome scenarios.Outcome `json:"outcome"`
	// Suspected counts the suspicions that were taken back.
	Suspected int           `json:"suspected"`
	Wall      time.Duration `json:"wall_ns"`
	Dir       string        `json:"dir,omitempty"`
	Note      string        `json:"note,omitempty"`
}

// Card is all that was measured.
type Card struct {
	Version string    `json:"version"`
	Host    string    `json:"host"`
	Kernels []string  `json:"kernels"`
	Scores  []Score   `json:"scores"`
	Healthy []Healthy `json:"healthy"`
	// Refused is how many drawn functions could not be changed, Seeds by arch.
	Refused map[string]int    `json:"refused"`
	Seeds   map[string]uint64 `json:"seeds"`
	// Entered is how many functions the traced boot of each arch entered.
	Entered map[string]int `json:"entered"`
}

// counts is one line of the table.
type counts struct {
	seeded, detected, kind, cause, located, right int
	by                                            map[Verdict]int
	latencies                                     []time.Duration
}

func count(scores []Score) counts {
	c := counts{by: map[Verdict]int{}}
	for _, s := range scores {
		c.by[s.Verdict]++
		if s.Verdict == NoEffect || s.Verdict == Failed {
			continue
		}
		c.seeded++
		if s.Verdict != Missed {
			c.detected++
		}
		if s.KindRight {
			c.kind++
		}
		if s.KindRight && s.CauseRight {
			c.cause++
		}
		if s.Placed == ByDiagnosis || s.Placed == NotJudged && s.KindRight {
			c.located++
		}
		if s.Verdict == Right {
			c.right++
		}
		if s.Latency > 0 {
			c.latencies = append(c.latencies, s.Latency)
		}
	}
	slices.Sort(c.latencies)
	return c
}

func (c counts) median() string {
	if len(c.latencies) == 0 {
		return "–"
	}
	return seconds(c.latencies[len(c.latencies)/2])
}

func (c counts) worst() string {
	if len(c.latencies) == 0 {
		return "–"
	}
	return seconds(c.latencies[len(c.latencies)-1])
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func ratio(n, of int) string {
	if of == 0 {
		return "–"
	}
	return fmt.Sprintf("%d/%d", n, of)
}

// markdown writes the card as people read it.
func (c *Card) markdown(w io.Writer, command string) {
	fmt.Fprintf(w, "# Seeded regressions: the score\n\nMade by `%s` with unwedge %s on %s.\n", command, c.Version, c.Host)
	for _, k := range c.Kernels {
		fmt.Fprintf(w, "\n- %s", k)
	}
	fmt.Fprint(w, "\n\n## Seeded faults\n\n"+
		"| arch | fault | seeded | detected | right kind | right cause | located | all right | stall to diagnosis: median | worst |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, a := range c.arches() {
		for _, fault := range append(c.faults(), "") {
			of := c.of(a, fault)
			if len(of) == 0 {
				continue
			}
			n, name := count(of), fault
			if fault == "" {
				name = "**all**"
			}
			fmt.Fprintf(w, "| %s | %s | %d | %s | %s | %s | %s | %s | %s | %s |\n", a, name, n.seeded, ratio(n.detected, n.seeded),
				ratio(n.kind, n.seeded), ratio(n.cause, n.seeded), ratio(n.located, n.seeded), ratio(n.right, n.seeded), n.median(), n.worst())
		}
	}
	fmt.Fprint(w, legend)
	for _, a := range c.arches() {
		fmt.Fprintf(w, "\n%s: seed %d; %d functions were entered by a healthy boot; %d drawn functions could not be changed (too short, or rewritten by the kernel at boot).\n",
			a, c.Seeds[a], c.Entered[a], c.Refused[a])
	}
	c.healthyTable(w)
	c.list(w, "Not all right", func(s Score) bool {
		return s.Verdict != Right && s.Verdict != NoEffect && s.Verdict != Failed
	})
	c.list(w, "No effect, and so not counted", func(s Score) bool { return s.Verdict == NoEffect || s.Verdict == Failed })
	c.list(w, "All right", func(s Score) bool { return s.Verdict == Right })
}

const legend = `
*Located*: the diagnosis names the seeded function (a fault of user space: the
system call; a reset: its kind is right, because a machine that was reset has
nothing left to name). *All right*: kind, cause and place. *Stall to
diagnosis*: from the last progress to the finished diagnosis, of the boots that
stalled. A mutant whose boot came through is not counted: its function was not
entered this time, or nothing of the boot waited for it.
`

func (c *Card) arches() []string {
	var out []string
	for _, s := range c.Scores {
		out = append(out, s.Arch)
	}
	for _, h := range c.Healthy {
		out = append(out, h.Arch)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// group is a fault's line in the table: those of user space share one.
func group(fault string) string {
	kind, _, user := strings.Cut(fault, ": ")
	if user {
		return kind + " space"
	}
	return fault
}

func (c *Card) faults() []string {
	var out []string
	for _, s := range c.Scores {
		if g := group(s.Fault); !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	slices.Sort(out)
	return out
}

// of returns the scores of an arch and a fault, "" for all of them.
func (c *Card) of(arch, fault string) []Score {
	var out []Score
	for _, s := range c.Scores {
		if s.Arch == arch && (fault == "" || group(s.Fault) == fault) {
			out = append(out, s)
		}
	}
	return out
}

func (c *Card) healthyTable(w io.Writer) {
	fmt.Fprint(w, "\n## Healthy boots\n\n| arch | kernel | cell | vCPUs | boots | false alarms | suspicions taken back |\n|---|---|---|---|---|---|---|\n")
	type key struct {
		arch, release, cell string
		cpus                int
	}
	var keys []key
	sums := map[key]*[3]int{}
	for _, h := range c.Healthy {
		k := key{h.Arch, h.Release, h.Cell, h.CPUs}
		if sums[k] == nil {
			sums[k] = &[3]int{}
			keys = append(keys, k)
		}
		sums[k][0]++
		if h.Outcome != scenarios.Booted {
			sums[k][1]++
		}
		sums[k][2] += h.Suspected
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.arch, b.arch), cmp.Compare(a.cell, b.cell), cmp.Compare(a.cpus, b.cpus), cmp.Compare(a.release, b.release))
	})
	for _, k := range keys {
		n := sums[k]
		fmt.Fprintf(w, "| %s | %s | %s | %d | %d | %d | %d |\n", k.arch, k.release, k.cell, k.cpus, n[0], n[1], n[2])
	}
	for _, h := range c.Healthy {
		if h.Outcome != scenarios.Booted {
			fmt.Fprintf(w, "\nFalse alarm: %s, %s: %s %s (%s)\n", h.Cell, h.Release, h.Outcome, h.Note, h.Dir)
		}
	}
}

func (c *Card) list(w io.Writer, title string, want func(Score) bool) {
	fmt.Fprintf(w, "\n## %s\n\n| seed | phase | verdict | what was said | function named in | after | artifacts |\n|---|---|---|---|---|---|---|\n", title)
	list := slices.Clone(c.Scores)
	slices.SortStableFunc(list, func(a, b Score) int {
		return cmp.Or(cmp.Compare(badness(b.Verdict), badness(a.Verdict)), cmp.Compare(a.ID, b.ID))
	})
	for _, s := range list {
		if !want(s) {
			continue
		}
		said := fmt.Sprintf("%s; %s/%s: %s", s.Outcome, s.Kind, s.Cause, s.Title)
		if s.Kind == "" {
			said = string(s.Outcome)
		}
		if s.Note != "" {
			said += " (" + s.Note + ")"
		}
		after := "–"
		if s.Latency > 0 {
			after = seconds(s.Latency)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s |\n", s.ID, s.Phase, s.Verdict,
			strings.ReplaceAll(said, "|", "\\|"), s.Placed, after, s.Dir)
	}
}

// badness orders verdicts: a wrong answer is worst, then a miss.
func badness(v Verdict) int {
	return slices.Index([]Verdict{Failed, NoEffect, Right, Near, Unplaced, Unknown, Missed, Wrong}, v)
}
