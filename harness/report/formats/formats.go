// Package formats is the table of the formats in which a report can be had. Each is a
// function of a summary, in a file or a package of its own; nothing else in unwedge
// knows which formats there are.
package formats

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/report/kcidb"
	"github.com/unwedge/unwedge/harness/report/mail"
	"github.com/unwedge/unwedge/harness/report/page"
	"github.com/unwedge/unwedge/harness/report/summary"
)

// Format is one way to write a report.
type Format struct {
	// Name is what the user calls it.
	Name string
	// Makes says in a few words what it makes.
	Makes string
	// Append adds to a file that is there, as GitHub's step summary wants.
	Append bool
	// Write writes the report.
	Write func(w io.Writer, s summary.Summary, o Options) error
}

// Options are what a user may say of the kernel that its Results do not know.
type Options struct {
	// Version is unwedge's own.
	Version string
	// KCIDB says who reports, and what was checked out.
	KCIDB kcidb.Options
	// Mail says whom a mail goes to, and about which tree.
	Mail mail.Options
	// Note is called with each thing that the user should know of a report and that is
	// not for its reader; nil drops them.
	Note func(string)
}

// All are the formats, in the order in which help lists them.
func All() []Format {
	return []Format{
		{Name: "text", Makes: "what boot and bisect print", Write: text},
		{Name: "html", Makes: "one page: pictures, console, no scripts", Write: func(w io.Writer, s summary.Summary, o Options) error { return page.Write(w, s, o.Version) }},
		{Name: "markdown", Makes: "Markdown for an issue or a chat", Write: markdown},
		{Name: "mail", Makes: "a regression report for git send-email", Write: writeMail},
		{Name: "junit", Makes: "JUnit XML for GitLab, Jenkins and others", Write: junit},
		{Name: "ktap", Makes: "the kernel's test protocol, KTAP version 1", Write: ktap},
		{Name: "kcidb", Makes: "JSON for KernelCI's database, KCIDB 5.3", Write: func(w io.Writer, s summary.Summary, o Options) error { return kcidb.Write(w, s, o.KCIDB) }},
		{Name: "github", Makes: "a step summary for $GITHUB_STEP_SUMMARY", Append: true, Write: githubSummary},
		{Name: "github-annotations", Makes: "workflow commands for a step's output", Write: githubAnnotations},
		{Name: "gitlab", Makes: "collapsible sections for a job's log", Write: gitlab},
		{Name: "openmetrics", Makes: "boot times and outcomes as OpenMetrics text", Write: openmetrics},
		{Name: "json", Makes: "a summary that `unwedge report` reads again", Write: func(w io.Writer, s summary.Summary, _ Options) error { return report.JSON(w, s) }},
	}
}

// Names are the names of all formats.
func Names() []string {
	var out []string
	for _, f := range All() {
		out = append(out, f.Name)
	}
	return out
}

// Find returns the format of a name. The error is a usage.Error.
func Find(name string) (Format, error) {
	for _, f := range All() {
		if f.Name == name {
			return f, nil
		}
	}
	return Format{}, usage.Errorf("report format %q: there are %s", name, strings.Join(Names(), ", "))
}

func text(w io.Writer, s summary.Summary, _ Options) error {
	for i, c := range s.Cells {
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		if _, err := io.WriteString(w, c.Text()); err != nil {
			return err
		}
	}
	if s.Difference != "" {
		_, err := fmt.Fprintf(w, "\nDifference: it %s.\n", s.Difference)
		return err
	}
	return nil
}

func writeMail(w io.Writer, s summary.Summary, o Options) error {
	notes, err := mail.Write(w, s, o.Mail)
	for _, n := range notes {
		if o.Note != nil {
			o.Note(n)
		}
	}
	return err
}

// File writes a report to a file, or to stdout where its name is "-" or "".
func (f Format) File(path string, stdout io.Writer, s summary.Summary, o Options) error {
	if path == "" || path == "-" {
		return f.Write(stdout, s, o)
	}
	flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if f.Append {
		flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
	}
	out, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return fmt.Errorf("write %s report: %w", f.Name, err)
	}
	if err := errors.Join(f.Write(out, s, o), out.Close()); err != nil {
		return fmt.Errorf("write %s report: %w", f.Name, err)
	}
	return nil
}
