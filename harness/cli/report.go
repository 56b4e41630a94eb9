package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report/formats"
	"github.com/unwedge/unwedge/harness/report/kcidb"
	"github.com/unwedge/unwedge/harness/report/mail"
	"github.com/unwedge/unwedge/harness/report/summary"
	"github.com/unwedge/unwedge/images/trees"
)

// reportFlags are what `unwedge report` was asked.
type reportFlags struct {
	format, out, submit string
	source              string
	dryRun              bool
	options             formats.Options
}

func (a *app) reportCmd() *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use:   "report RUN...",
		Short: "Write runs in a format that others read",
		Long: `Write one report on runs that were made before. RUN is a run's directory or its
result.json, a bisection's directory, a directory of such directories, what matrix --json
printed, or a summary of --format json; - is standard input.

boot, matrix and bisect write the same with --report FORMAT=FILE.

Formats:
` + formatList() + `
--submit kcidb sends the KCIDB document to the server of $KCIDB_URL with the token in
$KCIDB_TOKEN. Without --dry-run=false it says what it would send, and sends nothing.`,
		Example: `  unwedge report --format html -o boot.html RUN
  unwedge report --format junit -o junit.xml ~/.local/state/unwedge/runs
  unwedge matrix --report html=matrix.html --report junit=junit.xml ./bzImage
  unwedge matrix --json ./bzImage | unwedge report --format markdown -
  unwedge report --format kcidb --origin mylab --tree mainline --commit HASH RUN
  unwedge report --format mail --tree stable --source ~/src/linux -o mail.txt BAD-RUN GOOD-RUN
  unwedge report --submit kcidb --origin mylab --dry-run=false RUN`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.report(c.Context(), args, f) },
	}
	fs := cmd.Flags()
	fs.StringVarP(&f.format, "format", "f", "text", "`FORMAT` from the list above")
	fs.StringVarP(&f.out, "out", "o", "-", "file to write, - for standard output")
	fs.StringVar(&f.submit, "submit", "", "send it to a `SERVICE`: kcidb")
	fs.BoolVar(&f.dryRun, "dry-run", true, "with --submit: say what would be sent, and send nothing")
	k := &f.options.KCIDB
	fs.StringVar(&k.Origin, "origin", "", "kcidb: the `NAME` that KernelCI gave your system (default: "+kcidb.DefaultOrigin+")")
	fs.StringVar(&k.GitURL, "git-url", "", "kcidb: https URL of the kernel's repository")
	fs.StringVar(&k.Branch, "branch", "", "kcidb: branch that the kernel was built from")
	fs.StringVar(&k.Commit, "commit", "", "kcidb: the kernel's commit, 40 hex digits")
	fs.StringVar(&k.Tree, "tree", "", "kcidb, mail: the kernel's tree, a `NAME` from unwedge trees")
	fs.StringVar(&k.LogURL, "log-url", "", "kcidb, mail: `URL` below which the runs' directories can be fetched")
	m := &f.options.Mail
	fs.StringVar(&f.source, "source", "", "mail: the kernel's source `DIR`, whose scripts/get_maintainer.pl names the recipients")
	fs.StringVar(&m.LastGood, "last-good", "", "mail: a `RELEASE` or revision that boots")
	fs.StringVar(&m.ConfigURL, "config-url", "", "mail: `URL` of the kernel's .config")
	return cmd
}

// formatList is the table of formats for a help text.
func formatList() string {
	var b strings.Builder
	for _, f := range formats.All() {
		fmt.Fprintf(&b, "  %-19s %s\n", f.Name, f.Makes)
	}
	return b.String()
}

func (a *app) report(ctx context.Context, runs []string, f reportFlags) error {
	format, err := formats.Find(f.format)
	if err != nil {
		return err
	}
	if f.submit != "" && f.submit != "kcidb" {
		return usage.Errorf("--submit %q: there is kcidb", f.submit)
	}
	if err := f.options.KCIDB.Check(); err != nil {
		return err
	}
	s, err := summary.Load(runs, a.stdin)
	if err != nil {
		return err
	}
	if f.submit != "" {
		return a.submit(ctx, s, f)
	}
	if err := f.mail(ctx, s); err != nil {
		return err
	}
	return format.File(f.out, a.stdout, s, a.options(f.options))
}

// mail fills in what a mail needs: the tree, and whom it goes to.
func (f *reportFlags) mail(ctx context.Context, s summary.Summary) error {
	m := &f.options.Mail
	m.LogURL = f.options.KCIDB.LogURL
	if name := f.options.KCIDB.Tree; name != "" {
		cat, err := trees.Load("")
		if err != nil {
			return usage.Wrap(err)
		}
		if t, err := cat.Find(name); err == nil { // KCIDB takes any name
			m.Tree = t
		} else if f.format == "mail" {
			return usage.Wrap(err)
		}
	}
	var err error
	if f.source != "" {
		m.To, err = mail.People(ctx, f.source, s)
	}
	return err
}

// options adds what the program knows.
func (a *app) options(o formats.Options) formats.Options {
	o.Version = a.version
	o.Note = func(text string) { fmt.Fprintln(a.stderr, "note:", text) }
	return o
}

// submit sends a KCIDB document, or says what it would send.
func (a *app) submit(ctx context.Context, s summary.Summary, f reportFlags) error {
	d := kcidb.Of(s, f.options.KCIDB)
	said := fmt.Sprintf("%d checkouts, %d builds, %d tests, %d issues, %d incidents", len(d.Checkouts), len(d.Builds), len(d.Tests), len(d.Issues), len(d.Incidents))
	server := kcidb.Server{URL: os.Getenv("KCIDB_URL"), Token: os.Getenv("KCIDB_TOKEN")}
	if f.dryRun {
		_, err := fmt.Fprintf(a.stdout, "would send %s; --dry-run=false sends them, --format kcidb shows them\n", said)
		return err
	}
	id, err := server.Submit(ctx, d)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "sent %s: submission %s\n", said, id)
	return err
}

// reportTo are the reports that --report asks of a command that boots.
type reportTo struct{ wanted []string }

func (r *reportTo) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&r.wanted, "report", nil, "also write a report, `FORMAT=FILE`; - is standard output (repeatable; see unwedge report)")
}

// target is one report to write.
type target struct {
	format formats.Format
	file   string
}

// targets reads the flags, before anything boots.
func (r *reportTo) targets() ([]target, error) {
	var out []target
	for _, w := range r.wanted {
		name, file, ok := strings.Cut(w, "=")
		if !ok || file == "" {
			return nil, usage.Errorf("--report %q: write FORMAT=FILE, such as html=boot.html", w)
		}
		f, err := formats.Find(name)
		if err != nil {
			return nil, err
		}
		out = append(out, target{f, file})
	}
	return out, nil
}

// write writes the reports that were asked for.
func (a *app) write(r reportTo, s summary.Summary) error {
	targets, err := r.targets()
	if err != nil {
		return err
	}
	for _, t := range targets {
		if err := t.format.File(t.file, a.stdout, s, a.options(formats.Options{})); err != nil {
			return err
		}
	}
	return nil
}
