package formats

import (
	"fmt"
	"io"
	"strings"

	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/harness/result"
)

// The limits of GitHub Actions: a step summary of more than 1 MiB is dropped whole, and
// of each kind of annotation a step shows ten.
const (
	maxStepSummary = 1<<20 - 4<<10 // something else in the step may add to it
	maxAnnotations = 10
)

// githubSummary is the Markdown, with the sections that there is room for.
func githubSummary(w io.Writer, s summary.Summary, _ Options) error {
	head := mdHead(s)
	if len(head) > maxStepSummary {
		head = fmt.Sprintf("## unwedge: %s\n\nThe table has no room in a step summary.\n\n", s.Counts())
	}
	room, left := maxStepSummary-len(head), 0
	var b strings.Builder
	b.WriteString(head)
	for _, section := range mdSections(s) {
		if len(section) > room {
			left++
			continue
		}
		b.WriteString(section)
		room -= len(section)
	}
	if left > 0 {
		fmt.Fprintf(&b, "%d more reports have no room in a step summary: see the artifacts.\n", left)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// githubAnnotations writes a workflow command for each failure, and for each finding of
// a boot that came through. The last of ten says how many more there are.
func githubAnnotations(w io.Writer, s summary.Summary, _ Options) error {
	var failures, warnings []string
	for _, c := range s.Cells {
		title := c.Word() + ": " + c.Name
		switch {
		case c.Status == summary.Fail && c.Bisection != nil:
			failures = append(failures, annotation("error", title, c.Title()))
		case c.Status == summary.Fail:
			failures = append(failures, annotation("error", title, annotated(c)))
		case c.Status == summary.Error:
			failures = append(failures, annotation("error", title, "the harness failed: "+c.Title()))
		case c.Status == summary.Pass && c.Result.Unclean:
			warnings = append(warnings, annotation("warning", title, c.Title()))
		}
	}
	lines := append(limited(failures, "error", "failures"), limited(warnings, "warning", "unclean boots")...)
	_, err := io.WriteString(w, strings.Join(lines, ""))
	return err
}

// annotated is the title, the sentence on it, and the remedy.
func annotated(c summary.Cell) string {
	text := c.Title()
	if c.Result == nil || c.Result.Diagnosis == nil {
		return text
	}
	d := c.Result.Diagnosis
	text += "\n" + report.Safe(d.Summary, 1000)
	if d.Cause != result.CauseUnknown && d.Remedy != "" {
		text += "\nfix: " + report.Safe(d.Remedy, 1000)
	}
	return text
}

func limited(lines []string, level, what string) []string {
	if len(lines) <= maxAnnotations {
		return lines
	}
	n := len(lines) - maxAnnotations + 1
	return append(lines[:maxAnnotations-1:maxAnnotations-1], annotation(level, "unwedge", fmt.Sprintf("%d more %s: see the step's summary", n, what)))
}

// annotation is a workflow command: data escapes % and line ends, a property also : and
// comma (actions/toolkit, packages/core/src/command.ts).
func annotation(level, title, text string) string {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	return fmt.Sprintf("::%s title=%s::%s\n", level, property.Replace(title), data.Replace(text))
}
