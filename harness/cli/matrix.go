package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/matrix"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

type matrixFlags struct {
	scenarios          []string
	arch               []string
	entropy, initramfs []string
	jobs               int
	probe              []string
	json, verbose      bool
}

func (a *app) matrixCmd() *cobra.Command {
	var f matrixFlags
	cmd := &cobra.Command{
		Use:   "matrix [KERNEL...]",
		Short: "Boot kernels in all cells of scenarios",
		Long: `Boot each kernel in each cell of the scenarios that is for its architecture,
several at a time, and say what tells the cells that failed from the others.
Without KERNEL a Debian kernel for each architecture is booted.`,
		Example: `  unwedge matrix                                     # the 8 cells of "distro"
  unwedge matrix -j 4 ./bzImage ./Image
  unwedge matrix -s tiny -s random deb:linux-image-cloud-amd64@trixie-backports
  unwedge matrix --arch aarch64 --entropy none
  unwedge matrix --probe ./bzImage                   # experiment on each guest that hangs`,
		RunE: func(c *cobra.Command, args []string) error { return a.matrix(c.Context(), args, f) },
	}
	fs := cmd.Flags()
	fs.StringSliceVarP(&f.scenarios, "scenario", "s", []string{"distro"}, "scenarios: `NAMES` that unwedge scenarios lists")
	fs.StringSliceVar(&f.arch, "arch", nil, "only these architectures")
	fs.StringSliceVar(&f.entropy, "entropy", nil, "only these entropy sources")
	fs.StringSliceVar(&f.initramfs, "initramfs", nil, "only these initramfs")
	fs.IntVarP(&f.jobs, "jobs", "j", 1, "how many guests at a time; one per core is best")
	addProbeFlag(cmd, &f.probe)
	fs.BoolVar(&f.json, "json", false, "print the Results as a JSON list")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "print the whole report of each cell, not only of those that failed")
	return cmd
}

// cell is one boot of the matrix, planned.
type cell struct {
	sc    scenarios.Scenario
	cand  *candidate.Candidate
	label string // tells it from the other cells, padded to their width
}

func (a *app) matrix(ctx context.Context, args []string, f matrixFlags) error {
	if f.jobs < 1 {
		return usage.Errorf("-j %d: use 1 or more", f.jobs)
	}
	probes, err := parseProbes(f.probe)
	if err != nil {
		return err
	}
	p, err := a.planner()
	if err != nil {
		return err
	}
	p.Probes = probes
	d := a.newDisplay()
	defer d.close()
	ctx = progress.With(ctx, d)
	cells, err := a.cells(ctx, p, args, f)
	if err != nil {
		return err
	}
	done := matrix.Run(ctx, cells, f.jobs, func(ctx context.Context, c matrix.Cell[cell]) (*result.Result, error) {
		req, err := p.Request(ctx, c.Job.sc, c.Job.cand)
		if err != nil {
			return nil, err
		}
		return a.run(ctx, d, req, "", c.Job.label, nil)
	}, func(c matrix.Done[cell]) {
		d.say(fmt.Sprintf("[%d/%d] %s", c.Index+1, len(cells), cellLine(c)))
	})
	d.close()
	return a.tell(done, f)
}

// cells expands kernels and scenarios, in the order of the arguments.
func (a *app) cells(ctx context.Context, p *plan.Planner, args []string, f matrixFlags) ([]cell, error) {
	cat, err := a.catalogue()
	if err != nil {
		return nil, err
	}
	archs, err := parseArchs(f.arch)
	if err != nil {
		return nil, err
	}
	if len(args) == 0 {
		for _, ar := range archs {
			args = append(args, plan.DefaultKernel(ar))
		}
	}
	var out []cell
	for _, arg := range args {
		c, err := p.Candidate(ctx, arg, "")
		if err != nil {
			return nil, err
		}
		for _, name := range f.scenarios {
			t, err := cat.Find(name)
			if err != nil {
				return nil, usage.Wrap(err)
			}
			for _, sc := range t.Cells() {
				if sc.Arch == c.Kernel.Arch && slices.Contains(archs, sc.Arch) && f.wants(sc) {
					out = append(out, cell{sc: sc, cand: c})
				}
			}
		}
	}
	if len(out) == 0 {
		return nil, usage.Errorf("no cell is left: the kernels' architectures and the filters exclude them all")
	}
	label(out)
	return out, nil
}

// label names each cell by its scenario, and by its kernel where several kernels
// boot the same one.
func label(cells []cell) {
	kernels := map[string]map[string]bool{}
	for _, c := range cells {
		if kernels[c.sc.Name] == nil {
			kernels[c.sc.Name] = map[string]bool{}
		}
		kernels[c.sc.Name][c.cand.Kernel.Release] = true
	}
	width := 0
	for i, c := range cells {
		cells[i].label = c.sc.Name
		if len(kernels[c.sc.Name]) > 1 {
			cells[i].label = c.cand.Kernel.Release + " " + c.sc.Name
		}
		width = max(width, len(cells[i].label))
	}
	for i := range cells {
		cells[i].label = fmt.Sprintf("%-*s", width, cells[i].label)
	}
}

