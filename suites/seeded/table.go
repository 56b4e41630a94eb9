package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/unwedge/unwedge/scenarios"
)

// Healthy is the boot of an unmodified kernel.
type Healthy struct {
	// Index is its place in the list of its arch.
	Index   int    `json:"index"`
	Cell    string `json:"cell"`
	Arch    string `json:"arch"`
	Release string `json:"release"`
	CPUs    int    `json:"cpus"`
	// Pause is what made the guest slow on purpose, Loaded says that other programs
	// kept the host busy.
	Pause   string            `json:"pause,omitempty"`
	Loaded  bool              `json:"loaded,omitempty"`
	Outcome scenarios.Outcome `json:"outcome"`
	// Suspected counts the suspicions that were withdrawn.
	Suspected int           `json:"suspected"`
	Wall      time.Duration `json:"wall_ns"`
	Dir       string        `json:"dir,omitempty"`
	Note      string        `json:"note,omitempty"`
}

// Card is everything that was measured.
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
	tasks, taskRight                              int // where the right task is known
	by                                            map[Verdict]int
	latencies                                     []time.Duration
}

func count(scores []Score) counts {
	c := counts{by: map[Verdict]int{}}
	for _, s := range scores {
		c.by[s.Verdict]++
		if !s.counts() {
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
		if s.located() {
			c.located++
		}
		if s.Verdict == Right {
			c.right++
		}
		if s.TaskJudged {
			c.tasks++
		}
		if s.TaskRight {
			c.taskRight++
		}
		if s.Latency > 0 {
			c.latencies = append(c.latencies, s.Latency)
		}
	}
	slices.Sort(c.latencies)
	return c
}

// counts says whether the seed is one of those that the score is made of.
func (s Score) counts() bool { return s.Verdict != NoEffect && s.Verdict != Failed }

// located says that the place was named, or that there is none to name.
func (s Score) located() bool {
	return s.Placed == ByDiagnosis || s.Placed == NotJudged && s.KindRight
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

func percent(n, of int) string {
	if of == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(of))
}

// markdown writes the card for people. explained holds the explanations of what was
// not all right.
func (c *Card) markdown(w io.Writer, command string, explained map[string]string) {
	fmt.Fprintf(w, "# Seeded regressions: the score\n\nMade by `%s` with unwedge %s on %s.\n\n", command, c.Version, c.Host)
	for _, k := range c.Kernels {
		fmt.Fprintf(w, "- %s\n", k)
	}
	all := count(c.Scores)
	boots, alarms := 0, 0
	for _, h := range c.Healthy {
		if h.Outcome != harnessFailed {
			boots++
		}
		if h.alarm() {
			alarms++
		}
	}
	fmt.Fprintf(w, "\n| | goal | measured |\n|---|---|---|\n"+
		"| seeded failures | at least 120 | %d |\n| detected | 98 %% | %s (%s) |\n| detected and located | 98 %% | %s (%s) |\n"+
		"| healthy boots | 300 | %d |\n| false alarms | 0 | %d |\n| stall to diagnosis, median | 10 s | %s (worst %s) |\n",
		all.seeded, percent(all.detected, all.seeded), ratio(all.detected, all.seeded), percent(all.located, all.seeded), ratio(all.located, all.seeded),
		boots, alarms, all.median(), all.worst())
	c.faultTable(w)
	c.typesTable(w)
	c.phaseTable(w)
	c.healthyTable(w)
	c.list(w, "Not all right", explained, func(s Score) bool { return s.counts() && s.Verdict != Right })
	c.list(w, "No effect, not counted", nil, func(s Score) bool { return !s.counts() })
	c.list(w, "All right", nil, func(s Score) bool { return s.Verdict == Right })
}

func (c *Card) faultTable(w io.Writer) {
	fmt.Fprint(w, "\n## Seeded faults\n\n"+
		"| arch | fault | seeded | detected | right kind | right cause | right task | located | all right | stall to diagnosis: median | worst |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	line := func(arch, fault string, of []Score) {
		n := count(of)
		if n.seeded == 0 {
			return
		}
		fmt.Fprintf(w, "| %s | %s | %d | %s | %s | %s | %s | %s | %s | %s | %s |\n", arch, fault, n.seeded, ratio(n.detected, n.seeded),
			ratio(n.kind, n.seeded), ratio(n.cause, n.seeded), ratio(n.taskRight, n.tasks), ratio(n.located, n.seeded), ratio(n.right, n.seeded), n.median(), n.worst())
	}
	for _, a := range c.arches() {
		for _, fault := range c.faults() {
			line(a, fault, c.of(a, fault))
		}
		line(a, "**all**", c.of(a, ""))
	}
	line("**both**", "**all**", c.Scores)
	fmt.Fprint(w, legend)
	for _, a := range c.arches() {
		if c.Entered[a] > 0 {
			fmt.Fprintf(w, "\n%s: seed %d; the traced healthy boots entered %d functions; %d drawn functions could not take the fault (too short, rewritten by the kernel at boot, or without a lock to leak).\n",
				a, c.Seeds[a], c.Entered[a], c.Refused[a])
		}
	}
}

// phaseTable shows that all of the boot is covered.
func (c *Card) phaseTable(w io.Writer) {
	fmt.Fprint(w, "\n## By phase of the boot\n\n| phase | seeded | detected | located | all right |\n|---|---|---|---|---|\n")
	var names []string
	by := map[string][]Score{}
	for _, s := range c.Scores {
		if by[s.Phase] == nil {
			names = append(names, s.Phase)
		}
		by[s.Phase] = append(by[s.Phase], s)
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(phaseRank(a), phaseRank(b)) })
	for _, name := range names {
		if n := count(by[name]); n.seeded > 0 {
			fmt.Fprintf(w, "| %s | %d | %s | %s | %s |\n", name, n.seeded, ratio(n.detected, n.seeded), ratio(n.located, n.seeded), ratio(n.right, n.seeded))
		}
	}
}

