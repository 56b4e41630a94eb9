package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/unwedge/unwedge/harness/bisect"
)

// found prints a bisection's report.
type found struct{ *bisect.Report }

// maxSuspects is how many suspects are listed.
const maxSuspects = 20

// Bisect writes what a bisection found: the answer, its failure beside the last
// good boot, and each step.
func Bisect(w io.Writer, r *bisect.Report, s Style) error {
	b, f := &strings.Builder{}, found{r}
	f.answer(b, s)
	f.commit(b)
	f.failure(b, s)
	if rate := f.rate(); rate != "" {
		field(b, "rate", rate)
	}
	f.beside(b)
	field(b, "cost", f.cost())
	if f.Saved >= time.Second || f.Wasted >= time.Second {
		field(b, "ready", f.ahead())
	}
	for _, n := range f.Notes {
		field(b, "note", safe(n))
	}
	if f.Replay != "" {
		field(b, "replay", safe(f.Replay))
	}
	field(b, "files", safe(f.Dir))
	if f.First != nil && f.Commit != nil {
		field(b, "mail", "unwedge report --format mail "+safe(f.Dir)+" writes a regression report")
	}
	b.WriteByte('\n')
	f.tallies(b)
	f.steps(b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (f found) answer(b *strings.Builder, s Style) {
	sure := fmt.Sprintf("with %s confidence", share(f.Confidence))
	if f.IfSteady-f.Confidence > 0.001 {
		sure += fmt.Sprintf(" (%s if the failure shows in every boot; --confirm makes sure)", share(f.IfSteady))
	}
	if f.First != nil {
		fmt.Fprintf(b, "%s  %s  %s\n", s.paint(red, "FIRST BAD"), candidate(*f.First), sure)
		return
	}
	fmt.Fprintf(b, "%s  one of %d that cannot be told apart, %s:\n", s.paint(yellow, "FIRST BAD"), len(f.Suspects), sure)
	for i, c := range f.Suspects {
		if i == maxSuspects {
			fmt.Fprintf(b, "  … and %d more\n", len(f.Suspects)-i)
			break
		}
		fmt.Fprintf(b, "  %s\n", candidate(c))
	}
}

func candidate(c bisect.Candidate) string {
	if c.About == "" {
		return safe(c.Name)
	}
	return fmt.Sprintf("%s (%q)", safe(c.Name), safe(c.About))
}

// lines makes text of several lines safe.
func lines(text string) string {
	var out []string
	for l := range strings.Lines(text) {
		out = append(out, safe(strings.TrimRight(l, "\n")))
	}
	return strings.Join(out, "\n")
}

// share is a probability in percent, never rounded up to certainty.
func share(p float64) string {
	switch {
	case p >= 0.9999:
		return "over 99.99 %"
	case p >= 0.99:
		return fmt.Sprintf("%.2f %%", p*100)
	default:
		return fmt.Sprintf("%.1f %%", p*100)
	}
}

// commit is what git knows of the answer.
func (f found) commit(b *strings.Builder) {
	c := f.Commit
	if c == nil {
		return
	}
	field(b, "author", safe(c.Author)+", "+safe(c.Date))
	if c.After != "" {
		field(b, "after", safe(c.After))
	}
	if c.Changes != "" {
		field(b, "changes", lines(c.Changes))
	}
	field(b, "tag", safe(c.Fixes))
}

// failure is the answer's own, else the bad end's.
func (f found) failure(b *strings.Builder, s Style) {
	boot := f.Failure
	if f.BadBoot != nil {
		boot = *f.BadBoot
	}
	field(b, "failure", s.paint(bold, failure(boot)))
	if boot.Cause != "" {
		field(b, "cause", fmt.Sprintf("%s (%s), in %s", safe(boot.Cause), safe(boot.Sure), safe(boot.Where)))
	}
	if boot.What != "" {
		field(b, "what", safe(boot.What))
	}
}

func failure(boot bisect.Boot) string {
	if boot.Title != "" {
		return safe(boot.Title)
	}
	return safe(boot.Outcome)
}

// beside shows the bad boot and the good one side by side.
func (f found) beside(b *strings.Builder) {
	if f.BadBoot != nil {
		field(b, "with it", boot(*f.BadBoot))
	}
	if f.GoodBoot != nil {
		of := ""
		if f.LastGood != nil {
			of = candidate(*f.LastGood) + "\n"
		}
		field(b, "before", of+boot(*f.GoodBoot))
	}
	if f.Said != "" {
		text := "ends with " + safe(f.Said)
		if f.WentOn != "" {
			text += "\nthe good boot continues with " + safe(f.WentOn)
		}
		field(b, "console", text)
	}
}

// boot is how a boot ended, and where its files are.
func boot(t bisect.Boot) string {
	text := fmt.Sprintf("%s after %s", safe(t.Outcome), seconds(t.Took))
	if t.Stage != "" {
		text += ", last stage " + safe(t.Stage)
	}
	if !t.Expected {
		text += ": " + failure(t)
	}
	return text + "\n" + safe(t.Dir)
}

func (f found) cost() string {
	s := fmt.Sprintf("%d boots for %d candidates (%d built or unpacked) in %s", f.Boots, f.Candidates, f.Builds, f.Wall.Round(time.Second))
	if f.Broken > 0 {
		s += fmt.Sprintf("; %d could not be built", f.Broken)
	}
	if f.Reused > 0 {
		s += fmt.Sprintf("; %d boots reused", f.Reused)
	}
	return s
}

func (f found) ahead() string {
	s := fmt.Sprintf("%d were built, or being built, while another one booted, which saved %s", f.Ready, f.Saved.Round(time.Second))
	if f.Unused > 0 {
		s += fmt.Sprintf("; %d more (%s) were not needed", f.Unused, f.Wasted.Round(time.Second))
	}
	return s
}

// rate says how often the failure shows, "" if it does in every boot.
func (f found) rate() string {
	var with, without, failed, odd int
	for _, t := range f.Tallies {
		if t.HasFirst {
			with += t.Good + t.Bad
			failed += t.Bad
		} else {
			without += t.Good + t.Bad
			odd += t.Bad
		}
	}
	if failed == with && f.Rate > 0.99 {
		return ""
	}
	text := fmt.Sprintf("fails in about %.0f %% of boots (%.0f to %.0f %%)", f.Rate*100, f.RateLow*100, f.RateHigh*100)
	if f.First != nil {
		text += fmt.Sprintf(": %d of %d with this change, %d of %d without it", failed, with, odd, without)
	}
	return text
}

// tallies lists how often each candidate was booted, if any was more than once.
func (f found) tallies(b *strings.Builder) {
	again := false
	for _, t := range f.Tallies {
		again = again || t.Good+t.Bad > 1
	}
	if !again {
		return
	}
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "BOOTED, OLDEST FIRST\tGOOD\tBAD\tFIRST BAD?")
	for _, c := range f.Tallies {
		p := share(c.Probability)
		switch {
		case c.End:
			p = "the good end"
		case f.First != nil && c.Candidate.ID == f.First.ID:
			p += "  <== the answer"
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\n", candidate(c.Candidate), c.Good, c.Bad, p)
	}
	t.Flush() // a strings.Builder takes all
	b.WriteByte('\n')
}

// Suspects says in a few words which candidates may be the first bad one after a
// step: how many are equally likely, or the names of the few that stand out, and the
// probability left for the others.
func Suspects(s bisect.Step) string {
	switch {
	case len(s.Likely) == 0:
		return fmt.Sprintf("%d left", s.Left)
	case s.Tied >= s.Left && s.Left > len(s.Likely):
		return fmt.Sprintf("%d left, each %s", s.Left, brief(s.Best))
	}
	named, sum := 0, 0.0
	var parts []string
	if s.Tied > len(s.Likely) {
		named, sum = s.Tied, float64(s.Tied)*s.Best
		parts = append(parts, fmt.Sprintf("%d at %s each", named, brief(s.Best)))
	} else {
		for _, l := range s.Likely {
			if l.Probability < s.Best/10 {
				break
			}
			named, sum = named+1, sum+l.Probability
			parts = append(parts, fmt.Sprintf("%s %s", safe(l.Candidate.Name), brief(l.Probability)))
		}
	}
	switch n := s.Left - named; {
	case n == 1:
		parts = append(parts, "one other "+brief(1-sum))
	case n > 1:
		parts = append(parts, fmt.Sprintf("%d others %s", n, brief(1-sum)))
	}
	return strings.Join(parts, ", ")
}

// brief is a probability in percent for a line of several.
func brief(p float64) string {
	switch {
	case p >= 0.9995:
		return "over 99.9 %"
	case p >= 0.1:
		return fmt.Sprintf("%.0f %%", math.Floor(p*100))
	default:
		return fmt.Sprintf("%.1f %%", p*100)
	}
}

// row is one step, or several in a row with the same verdict on the same candidate.
type row struct {
	bisect.Step
	times int
	took  time.Duration
}

// rows merges repeated boots; the suspects are those after the last.
func (f found) rows() []row {
	var out []row
	for _, s := range f.Steps {
		var took time.Duration
		if s.Boot != nil {
			took = s.Boot.Took
		}
		if n := len(out); n > 0 {
			if last := &out[n-1]; s.Boot != nil && last.Boot != nil && s.Candidate == last.Candidate && s.Verdict == last.Verdict && s.Why == last.Why && s.Known == last.Known {
				last.Step, last.times, last.took = s, last.times+1, last.took+took
				continue
			}
		}
		out = append(out, row{s, 1, took})
	}
	return out
}

func (f found) steps(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "VERDICT\tCANDIDATE\tWHY\tLEFT")
	for _, s := range f.rows() {
		why := safe(s.Why)
		if s.times > 1 {
			why += fmt.Sprintf(", %d times", s.times)
		}
		if s.Boot != nil {
			why += " in " + seconds(s.took)
		}
		if s.Known {
			why += " (earlier boot)"
		}
		if s.Log != "" {
			why += " (" + safe(strings.TrimPrefix(s.Log, f.Dir+"/")) + ")"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", safe(s.Verdict), candidate(s.Candidate), why, Suspects(s.Step))
	}
	t.Flush() // a strings.Builder takes all
}
