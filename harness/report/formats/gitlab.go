package formats

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/unwedge/unwedge/harness/report/summary"
)

// gitlab is for a job's log: a table, and each report in a section that is collapsed
// unless its cell failed (GitLab's "custom collapsible sections"). The times of a section
// are those of its boot.
func gitlab(w io.Writer, s summary.Summary, _ Options) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\x1b[1munwedge: %s\x1b[0m\n", s.Counts())
	if s.Difference != "" {
		fmt.Fprintf(&b, "difference: it %s\n", s.Difference)
	}
	b.WriteByte('\n')
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range s.Cells {
		fmt.Fprintf(t, "%s\t%s\t%s\n", c.Word(), c.Name, c.Title())
	}
	t.Flush() // a strings.Builder takes all
	b.WriteByte('\n')
	for i, c := range s.Cells {
		if c.Status == summary.Skip {
			continue
		}
		fold := "true"
		if c.Status != summary.Pass {
			fold = "false"
		}
		begun := time.Unix(0, 0)
		if c.Result != nil && !c.Result.Times.Started.IsZero() {
			begun = c.Result.Times.Started
		}
		name := fmt.Sprintf("unwedge_%d", i+1)
		fmt.Fprintf(&b, "\x1b[0Ksection_start:%d:%s[collapsed=%s]\r\x1b[0K%s: %s\n", begun.Unix(), name, fold, c.Word(), c.Name)
		b.WriteString(c.Text())
		fmt.Fprintf(&b, "\x1b[0Ksection_end:%d:%s\r\x1b[0K\n", begun.Add(c.Took()).Unix(), name)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
