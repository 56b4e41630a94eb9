package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/internal/bisect/session"
	"github.com/unwedge/unwedge/harness/internal/bisect/trial"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/images/progress"
)

// tryFlags are what `unwedge try` was asked.
type tryFlags struct {
	trial session.Trial
	json  bool
}

func (a *app) tryCmd() *cobra.Command {
	var f tryFlags
	cmd := &cobra.Command{
		Use:   "try RESULT... --tree TREE --rev REV --patch SERIES.mbox",
		Short: "Say whether a series of patches mends a failure",
		Long: `Apply a series to a revision in a work tree of its own, build it, and boot it in the
scenario of a run that failed, as often as it takes to say that the failure is gone: with
the asked confidence, from how often it showed before. Then a Tested-by line is printed,
and else the reason why there is none: what does not apply, by file and hunk; a build that
fails; the same failure; another one. Your checkout is not touched, and the work tree is
removed. What the series changes in the tree's Makefiles runs on this host: read it first.

RESULT is a run's directory or its result.json. The first failed; more are boots of the
same kernel in the same scenario, which failed or did not. The more boots showed the
failure, the fewer it takes: 5 after 1 of 1, 3 after 3 of 3, for 95 %.

Exit codes: 0 the failure is gone (or, with --dry-run, the series applies), 1 it is not,
2 usage or bad input, 3 the harness, a build or the host failed, 130 interrupted.`,
		Example: `  b4 am -o - MESSAGE-ID > series.mbox
  unwedge try RUN --tree ~/src/linux --rev v7.3-rc1 --patch series.mbox --config defconfig
  unwedge try RUN --tree net --rev main --patch series.mbox --dry-run
  unwedge try RUN1 RUN2 RUN3 --tree . --rev HEAD --patch fix.mbox --confidence 0.99
  unwedge try --json RUN --tree . --rev HEAD --patch fix.mbox | jq -r .verdict`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.try(c.Context(), args, f) },
	}
	addBuildFlags(cmd, &f.trial.Build)
	fs := cmd.Flags()
	fs.StringVar(&f.trial.Tree, "tree", "", "the `TREE` to apply it to: a git repository, or a name from unwedge trees")
	fs.StringVar(&f.trial.Rev, "rev", "", "the revision that the series is based on")
	fs.StringVar(&f.trial.Patch, "patch", "", "the series, as a mailbox `FILE`")
	fs.Float64Var(&f.trial.Confidence, "confidence", 0.95, "required probability that the failure is gone")
	fs.IntVar(&f.trial.Boots, "boots", 100, "boot at most so often")
	fs.StringVar(&f.trial.By, "tested-by", "", "`NAME <ADDRESS>` for the Tested-by line (default: git's user.name and user.email)")
	fs.BoolVar(&f.trial.DryRun, "dry-run", false, "say whether it applies and how many boots it would take, and neither build nor boot")
	fs.BoolVar(&f.json, "json", false, "print the answer as JSON")
	return cmd
}

func (a *app) try(ctx context.Context, runs []string, f tryFlags) error {
	for _, run := range runs {
		_, r, err := readRun(run)
		if err != nil {
			return err
		}
		f.trial.Runs = append(f.trial.Runs, r)
	}
	if err := f.trial.Check(); err != nil {
		return err
	}
	s, d, err := a.session()
	if err != nil {
		return err
	}
	defer d.Close()
	r, err := s.Try(progress.With(ctx, d), f.trial)
	d.Close()
	if err != nil {
		return err
	}
	if f.json {
		err = report.JSON(a.stdout, r)
	} else {
		err = tried(a.stdout, r)
	}
	if err == nil && r.Verdict != trial.Fixed && r.Verdict != trial.Planned {
		err = errKernel
	}
	return err
}

// tried prints the answer for people.
func tried(w io.Writer, r *trial.Report) error {
	var b strings.Builder
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-9s %s\n", label+":", console.SanitizeMax(text, 400))
		}
	}
	fmt.Fprintf(&b, "%s  %s\n", strings.ToUpper(strings.ReplaceAll(string(r.Verdict), "-", " ")), console.SanitizeMax(r.Why, 400))
	line("failure", r.Failure)
	line("in", r.Scenario)
	line("on", strings.TrimSpace(r.Describe+" "+r.Base))
	for _, p := range r.Patches {
		line("patch", p)
	}
	for _, p := range r.Rejected {
		line("rejected", p.String())
	}
	if n := r.After.Boots; n > 0 {
		line("rate", fmt.Sprintf("%d of %d boots before, %d of %d with the series", r.Before.Failed, r.Before.Boots, r.After.Failed, n))
		line("gone", fmt.Sprintf("with %.1f %% confidence (asked: %.4g %%; beta-binomial model, even odds before)", 100*r.Confidence, 100*r.Asked))
		line("files", r.Boots[n-1].Dir)
	}
	if r.Tested != "" {
		b.WriteByte('\n')
		for l := range strings.Lines(r.Tested) {
			b.WriteString(console.Sanitize(strings.TrimSuffix(l, "\n")) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
