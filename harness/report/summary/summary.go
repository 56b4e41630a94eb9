// Package summary is what all report formats are made from: one or more boots, and
// bisections, each a Cell with one status and one title. It holds Results, and nothing
// that is not in them, but for why a cell has none.
package summary

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/matrix"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

// Schema is the version of a Summary as JSON.
const Schema = "unwedge/summary/1"

// Summary is what a report is about. Its cells keep the order in which they were given.
type Summary struct {
	// Schema is the version of this document.
	Schema string `json:"schema"`
	// Cells are the boots and bisections, at least one.
	Cells []Cell `json:"cells"`
	// Difference says what tells the boots that failed from the others; empty where
	// nothing failed, or there is one boot.
	Difference string `json:"difference,omitempty"`
}

// Status is what a test system makes of a cell.
type Status string

// The statuses.
const (
	Pass  Status = "pass"  // the boot ended as the scenario asks
	Fail  Status = "fail"  // the kernel failed its scenario, or a bisection found who broke it
	Skip  Status = "skip"  // the kernel cannot be booted in this scenario, or its failure is known
	Error Status = "error" // the harness, QEMU or the host failed: nothing is known of the kernel
)

// Statuses are all statuses, in the order in which counts of them are shown.
func Statuses() []Status { return []Status{Pass, Fail, Skip, Error} }

// Cell is one boot, one bisection, or a boot that has no Result.
type Cell struct {
	// Name tells the cell from all others of the Summary.
	Name string `json:"name"`
	// Status is how it ended.
	Status Status `json:"status"`
	// Release is the kernel's, empty where it is not known.
	Release string `json:"release,omitempty"`
	// Scenario is what was to be booted.
	Scenario scenarios.Scenario `json:"scenario"`
	// Result is what the boot showed; nil if there is none.
	Result *result.Result `json:"result,omitempty"`
	// Bisection is what a bisection found; nil for a boot.
	Bisection *bisect.Report `json:"bisection,omitempty"`
	// Why is why a boot has no Result.
	Why string `json:"why,omitempty"`
	// Dir is the directory with the artifacts, empty where there is none.
	Dir string `json:"dir,omitempty"`
}

// maxText bounds the texts taken over from outside, in characters.
const maxText = 1000

// Of makes a Summary of cells: it names them, and finds their difference.
func Of(cells []Cell) Summary {
	s := Summary{Schema: Schema, Cells: cells}
	s.name()
	var points []matrix.Point
	for _, c := range cells {
		if c.Bisection != nil {
			continue
		}
		p := matrix.Point{Scenario: c.Scenario, Kernel: c.Release}
		if r := c.Result; r != nil {
			p.Accel, p.Outcome, p.Expected = r.Host.Accel, r.Outcome, r.Expected
		}
		points = append(points, p)
	}
	if len(points) > 1 {
		s.Difference = matrix.Difference(points)
	}
	return s
}

// OfMatrix is the Summary of a matrix that was run.
func OfMatrix(done []matrix.Done[matrix.Boot]) Summary {
	var cells []Cell
	for _, d := range done {
		if d.Result != nil {
			cells = append(cells, OfResult(d.Result, d.Result.Dir))
			continue
		}
		c := Cell{Scenario: d.Job.Scenario, Release: d.Job.Kernel.Kernel.Release, Status: Error}
		if why, ok := matrix.Skipped(d.Err); ok {
			c.Status, c.Why = Skip, report.Safe(why, maxText)
		} else {
			c.Why = report.Safe(fmt.Sprint(d.Err), maxText)
		}
		cells = append(cells, c)
	}
	return Of(cells)
}

// OfResult is the cell of a boot whose artifacts are in dir.
func OfResult(r *result.Result, dir string) Cell {
	c := Cell{Status: Fail, Scenario: r.Scenario, Release: report.Safe(release(r), maxText), Result: r, Dir: dir}
	switch {
	case r.Expected:
		c.Status = Pass
	case r.KnownFailure != nil:
		c.Status = Skip
	}
	return c
}

func release(r *result.Result) string {
	if k := r.Kernel.Running; r.Kernel.Release == "" && k != nil {
		return k.Release
	}
	return r.Kernel.Release
}

// OfBisection is the cell of a bisection: it fails, as its bad end does.
func OfBisection(b *bisect.Report) Cell {
	return Cell{Status: Fail, Bisection: b, Dir: b.Dir}
}

