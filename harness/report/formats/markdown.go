package formats

import (
	"fmt"
	"io"
	"strings"

	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/harness/result"
)

// markdown is GitHub's and GitLab's dialect: a headline, a table where there are several
// cells, and a section for each that did not pass.
func markdown(w io.Writer, s summary.Summary, _ Options) error {
	_, err := io.WriteString(w, mdHead(s)+strings.Join(mdSections(s), ""))
	return err
}

// code is a guest's text as a code span: nothing in it is markup, a link or a mention.
// Its fence is longer than any run of back quotes inside (CommonMark 6.1). A bar would
// end a table's cell; there, and only there, GFM takes \| in a code span.
func code(text string, inTable bool) string {
	text = report.Safe(text, 300)
	if text == "" {
		return ""
	}
	if inTable {
		text = strings.ReplaceAll(text, "|", `\|`)
	}
	fence := fenceOf(text, 1)
	return fence + " " + text + " " + fence
}

// fenceOf is a fence of at least so many back quotes that ends nowhere in the text.
func fenceOf(text string, least int) string {
	longest, run := 0, 0
	for _, c := range text {
		if c == '`' {
			run++
			longest = max(longest, run)
			continue
		}
		run = 0
	}
	return strings.Repeat("`", max(least, longest+1))
}

// block is a guest's text of several lines, as a fenced block.
func block(text string) string {
	fence := fenceOf(text, 3)
	return fence + "text\n" + strings.TrimRight(text, "\n") + "\n" + fence + "\n"
}

var marks = map[summary.Status]string{summary.Pass: "✅", summary.Fail: "❌", summary.Skip: "⏭️", summary.Error: "⚠️"}

// mdHead is the headline, and the table.
func mdHead(s summary.Summary) string {
	var b strings.Builder
	if len(s.Cells) == 1 {
		c := s.Cells[0]
		fmt.Fprintf(&b, "## %s %s: %s\n\n", marks[c.Status], c.Word(), code(c.Name, false))
		return b.String()
	}
	mark := marks[summary.Pass]
	if s.Count(summary.Fail)+s.Count(summary.Error) > 0 {
		mark = marks[summary.Fail]
	}
	fmt.Fprintf(&b, "## %s unwedge: %s\n\n", mark, s.Counts())
	if s.Difference != "" {
		fmt.Fprintf(&b, "**Difference:** it %s\n\n", code(s.Difference, false))
	}
	b.WriteString("| | cell | kernel | outcome | seconds | title |\n|---|---|---|---|--:|---|\n")
	for _, c := range s.Cells {
		took, title := "", ""
		if c.Result != nil {
			took = fmt.Sprintf("%.1f", c.Result.Times.Verdict.Seconds())
		}
		if c.Status != summary.Pass || c.Result.Unclean {
			title = code(c.Title(), true)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", marks[c.Status], code(c.Name, true), code(c.Release, true), c.Word(), took, title)
	}
	return b.String() + "\n"
}

// mdSections are the cells that did not pass, or are unclean, the only cell always.
func mdSections(s summary.Summary) []string {
	var out []string
	for _, c := range s.Cells {
		if len(s.Cells) == 1 {
			out = append(out, mdBody(c))
		} else if c.Status == summary.Fail || c.Status == summary.Error || c.Word() != "skipped" && c.Result.Unclean {
			out = append(out, fmt.Sprintf("### %s %s: %s\n\n", marks[c.Status], c.Word(), code(c.Name, false))+mdBody(c))
		}
	}
	return out
}

func mdBody(c summary.Cell) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", code(c.Title(), false))
	if r := c.Result; r != nil && r.Diagnosis != nil {
		d := r.Diagnosis
		fmt.Fprintf(&b, "- **cause:** %s, %s, in %s\n", code(string(d.Cause), false), code(string(d.Confidence), false), code(string(d.Where), false))
		fmt.Fprintf(&b, "- **what:** %s\n", code(d.Summary, false))
		for i, l := range d.Chain {
			word := "→"
			if i == 0 {
				word = "**chain:**"
			}
			fmt.Fprintf(&b, "- %s %s\n", word, code(chainLink(l), false))
		}
		if d.Remedy != "" {
			fmt.Fprintf(&b, "- **fix:** %s\n", code(d.Remedy, false))
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "<details><summary>the whole report</summary>\n\n%s\n</details>\n\n", block(c.Text()))
	return b.String()
}

// chainLink is one step of a wait chain in a line.
func chainLink(l result.Link) string {
	s := fmt.Sprintf("%s (PID %d, %s)", l.Comm, l.PID, l.State)
	if l.Syscall != "" {
		s += " " + l.Syscall + "()"
	}
	if l.Func != "" {
		s += " in " + l.Func
	}
	if l.Why != "" {
		s += ": " + l.Why
	}
	return s
}