func parseArchs(names []string) ([]arch.Arch, error) {
	if len(names) == 0 {
		return arch.All(), nil
	}
	var out []arch.Arch
	for _, n := range names {
		a, err := parseArch(n)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func (f matrixFlags) wants(sc scenarios.Scenario) bool {
	return (len(f.entropy) == 0 || slices.Contains(f.entropy, string(sc.Entropy))) &&
		(len(f.initramfs) == 0 || slices.Contains(f.initramfs, string(sc.Initramfs)))
}

// cellLine is a finished cell in one line.
func cellLine(c matrix.Done[cell]) string {
	s := c.Job.label + "  "
	if why, ok := skipped(c.Err); ok {
		return s + "skipped: " + oneLine(errors.New(why))
	}
	if c.Err != nil {
		return s + "no result: " + oneLine(c.Err)
	}
	s += fmt.Sprintf("%s in %.1f s", c.Result.Outcome, c.Result.Times.Verdict.Seconds())
	if d := c.Result.Diagnosis; d != nil {
		s += ": " + console.SanitizeMax(d.Title, 200)
	}
	return s
}

// skipped says why a cell was not booted, where that is no failure.
func skipped(err error) (why string, ok bool) {
	var unsupported *plan.UnsupportedError
	if errors.As(err, &unsupported) {
		return unsupported.Reason, true
	}
	return "", false
}

// tell prints the table, the failed cells' reports and the difference, and
// returns the error that is the exit code.
func (a *app) tell(done []matrix.Done[cell], f matrixFlags) error {
	results := []*result.Result{} // [] in JSON, not null
	var points []matrix.Point
	var errs []error
	failed := false
	for _, c := range done {
		p := matrix.Point{Scenario: c.Job.sc, Kernel: c.Job.cand.Kernel.Release}
		if c.Err != nil {
			points = append(points, p)
			if _, ok := skipped(c.Err); !ok {
				errs = append(errs, c.Err)
			}
			continue
		}
		results = append(results, c.Result)
		p.Accel, p.Outcome, p.Expected = c.Result.Host.Accel, c.Result.Outcome, c.Result.Expected
		points = append(points, p)
		failed = failed || !c.Result.Expected
	}
	if f.json {
		if err := writeJSON(a.stdout, results); err != nil {
			return err
		}
	} else if err := a.tellText(done, matrix.Difference(points), f.verbose); err != nil {
		return err
	}
	switch {
	case len(errs) > 0:
		return fmt.Errorf("%d of %d cells have no result: %w", len(errs), len(done), worst(errs))
	case failed:
		return errKernel
	default:
		return nil
	}
}

// worst prefers what is not the harness's fault to hide: an interruption first,
// then the first error.
func worst(errs []error) error {
	for _, err := range errs {
		if errors.Is(err, errInterrupted) || errors.Is(err, harness.ErrQEMU) {
			return err
		}
	}
	return errs[0]
}

func (a *app) tellText(done []matrix.Done[cell], difference string, verbose bool) error {
	var b strings.Builder
	a.table(&b, done)
	for _, c := range done {
		if c.Result != nil && (verbose || !c.Result.Expected) {
			b.WriteByte('\n')
			if err := report.Text(&b, c.Result, a.style()); err != nil {
				return err
			}
		}
	}
	if difference != "" {
		fmt.Fprintf(&b, "\nDifference: it %s.\n", difference)
	}
	_, err := io.WriteString(a.stdout, b.String())
	return err
}

// table is the matrix as it ended. The artifacts are named below the directory
// that they share.
func (a *app) table(w io.Writer, done []matrix.Done[cell]) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KERNEL\tSCENARIO\tARCH\tENTROPY\tINITRAMFS\tOUTCOME\tSECONDS\tSTAGE\tTITLE")
	var dirs []string
	for _, c := range done {
		sc := c.Job.sc
		name, _, _ := strings.Cut(sc.Name, "/")
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t", c.Job.cand.Kernel.Release, name, sc.Arch, sc.Entropy, sc.Initramfs)
		if why, ok := skipped(c.Err); ok {
			fmt.Fprintf(t, "skipped\t-\t-\t%s\n", console.SanitizeMax(why, 80))
			continue
		}
		if c.Err != nil {
			fmt.Fprintf(t, "no result\t-\t-\t%s\n", console.SanitizeMax(oneLine(c.Err), 80))
			continue
		}
		r, title := c.Result, "-"
		if r.Diagnosis != nil {
			title = console.SanitizeMax(r.Diagnosis.Title, 80)
		}
		word := string(r.Outcome)
		if !r.Expected {
			word += " (!)"
		}
		fmt.Fprintf(t, "%s\t%.1f\t%s\t%s\n", word, r.Times.Verdict.Seconds(), console.SanitizeMax(string(r.Stage), 20), title)
		dirs = append(dirs, r.Dir)
	}
	t.Flush() // to a strings.Builder, which takes everything
	if len(dirs) > 0 {
		fmt.Fprintf(w, "\nArtifacts:\n")
	}
	for _, d := range dirs {
		fmt.Fprintln(w, " ", d)
	}
}
