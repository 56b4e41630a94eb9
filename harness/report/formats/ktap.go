package formats

import (
	"fmt"
	"io"
	"strings"

	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/scenarios"
)

// ktap writes a test for each cell (Documentation/dev-tools/ktap.rst). Diagnostic lines
// stand before the result line that they belong to.
func ktap(w io.Writer, s summary.Summary, _ Options) error {
	var b strings.Builder
	fmt.Fprintf(&b, "KTAP version 1\n1..%d\n", len(s.Cells))
	for i, c := range s.Cells {
		if c.Status != summary.Skip {
			for l := range strings.Lines(c.Text()) {
				b.WriteString("# " + strings.TrimRight(l, "\n") + "\n")
			}
		}
		word, directive := "ok", ""
		switch c.Status {
		case summary.Pass:
		case summary.Skip:
			directive = "SKIP"
		case summary.Fail:
			word = "not ok"
			if late(c) {
				directive = "TIMEOUT"
			}
		case summary.Error:
			word, directive = "not ok", "ERROR"
		}
		fmt.Fprintf(&b, "%s %d %s", word, i+1, ktapName(c.Name))
		if about := strings.TrimSpace(directive + " " + ktapTitle(c)); about != "" {
			b.WriteString(" # " + about)
		}
		b.WriteByte('\n')
	}
	if s.Difference != "" {
		fmt.Fprintf(&b, "# difference: it %s\n", s.Difference)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// late says that the boot did not come to an end.
func late(c summary.Cell) bool {
	return c.Result != nil && (c.Result.Outcome == scenarios.Hung || c.Result.Outcome == scenarios.Slow)
}

// ktapTitle is a title that is no directive of its own: the kernel's parser takes the
// last "# SKIP" of a line (tools/testing/kunit/kunit_parser.py).
func ktapTitle(c summary.Cell) string {
	if c.Status == summary.Pass && !c.Result.Unclean {
		return ""
	}
	return strings.ReplaceAll(c.Title(), "#", "-")
}

// ktapName is a name without the # that begins a directive, and without a leading "- ".
func ktapName(name string) string {
	return strings.TrimLeft(strings.ReplaceAll(name, "#", "-"), "- ")
}
