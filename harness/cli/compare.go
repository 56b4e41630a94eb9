package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/history/compare"
	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/internal/bundle"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/progress"
)

// compareFlags are what `unwedge compare` was asked.
type compareFlags struct {
	confidence float64 // percent
	retry      bool
	boots      int
	json       bool
}

func (a *app) compareCmd() *cobra.Command {
	var f compareFlags
	cmd := &cobra.Command{
		Use:   "compare [A] B",
		Short: "Say what is new with one kernel against another",
		Long: `Compare what the history has of two kernels: failures that are new, fixed, still there or
flaky, new findings, cells in which only one was booted, and changes of boot time.

A and B are releases, git describes, 8 or more digits of a build ID or of the file's
SHA-256, the KERNEL argument of earlier runs, or "last": the kernel of the latest run
and, as A, that of the latest run of another kernel in the same cells. Without A it is
"last".

A failure is new only if no earlier kernel had it in that cell, and A had enough boots to
have shown it: by Fisher's exact test, one-sided, at --confidence. Beside it stand how
often it was seen, with the Wilson interval, and how many boots more would make it sure.
Kinds of hosts (processor, accelerator, QEMU) that contradict each other are shown apart.

--retry boots both kernels again, in turns, as their last runs in the cell were booted,
until it is sure what is new and what is fixed, or --boots are made.

Boot times are compared by stage, in the same cell on the same kind of host, by the
Mann-Whitney test: 5 % slower or more, at p < 0.01, is told. Of kernels that were booted
with initcall_debug the initcalls are compared, too.

Exit code 1: a failure is new, or may be.`,
		Example: `  unwedge compare 6.12.0-1 7.3.0-rc1
  unwedge compare v7.3-rc1 v7.3-rc2-12-gabcdef123456
  unwedge compare last last
  unwedge compare --retry 6.12.0-1 7.3.0-rc1     # is it new, or was it chance?
  unwedge compare --json 5fb3a2c1 ./bzImage`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				args = []string{compare.Last, args[0]}
			}
			return a.compare(c.Context(), args[0], args[1], f)
		},
	}
	fs := cmd.Flags()
	addConfidence(cmd, &f.confidence)
	fs.BoolVar(&f.retry, "retry", false, "boot both again where it takes that to be sure")
	fs.IntVar(&f.boots, "boots", 100, "with --retry: boot at most so often")
	fs.BoolVar(&f.json, "json", false, "print the comparison as JSON")
	return cmd
}

// addConfidence adds the flag that says how sure an answer must be.
func addConfidence(cmd *cobra.Command, percent *float64) {
	cmd.Flags().Float64Var(percent, "confidence", 95, "how sure it must be, in `PERCENT`, or as a part of 1 such as 0.95")
}

// part is a confidence in percent as a part of 1; what is one already stays so, as bisect
// and try take it.
func part(percent float64) (float64, error) {
	if percent >= 0.5 && percent < 1 {
		return percent, nil
	}
	if !(percent >= 50 && percent <= 99.99) {
		return 0, usage.Errorf("--confidence %v: use 50 to 99.99", percent)
	}
	return percent / 100, nil
}

func (a *app) compare(ctx context.Context, from, to string, f compareFlags) error {
	confidence, err := part(f.confidence)
	if err != nil {
		return err
	}
	if f.boots < 2 || f.boots > 100000 {
		return usage.Errorf("--boots %d: use 2 to 100000", f.boots)
	}
	if f.retry && a.noHistory {
		return usage.Errorf("--retry counts what it boots in the history: leave out --no-history")
	}
	r, err := a.compared(ctx, from, to, confidence, f)
	if err != nil {
		return err
	}
	if f.json {
		err = report.JSON(a.stdout, r)
	} else {
		err = compare.Text(a.stdout, r)
	}
	if err == nil && r.Bad() {
		err = errKernel
	}
	return err
}

// compared compares, and boots where that is asked.
func (a *app) compared(ctx context.Context, from, to string, confidence float64, f compareFlags) (r compare.Report, err error) {
	if !f.retry {
		s, err := a.openHistory(ctx)
		if err != nil {
			return r, err
		}
		defer s.Close()
		return compare.Kernels(ctx, s, from, to, confidence)
	}
	s, err := a.writeHistory(ctx)
	if err != nil {
		return r, err
	}
	defer s.Close()
	p, err := a.planner()
	if err != nil {
		return r, err
	}
	d := display.New(a.stderr, a.quiet)
	defer d.Close()
	ctx = progress.With(ctx, d)
	return compare.Retry{
		History: s, A: from, B: to, Confidence: confidence, Boots: f.boots, Say: d.Say,
		Boot: func(ctx context.Context, run store.Run) error {
			c, err := bundle.Open(run.Dir, "", bundle.Limits{}, true) // a run of this user's own
			if err != nil {
				return err
			}
			req, err := p.Again(ctx, c.Result, c.Machine, c.Kernel)
			if err != nil {
				return err
			}
			_, err = a.run(ctx, d, req, "", req.Machine.Scenario.Name, nil)
			return err
		},
	}.Until(ctx)
}

// since says what is new with the kernels of some runs, each against the one that was
// booted in the same cells before it. It is a note: nothing depends on it.
func (a *app) since(ctx context.Context, runs ...*result.Result) (said []string) {
	if a.noHistory {
		return nil
	}
	s, err := a.openHistory(ctx)
	if err != nil {
		return nil // the runs themselves have said so
	}
	defer s.Close()
	seen := map[string]bool{}
	for _, r := range runs {
		if r == nil || r.Kernel.SHA256 == "" || seen[r.Kernel.SHA256] {
			continue
		}
		seen[r.Kernel.SHA256] = true
		rep, err := compare.Kernels(ctx, s, compare.Last, r.Kernel.SHA256, 0.95)
		if err != nil {
			continue // there is no other kernel
		}
		before, now := rep.A.Kernels[0], rep.B.Kernels[0]
		said = append(said, fmt.Sprintf("note: %s against %s: %s (unwedge compare %.12s %.12s)", report.Safe(now.Name(), 100), report.Safe(before.Name(), 100), rep.Line(), before.SHA256, now.SHA256))
	}
	return said
}
