// Package page writes a report as one HTML file that asks the network for nothing and
// runs no script. What a guest printed gets into it by html/template alone, which escapes
// it for the place where it stands; pictures are SVG elements of the template. A content
// security policy forbids what would get past that.
package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/harness/result"
)

//go:embed page.css
var style string

//go:embed page.tmpl
var source string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"safe":  func(v any) string { return report.Safe(fmt.Sprint(v), maxText) },
	"line":  line,
	"lines": func(s string) []string { return strings.Split(s, "\n") },
}).Parse(source))

// line is one printed line, safe, with its tabs as spaces.
func line(s string) string { return report.Safe(strings.ReplaceAll(s, "\t", "        "), maxText) }

// maxText bounds each text of a page, in characters.
const maxText = 1000

// How much of a console a page has: of the only boot, and of one of several that failed.
const (
	headLines, tailLines         = 1000, 8000
	headLinesOfMany, tailOfMany  = 50, 1000
	maxConsoles                  = 50
	maxFindings, maxLinesOfOne   = 256, 40
	maxEvidence, maxEvidenceLine = 32, 200
)

// document is what the template is given.
type document struct {
	Title, Version, Policy string
	Style                  template.CSS
	Summary                summary.Summary
	Grid                   *grid
	Cells                  []cell
}

// cell is one boot or bisection.
type cell struct {
	summary.Cell
	ID        string
	Only      bool
	Facts     []fact
	Chain     *chain
	Time      *timeLine
	Findings  []finding
	Evidence  []evidence
	Log       *console
	Narrowing *narrowing
}

// fact is a row of a table of names and values.
type fact struct{ Name, Value string }

// finding is a report of the kernel, and the line of the console where it begins.
type finding struct {
	result.Finding
	Line string
}

type evidence struct {
	result.Evidence
	Line string
	More int
}

// Style is the page's style, for pages that go with it.
func Style() string { return style }

// Policy is the page's content security policy.
func Policy() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}

// Write writes the page. version is unwedge's.
func Write(w io.Writer, s summary.Summary, version string) error {
	d := document{
		Title: s.Title(), Version: version, Summary: s, Style: template.CSS(style), //nolint:gosec // embedded, not a guest's
		Policy: Policy(),
	}
	consoles := 0
	for i, c := range s.Cells {
		one := cell{Cell: c, ID: fmt.Sprintf("c%d", i+1), Only: len(s.Cells) == 1}
		if err := one.fill(&consoles); err != nil {
			return err
		}
		d.Cells = append(d.Cells, one)
	}
	if len(s.Cells) > 1 {
		d.Grid = gridOf(d.Cells)
	}
	if err := page.Execute(w, d); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

func (c *cell) fill(consoles *int) error {
	if c.Bisection != nil {
		c.Narrowing = narrowingOf(c.Bisection)
		return nil
	}
	r := c.Result
	if r == nil {
		return nil
	}
	head, tail := headLines, tailLines
	if !c.Only {
		head, tail = headLinesOfMany, tailOfMany
		if c.Status == summary.Pass || *consoles >= maxConsoles {
			head, tail = 0, 0
		}
	}
	var log summary.Log
	if tail > 0 {
		var err error
		if log, err = c.Console(head, tail); err != nil {
			return err
		}
		*consoles++
	}
	c.Facts, c.Time = facts(r), timeLineOf(r)
	hits := map[int]bool{}
	link := func(offset int64) string {
		n := 0
		if offset >= 0 {
			n = log.At(offset)
		}
		if n == 0 {
			return ""
		}
		hits[n] = true
		return fmt.Sprintf("%sL%d", c.ID, n)
	}
	for _, f := range r.Findings[:min(len(r.Findings), maxFindings)] {
		f.Lines = f.Lines[:min(len(f.Lines), maxLinesOfOne)]
		c.Findings = append(c.Findings, finding{f, link(f.Offset)})
	}
	if d := r.Diagnosis; d != nil {
		c.Chain = chainOf(d)
		for _, e := range d.Evidence[:min(len(d.Evidence), maxEvidence)] {
			more := max(0, len(e.Lines)-maxEvidenceLine)
			e.Lines = e.Lines[:len(e.Lines)-more]
			one := evidence{Evidence: e, More: more}
			if e.Source == "console" {
				one.Line = link(e.Offset)
			}
			c.Evidence = append(c.Evidence, one)
		}
	}
	if len(log.Lines) > 0 {
		c.Log = consoleOf(c.ID, log, hits)
	}
	return nil
}

// facts are what the boot was, for the foot of its report.
func facts(r *result.Result) []fact {
	list := []fact{
		{"kernel", r.Kernel.Origin}, {"release", r.Kernel.Release}, {"build ID", r.Kernel.BuildID}, {"SHA-256", r.Kernel.SHA256},
		{"seeded fault", r.Kernel.Fault}, {"booted", r.Kernel.BootedAs}, {"command line", r.Host.Cmdline},
		{"ran on", strings.TrimSpace(fmt.Sprintf("QEMU %s, %s (%s)", r.Host.QEMUVersion, r.Host.Accel, r.Host.AccelWhy))},
		{"machine", fmt.Sprintf("%d vCPUs, %d MiB", r.Scenario.CPUs, r.Scenario.MemoryMiB)},
		{"last stage", string(r.Stage)}, {"console", fmt.Sprintf("%d lines, %d bytes", r.Console.Lines, r.Console.Bytes)},
		{"began", r.Times.Started.UTC().Format("2006-01-02 15:04:05 UTC")}, {"artifacts", r.Dir},
	}
	if r.Times.Started.IsZero() {
		list[len(list)-2].Value = ""
	}
	var out []fact
	for _, f := range list {
		if f.Value != "" {
			out = append(out, f)
		}
	}
	for _, n := range r.Notes {
		out = append(out, fact{"note", n})
	}
	return out
}

// Guilty says whether the diagnosis knows a cause.
func (c cell) Guilty() bool {
	return c.Result != nil && c.Result.Diagnosis != nil && c.Result.Diagnosis.Cause != result.CauseUnknown
}

// Open says that the cell's report is unfolded: it is the only one, or it did not pass.
func (c cell) Open() bool { return c.Only || c.Status == summary.Fail || c.Status == summary.Error }

// Unclean says that a boot came through with findings that count.
func (c cell) Unclean() bool { return c.Result != nil && c.Result.Unclean }