const legend = `
*Located*: the diagnosis names the seeded function. For a fault of user space it names
the system call. For a reset its kind is right: a machine that was reset has nothing
left to name. For leak-lock, where the changed function returns and another one hangs,
it names the changed function or the one that waits for the lock, or it is the kernel's
own report that a task sleeps with the lock held. *Right task*: of the seeds whose task
is known beforehand, which are the faults of user space and the initcalls, which PID 1
runs; any task may enter another function. *All right*: kind, cause and place. *Stall to
diagnosis*: from the last progress to the finished diagnosis, of the boots that stalled.
A mutant that booted is not counted, and drawn again: its function was not entered this
time, or nothing waited for it.
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

// group is a fault's line in the table: those of user space share one, and those
// of a module.
func group(fault string) string {
	kind, _, _ := strings.Cut(fault, ": ")
	if kind == "user" {
		return "user space"
	}
	return kind
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

// alarm says that a healthy boot was not reported as booted.
func (h Healthy) alarm() bool { return h.Outcome != scenarios.Booted && h.Outcome != harnessFailed }

func (c *Card) healthyTable(w io.Writer) {
	fmt.Fprint(w, "\n## Healthy boots\n\n| arch | kernel | cell | vCPUs | slow on purpose | host | boots | false alarms | suspicions withdrawn |\n|---|---|---|---|---|---|---|---|---|\n")
	type key struct {
		arch, release, cell string
		cpus                int
		pause               string
		loaded              bool
	}
	sums := map[key]*[3]int{}
	for _, h := range c.Healthy {
		if h.Outcome == harnessFailed {
			continue
		}
		k := key{h.Arch, h.Release, h.Cell, h.CPUs, h.Pause, h.Loaded}
		if sums[k] == nil {
			sums[k] = &[3]int{}
		}
		sums[k][0]++
		if h.alarm() {
			sums[k][1]++
		}
		sums[k][2] += h.Suspected
	}
	keys := slices.SortedFunc(maps.Keys(sums), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.arch, b.arch), cmp.Compare(a.cell, b.cell), cmp.Compare(a.release, b.release), cmp.Compare(a.cpus, b.cpus),
			cmp.Compare(a.pause, b.pause), cmp.Compare(host(a.loaded), host(b.loaded)))
	})
	for _, k := range keys {
		n := sums[k]
		fmt.Fprintf(w, "| %s | %s | %s | %d | %s | %s | %d | %d | %d |\n", k.arch, k.release, k.cell, k.cpus, k.pause, host(k.loaded), n[0], n[1], n[2])
	}
	for _, h := range c.Healthy {
		switch {
		case h.alarm():
			fmt.Fprintf(w, "\nFalse alarm: %s, %s, %d vCPUs%s: %s, %s (%s)\n", h.Cell, h.Release, h.CPUs, h.how(), h.Outcome, h.Note, h.Dir)
		case h.Outcome == harnessFailed:
			fmt.Fprintf(w, "\nNot counted, the harness failed: %s, %s%s: %s\n", h.Cell, h.Release, h.how(), h.Note)
		}
	}
}

func host(loaded bool) string {
	if loaded {
		return "loaded"
	}
	return ""
}

// list writes the seeds that are wanted, the worst first; with explanations,
// where a map of them is given.
func (c *Card) list(w io.Writer, title string, explained map[string]string, want func(Score) bool) {
	fmt.Fprintf(w, "\n## %s\n\n| seed | phase | verdict | reported | function named in | task | after | artifacts |", title)
	if explained != nil {
		fmt.Fprint(w, " explanation |\n|---")
	} else {
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "|---|---|---|---|---|---|---|---|\n")
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
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %s |", s.ID, s.Phase, s.Verdict,
			strings.ReplaceAll(said, "|", "\\|"), s.Placed, s.task(), after, s.Dir)
		if explained != nil {
			fmt.Fprintf(w, " %s |", explained[s.ID])
		}
		fmt.Fprintln(w)
	}
}

// task says whether the right task was named, where that is known.
func (s Score) task() string {
	switch {
	case !s.TaskJudged:
		return ""
	case s.TaskRight:
		return "right"
	case s.Task == nil:
		return "none"
	}
	return "wrong: " + s.Task.Comm
}

// badness orders verdicts: a wrong answer is worst, then a miss.
func badness(v Verdict) int {
	return slices.Index([]Verdict{Failed, NoEffect, Right, Near, Unplaced, Unknown, Missed, Wrong}, v)
}
