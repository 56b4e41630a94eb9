package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
)

// historyFlags are what `unwedge history` was asked.
type historyFlags struct {
	filter store.Filter
	by     string
	since  string
	json   bool
}

func (a *app) historyCmd() *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{
		Use:   "history",
		Short: "List the runs that were made before",
		Long: `List recorded runs, the last first: every run of boot, matrix, bisect and watch is
recorded in history.db in the state directory, unless --no-history is given. With --by,
count them by kernel, by scenario, or by the failure's signature.`,
		Example: `  unwedge history
  unwedge history --failed --since 7d
  unwedge history --by signature
  unwedge history --by kernel --scenario distro
  unwedge history --kernel 7.3.0-rc1 --json
  unwedge history import ~/.local/state/unwedge/runs
  unwedge history prune --older-than 90d`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.history(c.Context(), f) },
	}
	fs := cmd.Flags()
	fs.StringVar(&f.by, "by", "", "count the runs by kernel, scenario or signature")
	fs.StringVarP(&f.filter.Release, "kernel", "k", "", "only this kernel: its `RELEASE`, or at least 8 digits of its build ID")
	fs.StringVarP(&f.filter.Scenario, "scenario", "s", "", "only this scenario, or one cell of it by its whole `NAME`")
	fs.StringVar(&f.filter.Arch, "arch", "", "only this architecture")
	fs.StringVar(&f.filter.Signature, "signature", "", "only this failure: its signature, or a part of its title")
	fs.BoolVar(&f.filter.Failed, "failed", false, "only runs that failed")
	fs.StringVar(&f.since, "since", "", "only runs of this `TIME` and later: an age such as 7d or 12h, or a date")
	fs.IntVarP(&f.filter.Limit, "limit", "n", 50, "list this many; 0 is all")
	fs.BoolVar(&f.json, "json", false, "print a JSON list")
	cmd.AddCommand(a.historyImportCmd(), a.historyPruneCmd())
	return cmd
}

func (a *app) historyImportCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "import DIR...",
		Short: "Record the runs below directories",
		Long: `Record every run whose result.json is in DIR or below. A run that is recorded already is
not counted again, so that this makes a lost history anew.`,
		Example: `  unwedge history import ~/.local/state/unwedge/runs`,
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.historyImport(c.Context(), args) },
	}
}

func (a *app) historyPruneCmd() *cobra.Command {
	var older string
	cmd := &cobra.Command{
		Use:     "prune --older-than AGE",
		Short:   "Forget runs that are older than an age",
		Long:    `Forget the runs that began before an age, such as 90d. Their directories stay.`,
		Example: `  unwedge history prune --older-than 90d`,
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.historyPrune(c.Context(), older) },
	}
	cmd.Flags().StringVar(&older, "older-than", "", "`AGE`: 90d, 12w, 36h, or a date")
	return cmd
}

// openHistory opens the history to be read.
func (a *app) openHistory(ctx context.Context) (*store.Store, error) {
	path, err := store.Path()
	if err != nil {
		return nil, err
	}
	return store.Read(ctx, path)
}

// writeHistory opens the history to be written.
func (a *app) writeHistory(ctx context.Context) (*store.Store, error) {
	path, err := store.Path()
	if err != nil {
		return nil, err
	}
	return store.Open(ctx, path)
}

// recordTime bounds how long a run waits to be recorded.
const recordTime = 10 * time.Second