// name gives each cell a name of its own: its scenario's, after the kernel's release
// where several kernels were booted, and with a number where both are the same.
func (s *Summary) name() {
	releases := map[string]bool{}
	for _, c := range s.Cells {
		if c.Bisection == nil {
			releases[c.Release] = true
		}
	}
	seen := map[string]int{}
	for i := range s.Cells {
		c := &s.Cells[i]
		name := cmp.Or(c.Scenario.Name, "boot")
		if c.Bisection != nil {
			name = "bisect " + end(c.Bisection.Question.Good) + ".." + end([]string{c.Bisection.Question.Bad})
		} else if len(releases) > 1 && c.Release != "" {
			name = c.Release + " " + name
		}
		name = report.Safe(strings.ReplaceAll(name, "#", "-"), 200)
		if seen[name]++; seen[name] > 1 {
			name += fmt.Sprintf(" (%d)", seen[name])
		}
		c.Name = name
	}
}

// end is an end of a bisection in short: an abbreviated hash, or a version.
func end(ids []string) string {
	if len(ids) == 0 {
		return "?"
	}
	id := ids[0]
	if len(id) >= 40 && strings.Trim(id, "0123456789abcdef") == "" {
		return id[:12]
	}
	return id
}

// Count is how many cells have the status.
func (s Summary) Count(st Status) int {
	n := 0
	for _, c := range s.Cells {
		if c.Status == st {
			n++
		}
	}
	return n
}

// Counts says how the cells ended in a few words: "6 passed, 2 failed".
func (s Summary) Counts() string {
	words := map[Status]string{Pass: "passed", Fail: "failed", Skip: "skipped", Error: "without a result"}
	var out []string
	for _, st := range Statuses() {
		if n := s.Count(st); n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, words[st]))
		}
	}
	return strings.Join(out, ", ")
}

// Title is one line on the whole.
func (s Summary) Title() string {
	if len(s.Cells) == 1 {
		return s.Cells[0].Name + ": " + s.Cells[0].Title()
	}
	return fmt.Sprintf("%d cells: %s", len(s.Cells), s.Counts())
}

// Word is how the cell ended in one or two words: "hung", "booted, unclean".
func (c Cell) Word() string {
	switch r := c.Result; {
	case c.Bisection != nil:
		return "bisected"
	case r == nil && c.Status == Skip:
		return "skipped"
	case r == nil:
		return "no result"
	case r.Unclean:
		return outcome(r) + ", unclean"
	default:
		return outcome(r)
	}
}

// outcome is a word of a few letters, whatever the document says.
func outcome(r *result.Result) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c == '-' {
			return c
		}
		return -1
	}, string(r.Outcome[:min(len(r.Outcome), 40)]))
}

// Title is the cell's headline, safe to show: what failed, else how it ended.
func (c Cell) Title() string {
	if b := c.Bisection; b != nil {
		if b.First == nil {
			return fmt.Sprintf("the first bad one is one of %d", len(b.Suspects))
		}
		return "first bad: " + report.Safe(b.First.String(), maxText)
	}
	r := c.Result
	if r == nil {
		return cmp.Or(report.Safe(c.Why, maxText), "no result")
	}
	if worst := result.Worst(r.Findings); r.Unclean && worst != nil && r.Diagnosis == nil {
		return report.Safe(worst.Title, maxText)
	}
	if d := r.Diagnosis; d != nil {
		title := report.Safe(d.Title, maxText)
		if k := r.KnownFailure; k != nil {
			title = report.Safe("known: "+title+": "+k.Reason, maxText)
		}
		return title
	}
	return fmt.Sprintf("%s in %.1f s", c.Word(), r.Times.Verdict.Seconds())
}

// Text is the whole report on the cell, as `unwedge boot` prints it.
func (c Cell) Text() string {
	var b strings.Builder
	var err error
	switch {
	case c.Bisection != nil:
		err = report.Bisect(&b, c.Bisection, report.Style{})
	case c.Result != nil:
		err = report.Text(&b, c.Result, report.Style{})
	default:
		b.WriteString(c.Title() + "\n")
	}
	if err != nil {
		return c.Title() + "\n" // a strings.Builder takes all
	}
	return b.String()
}

// Took is how long the cell took in wall time, 0 where that is not known.
func (c Cell) Took() time.Duration {
	switch {
	case c.Bisection != nil:
		return c.Bisection.Wall
	case c.Result != nil:
		return c.Result.Times.Wall
	default:
		return 0
	}
}

// Ours says that the failure is the fault of how the guest was set up, or of the host,
// by the diagnosis, and not of the kernel or its user space.
func (c Cell) Ours() bool {
	if c.Result == nil || c.Result.Diagnosis == nil {
		return false
	}
	w := c.Result.Diagnosis.Where
	return w == result.WhereHarness || w == result.WhereHost
}
