package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/history/compare"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/report"
)

// compareFlags are what `unwedge compare` was asked.
type compareFlags struct {
	confidence float64 // percent
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
and, as A, that of the latest run of another kernel. Without A it is "last".

A failure is new only if no earlier kernel had it in that cell, and A had enough boots to
have shown it: by Fisher's exact test, one-sided, at --confidence. Beside it stand how
often it was seen, with the Wilson interval, and how many boots more would make it sure.
Kinds of hosts (processor, accelerator, QEMU) that contradict each other are shown apart.

Boot times are compared by stage, in the same cell on the same kind of host, by the
Mann-Whitney test: 5 % slower or more, at p < 0.01, is told.

Exit code 1: a failure is new, or may be.`,
		Example: `  unwedge compare 6.12.0-1 7.3.0-rc1
  unwedge compare v7.3-rc1 v7.3-rc2-12-gabcdef123456
  unwedge compare last last
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
	fs.BoolVar(&f.json, "json", false, "print the comparison as JSON")
	return cmd
}

// addConfidence adds the flag that says how sure an answer must be.
func addConfidence(cmd *cobra.Command, percent *float64) {
	cmd.Flags().Float64Var(percent, "confidence", 95, "how sure it must be, in `PERCENT`")
}

// part is a confidence in percent as a part of 1.
func part(percent float64) (float64, error) {
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
	s, err := a.openHistory(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := compare.Kernels(ctx, s, from, to, confidence)
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