// record puts a run into the history. If that cannot be done, the run is as good as it
// was: there is a note.
func (a *app) record(ctx context.Context, d display.Display, res *result.Result) {
	if a.noHistory {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	s, err := a.writeHistory(ctx)
	if err == nil {
		_, err = s.Record(ctx, res)
		s.Close()
	}
	if err != nil {
		d.Say("note: this run is not in the history: " + report.Safe(err.Error(), 400))
	}
}

func (a *app) history(ctx context.Context, f historyFlags) error {
	if f.filter.Limit < 0 {
		return usage.Errorf("--limit %d: use 0 or more", f.filter.Limit)
	}
	var err error
	if f.since != "" {
		if f.filter.Since, err = ago("--since", f.since, time.Now()); err != nil {
			return err
		}
	}
	by := store.By(f.by)
	switch by {
	case "", store.ByKernel, store.ByScenario, store.BySignature:
	default:
		return usage.Errorf("--by %q: use kernel, scenario or signature", f.by)
	}
	s, err := a.openHistory(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	if by != "" {
		groups, err := s.Groups(ctx, by, f.filter)
		if err != nil {
			return err
		}
		if f.json {
			return report.JSON(a.stdout, append([]store.Group{}, groups...))
		}
		return a.showGroups(by, groups)
	}
	runs, err := s.Runs(ctx, f.filter)
	if err != nil {
		return err
	}
	if f.json {
		return report.JSON(a.stdout, append([]store.Run{}, runs...))
	}
	return a.showRuns(runs)
}

const dayAndTime = "2006-01-02 15:04"

func (a *app) showRuns(runs []store.Run) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "BEGAN\tKERNEL\tCELL\tACCEL\tOUTCOME\tSECONDS\tTITLE")
	for _, r := range runs {
		title, outcome := "-", r.Outcome
		if r.Failure != nil {
			title = r.Failure.Title
		}
		if r.Unclean {
			outcome += ", unclean"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.1f\t%s\n", r.Started.Local().Format(dayAndTime), r.Kernel.Name(), r.Cell.Name, r.Host.Accel, outcome, r.Verdict.Seconds(), report.Safe(title, 100))
	}
	return w.Flush()
}

func (a *app) showGroups(by store.By, groups []store.Group) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	last := map[store.By]string{store.ByKernel: "\tBUILD ID", store.BySignature: "\tSIGNATURE"}[by]
	fmt.Fprintf(w, "%s\tRUNS\tFAILED\tFIRST\tLAST%s\n", strings.ToUpper(string(by)), last)
	for _, g := range groups {
		id := ""
		if last != "" {
			id = "\t" + g.ID
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s%s\n", report.Safe(g.Name, 100), g.Runs, g.Failed, g.First.Local().Format(dayAndTime), g.Last.Local().Format(dayAndTime), id)
	}
	return w.Flush()
}

func (a *app) historyImport(ctx context.Context, dirs []string) error {
	s, err := a.writeHistory(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, dir := range dirs {
		im, err := s.Import(ctx, dir)
		for _, skipped := range im.Skipped {
			fmt.Fprintln(a.stderr, "note: skipped", skipped)
		}
		if more := im.Unread - len(im.Skipped); more > 0 {
			fmt.Fprintf(a.stderr, "note: skipped %d more\n", more)
		}
		if err != nil {
			return usage.Wrap(err)
		}
		fmt.Fprintf(a.stdout, "%s: %d runs, %d of them new\n", dir, im.Found, im.Added)
	}
	return nil
}

func (a *app) historyPrune(ctx context.Context, older string) error {
	if older == "" {
		return usage.Errorf("history prune: name an age with --older-than, such as 90d")
	}
	before, err := ago("--older-than", older, time.Now())
	if err != nil {
		return err
	}
	s, err := a.writeHistory(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	n, err := s.Prune(ctx, before)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "forgot %d runs of before %s\n", n, before.Local().Format(dayAndTime))
	return err
}

// ago is the time that an age such as 90d, 12w or 36h, or a date, names.
func ago(flag, text string, now time.Time) (time.Time, error) {
	if day, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return day, nil
	}
	if age, err := time.ParseDuration(text); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	for unit, days := range map[string]int{"d": 1, "w": 7} {
		if n, err := strconv.Atoi(strings.TrimSuffix(text, unit)); err == nil && strings.HasSuffix(text, unit) && n >= 0 && n < 100_000 {
			return now.AddDate(0, 0, -n*days), nil
		}
	}
	return time.Time{}, usage.Errorf("%s %q: write an age such as 90d, 12w or 36h, or a date as YYYY-MM-DD", flag, text)
}
