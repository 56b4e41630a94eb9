package compare

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/history/boottime"
	"github.com/unwedge/unwedge/harness/internal/console"
)

// words are the states as headings, of failures and of findings.
var words = map[State][2]string{
	New:        {"New failures", "New findings"},
	MaybeNew:   {"May be new: too few boots to be sure", "Findings that may be new"},
	SeenBefore: {"Seen before, with another kernel than A", "Findings seen before, with another kernel than A"},
	Still:      {"Still failing", "Findings still there"},
	Flaky:      {"Flaky: some boots fail", "Findings of some boots"},
	MaybeFixed: {"May be fixed: too few boots to be sure", "Findings that may be gone"},
	Fixed:      {"Fixed", "Findings that are gone"},
}

// Heading names the entry's state for a reader.
func (e Entry) Heading() string {
	if e.Severity != "" {
		return words[e.State][1]
	}
	return words[e.State][0]
}

// Text writes the report for people.
func Text(w io.Writer, r Report) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "A: %s\nB: %s\n", r.A.describe(), r.B.describe())
	if r.Retried > 0 {
		fmt.Fprintf(b, "%d boots were made for this; with each look at them the confidence asked is higher, now %.4g %%\n", r.Retried, 100*r.Confidence)
	}
	heading := ""
	for _, e := range r.Entries {
		if h := e.Heading(); h != heading {
			fmt.Fprintf(b, "\n%s\n", h)
			heading = h
		}
		e.text(b, r.Confidence)
	}
	if len(r.Entries) == 0 {
		b.WriteString("\nNo failures and no findings.\n")
	}
	times(b, r)
	for _, m := range []struct {
		title string
		cells []string
	}{{"Missing: A was booted in these cells, and B was not", r.Missing}, {"Not compared: only B was booted in these cells", r.Added}} {
		if len(m.cells) > 0 {
			fmt.Fprintf(b, "\n%s\n", m.title)
			for _, c := range m.cells {
				fmt.Fprintf(b, "  %s\n", console.SanitizeMax(c, maxWord))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Line says in a line what changed, such as "1 new failure, 2 may be fixed".
func (r Report) Line() string {
	counts := map[State]int{}
	findings := 0
	for _, e := range r.Entries {
		switch {
		case e.Known:
		case e.Severity == "":
			counts[e.State]++
		case e.State == New || e.State == MaybeNew:
			findings++
		}
	}
	var said []string
	add := func(n int, what string) {
		if n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(counts[New], "new")
	add(counts[MaybeNew], "may be new")
	add(counts[SeenBefore], "seen before with another kernel")
	add(counts[Still]+counts[Flaky], "failing still")
	add(counts[MaybeFixed], "may be fixed")
	add(counts[Fixed], "fixed")
	if len(said) == 0 {
		said = []string{"no failure in either"}
	}
	add(findings, "new findings")
	slower := func(c boottime.Change) bool { return c.Verdict == boottime.Slower }
	for _, list := range [][]boottime.Change{r.Times, r.Initcalls} {
		if i := slices.IndexFunc(list, slower); i >= 0 {
			said = append(said, console.SanitizeMax(list[i].String(), maxWord))
		}
	}
	return strings.Join(said, ", ")
}

// maxWord bounds texts that come from outside, in characters.
const maxWord = 200

func (s Side) describe() string {
	var names []string
	for i, k := range s.Kernels {
		if i == 3 {
			names = append(names, fmt.Sprintf("and %d more builds", len(s.Kernels)-i))
			break
		}
		name := console.SanitizeMax(k.Name(), maxWord)
		if k.BuildID != "" {
			name += ", build ID " + k.BuildID[:min(12, len(k.BuildID))]
		}
		names = append(names, name)
	}
	return fmt.Sprintf("%s: %d runs, %d failed", strings.Join(names, "; "), s.Runs, s.Failed)
}

// text writes one entry, and what is to be known of it.
func (e Entry) text(b *strings.Builder, confidence float64) {
	fmt.Fprintf(b, "  %s\n    %s", console.SanitizeMax(e.Title, maxWord), console.SanitizeMax(e.Cell, maxWord))
	if e.Host != "" {
		fmt.Fprintf(b, ", on %s", console.SanitizeMax(e.Host, maxWord))
	}
	fmt.Fprintf(b, "\n    A %s, B %s", e.A, e.B)
	if e.P > 0 {
		fmt.Fprintf(b, "; by chance p = %.2g", e.P)
	}
	b.WriteByte('\n')
	for _, n := range e.notes(confidence) {
		fmt.Fprintf(b, "    %s\n", n)
	}
}

// notes are what limits the entry.
func (e Entry) notes(confidence float64) (out []string) {
	switch {
	case e.Apart:
		out = append(out, "A and B ran on different kinds of hosts: boot both on one to know")
	case e.More > 0:
		out = append(out, fmt.Sprintf("about %d more boots of each would make it %g %% sure, if they go on like this", e.More, 100*confidence))
	case e.More < 0:
		out = append(out, "more boots would hardly make it sure")
	}
	if e.Before != nil {
		out = append(out, fmt.Sprintf("%d earlier runs of other kernels show it, the last of %s on %s", e.Before.Runs, console.SanitizeMax(e.Before.Release, maxWord), e.Before.Last.Format("2006-01-02")))
	}
	if e.Known {
		out = append(out, "it is known, and fails no run")
	}
	if len(e.Hosts) > 0 {
		out = append(out, "the hosts contradict each other:")
		for _, h := range e.Hosts {
			out = append(out, fmt.Sprintf("  %s: A %s, B %s", console.SanitizeMax(h.Host, maxWord), h.A, h.B))
		}
	}
	return out
}

// String is the rate with its interval.
func (r Rate) String() string {
	if r.Boots == 0 {
		return "never booted"
	}
	return fmt.Sprintf("%d of %d (%.0f to %.0f %%)", r.Seen, r.Boots, 100*r.Low, 100*r.High)
}

// times writes which stages and initcalls are slower or faster.
func times(b *strings.Builder, r Report) {
	said := false
	for _, c := range append(slices.Clone(r.Times), r.Initcalls...) {
		if c.Verdict == "" {
			continue
		}
		if !said {
			b.WriteString("\nBoot time\n")
			said = true
		}
		fmt.Fprintf(b, "  %s\n    %s, on %s\n    %s → %s, change %s to %s (99 %%), p = %.2g, boots %d and %d\n",
			console.SanitizeMax(c.String(), maxWord), console.SanitizeMax(c.Cell, maxWord), console.SanitizeMax(c.Host, maxWord), c.Time(c.A), c.Time(c.B), c.Seconds(c.Low), c.Seconds(c.High), c.P, c.BootsA, c.BootsB)
	}
	initcalls := ""
	if r.InitcallsCompared > 0 {
		initcalls = fmt.Sprintf(" and %d of initcalls", r.InitcallsCompared)
	}
	switch {
	case said:
	case len(r.Times)+r.InitcallsCompared > 0:
		fmt.Fprintf(b, "\nBoot time: no change of 5 %% or more is shown, in %d comparisons of stages%s\n", len(r.Times), initcalls)
	default:
		b.WriteString("\nBoot time: not compared: it takes 5 boots of each, in one cell on one kind of host\n")
	}
}
