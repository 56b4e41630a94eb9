package matrix

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/progress"
)

// Line is a finished cell in one line.
func Line(c Done[Boot]) string {
	s := c.Job.Label + "  "
	if why, ok := Skipped(c.Err); ok {
		return s + "skipped: " + console.OneLine(errors.New(why))
	}
	if c.Err != nil {
		return s + "no result: " + console.OneLine(c.Err)
	}
	s += fmt.Sprintf("%s in %.1f s", c.Result.Outcome, c.Result.Times.Verdict.Seconds())
	if d := c.Result.Diagnosis; d != nil {
		s += ": " + console.SanitizeMax(d.Title, 200)
	} else if c.Result.Unclean {
		s += ", unclean: " + console.SanitizeMax(result.Worst(c.Result.Findings).Title, 200)
	}
	return s
}

// findings lists the kernel's reports of the cells that came through, one a line.
func findings(w io.Writer, done []Done[Boot]) {
	first := true
	for _, c := range done {
		if c.Result == nil || !c.Result.Unclean {
			continue
		}
		for _, f := range c.Result.Findings {
			if f.Known != nil {
				continue
			}
			if first {
				fmt.Fprintf(w, "\nFindings:\n")
				first = false
			}
			fmt.Fprintf(w, "  %s  %s: %s\n", c.Job.Label, f.Severity, console.SanitizeMax(f.Title, 200))
		}
	}
}

// Skipped says why a cell was not booted, where that is no failure.
func Skipped(err error) (why string, ok bool) {
	var unsupported *plan.UnsupportedError
	if errors.As(err, &unsupported) {
		return unsupported.Reason, true
	}
	return "", false
}

// Results are the Results of the cells that have one, and the difference between those
// that failed and the others. failed says that some did, err that some have no Result.
func Results(done []Done[Boot]) (results []*result.Result, difference string, failed bool, err error) {
	results = []*result.Result{} // [] in JSON, not null
	var points []Point
	var errs []error
	for _, c := range done {
		p := Point{Scenario: c.Job.Scenario, Kernel: c.Job.Kernel.Kernel.Release}
		if c.Err == nil {
			results = append(results, c.Result)
			p.Accel, p.Outcome, p.Expected = c.Result.Host.Accel, c.Result.Outcome, c.Result.Expected
			failed = failed || c.Result.Fails()
		} else if _, ok := Skipped(c.Err); !ok {
			errs = append(errs, c.Err)
		}
		points = append(points, p)
	}
	if len(errs) > 0 {
		err = fmt.Errorf("%d of %d cells have no result: %w", len(errs), len(done), worst(errs))
	}
	return results, Difference(points), failed, err
}

// worst is an interruption or a failure of QEMU, else the first error.
func worst(errs []error) error {
	for _, err := range errs {
		if errors.Is(err, progress.ErrInterrupted) || errors.Is(err, harness.ErrQEMU) {
			return err
		}
	}
	return errs[0]
}

// Text prints the table, the reports of the cells that failed, or of all where verbose,
// and the difference.
func Text(w io.Writer, done []Done[Boot], difference string, verbose bool, style report.Style) error {
	var b strings.Builder
	table(&b, done)
	for _, c := range done {
		if c.Result != nil && (verbose || !c.Result.Expected) {
			b.WriteByte('\n')
			if err := report.Text(&b, c.Result, style); err != nil {
				return err
			}
		}
	}
	if difference != "" {
		fmt.Fprintf(&b, "\nDifference: it %s.\n", difference)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// table is the matrix as it ended. The artifacts are named below the directory
// that they share.
func table(w io.Writer, done []Done[Boot]) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KERNEL\tSCENARIO\tARCH\tENTROPY\tINITRAMFS\tOUTCOME\tSECONDS\tSTAGE\tTITLE")
	var dirs []string
	for _, c := range done {
		sc := c.Job.Scenario
		name, _, _ := strings.Cut(sc.Name, "/")
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t", c.Job.Kernel.Kernel.Release, name, sc.Arch, sc.Entropy, sc.Initramfs)
		if why, ok := Skipped(c.Err); ok {
			fmt.Fprintf(t, "skipped\t-\t-\t%s\n", console.SanitizeMax(why, 80))
			continue
		}
		if c.Err != nil {
			fmt.Fprintf(t, "no result\t-\t-\t%s\n", console.SanitizeMax(console.OneLine(c.Err), 80))
			continue
		}
		r, title := c.Result, "-"
		if r.Diagnosis != nil {
			title = console.SanitizeMax(r.Diagnosis.Title, 80)
		}
		word := string(r.Outcome)
		if r.Unclean {
			word += ", unclean"
			title = console.SanitizeMax(result.Worst(r.Findings).Title, 80)
		}
		if !r.Expected {
			word += " (!)"
		}
		fmt.Fprintf(t, "%s\t%.1f\t%s\t%s\n", word, r.Times.Verdict.Seconds(), console.SanitizeMax(string(r.Stage), 20), title)
		dirs = append(dirs, r.Dir)
	}
	t.Flush() // to a strings.Builder, which takes everything
	findings(w, done)
	if len(dirs) > 0 {
		fmt.Fprintf(w, "\nArtifacts:\n")
	}
	for _, d := range dirs {
		fmt.Fprintln(w, " ", d)
	}
}
