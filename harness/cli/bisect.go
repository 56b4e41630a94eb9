package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/bisect/history"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/display"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// bisectFlags are what `unwedge bisect` was asked.
type bisectFlags struct {
	bootFlags
	build             treeFlags
	tree              string
	packages, flavour string
	good              []string
	bad               string
	options           bisect.Options
	fresh             bool
}

func (a *app) bisectCmd() *cobra.Command {
	var f bisectFlags
	cmd := &cobra.Command{
		Use:   "bisect {--tree TREE | --packages PATTERN} --good REV --bad REV",
		Short: "Find the first bad one of many kernels",
		Long: `Find the first kernel that fails in a scenario as the bad end does, by booting some
of them: commits of a source tree, which are built, or released packages. Bad is that
failure, by its signature; a kernel that fails in another way says nothing, and so
does one that cannot be made ready.

TREE is a git repository, or a name that unwedge trees lists, which is fetched. The
checkout there is not touched: commits are built in a work tree of the bisection's
own, out of tree, and the next ones that may be asked for while a guest runs.

It can be ended at any moment: the same command goes on where it was, and nothing
is built or booted twice. A failure that shows in some boots only is found too: with
--intermittent from the start, and otherwise once boots contradict each other; the
search then boots kernels more often, until the answer has the confidence asked for.

Exit codes: 0 the first bad one was found, 1 it could not be told apart from others,
2 usage or bad input, 3 the harness, a build or the host failed, 130 interrupted.`,
		Example: `  unwedge bisect --tree ~/src/linux --good v7.2 --bad v7.3-rc1 --config deb:linux-image-cloud-amd64@bookworm
  unwedge bisect --tree stable --good v6.12.40 --bad v6.12.44 --arch aarch64 -s random --entropy none
  unwedge bisect --tree . --good v7.2 --bad HEAD --intermittent --confidence 0.999

  # released kernels, no source needed:
  unwedge bisect --packages 'deb:linux-image-*-cloud-amd64@trixie-backports' --good 6.12 --bad 7.3
  unwedge bisect --packages ./kept/ --good 6.1.170 --bad 6.1.176 -s random --entropy none`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.bisect(c.Context(), f) },
	}
	f.cellFlags(cmd)
	f.build.add(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.tree, "tree", "", "source to build commits of: a git repository, or the name of a `TREE` that unwedge trees lists")
	fs.StringVar(&f.packages, "packages", "", "released kernels: a `PATTERN` deb:GLOB[@SUITE,...], a directory, or files, as unwedge kernels lists them")
	fs.StringVar(&f.flavour, "flavour", "", "which flavour, where the pattern names several: cloud-amd64, ...")
	fs.StringArrayVar(&f.good, "good", nil, "an end that is good")
	fs.StringVar(&f.bad, "bad", "", "the end that is bad")
	fs.BoolVar(&f.options.AnyFailure, "any-failure", false, "every failure is bad, not only the bad end's own")
	fs.BoolVar(&f.options.Intermittent, "intermittent", false, "the failure is known to show in some boots only")
	fs.BoolVar(&f.options.Confirm, "confirm", false, "boot more often, until the answer is that sure even if one failure in ten is intermittent, and one boot in 1000 misleads")
	fs.Float64Var(&f.options.Confidence, "confidence", 0.99, "how sure the answer must be")
	fs.IntVar(&f.options.Retries, "retries", 2, "how often to try again when a boot fails in the harness, or is still at work at its deadline")
	fs.BoolVar(&f.options.Alone, "no-ahead", false, "make nothing ready while a guest runs")
	fs.BoolVar(&f.fresh, "fresh", false, "use no verdicts of earlier bisections")
	fs.StringVarP(&f.out, "out", "o", "", "directory of this bisection (default: one below $XDG_STATE_HOME/unwedge, found again by what is asked)")
	fs.BoolVar(&f.json, "json", false, "print the report as JSON")
	cmd.AddCommand(a.bisectRunCmd())
	return cmd
}

// check finds wrong use before anything is done.
func (f *bisectFlags) check() error {
	switch {
	case (f.tree == "") == (f.packages == ""):
		return usage.Errorf("use one of --tree and --packages: see `unwedge bisect --help`")
	case len(f.good) == 0 || f.bad == "":
		return usage.Errorf("--good and --bad are needed: see `unwedge bisect --help`")
	case !(f.options.Confidence > 0 && f.options.Confidence < 1):
		return usage.Errorf("--confidence %v: use a value between 0 and 1, such as 0.99", f.options.Confidence)
	case f.options.Retries < 0:
		return usage.Errorf("--retries %d: use 0 or more", f.options.Retries)
	case f.out != "":
		if err := bisect.CheckDir(f.out); err != nil { // before anything is fetched for nothing
			return usage.Errorf("--out: %w", err)
		}
	}
	if f.options.Retries == 0 {
		f.options.Retries = -1 // never
	}
	return nil
}

// What making another kernel ready costs, in boots: building a commit on what is
// built already, and unpacking a package. They decide, for an intermittent failure,
// whether to boot a kernel again or another one.
const (
	buildCost = 3
	fetchCost = 1
)

// quest is a bisection that is about to begin.
type quest struct {
	source bisect.Source
	name   string // of the source, as the journal keeps it
	build  string // all that decides how candidates are made, "" where nothing does
	cell   scenarios.Scenario
	notes  []string
	// bases are the good ends that are merge bases.
	bases []history.Base
	// settle tells the source its directory; nil where it needs none.
	settle func(dir string)
	// abandon leaves as little as can be behind of a bisection without an answer;
	// nil where there is nothing to do.
	abandon func(ctx context.Context) error
	// finish ends the source's work, and adds to the report what only it knows; nil
	// where there is nothing to do.
	finish func(ctx context.Context, r *bisect.Report)
	// tidy removes what is of no use once the answer is told; nil for nothing.
	tidy func(ctx context.Context, r *bisect.Report) error
}

func (a *app) bisect(ctx context.Context, f bisectFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	p, err := a.planner()
	if err != nil {
		return err
	}
	d := display.New(a.stderr, a.quiet)
	defer d.Close()
	ctx = progress.With(ctx, d)
	choose := a.packagesQuest
	if f.tree != "" {
		choose = a.treeQuest
	}
	f.options.BuildCost = buildCost
	if f.tree == "" {
		f.options.BuildCost = fetchCost
	}
	q, err := choose(ctx, p, f)
	if err != nil {
		return err
	}
	return a.seek(ctx, p, d, q, f)
}

// seek runs a bisection and reports.
func (a *app) seek(ctx context.Context, p *plan.Planner, d display.Display, q *quest, f bisectFlags) error {
	b, err := a.bisection(ctx, p, d, q, f)
	if err != nil {
		return err
	}
	for _, n := range q.notes {
		d.Say("note: " + n)
	}
	if n := len(q.source.Candidates()); n == 1 {
		d.Say("1 candidate; the journal is in " + b.Dir)
	} else {
		d.Say(fmt.Sprintf("%d candidates; the journal is in %s", n, b.Dir))
	}
	b.Last = func(ctx context.Context, rep *bisect.Report, err error) error {
		switch {
		case err == nil:
			return a.answer(ctx, d, q, f, rep)
		case errors.As(err, new(*bisect.EndsError)) && q.abandon != nil: // it is over: the next one has other ends
			return errors.Join(err, q.abandon(ctx))
		}
		return err
	}
	rep, err := b.Run(ctx)
	switch {
	case err != nil:
		return bisectError(ofBases(err, q.bases), b.Dir)
	case rep.First == nil:
		return errKernel
	}
	return nil
}

// answer tells the answer, and tidies up behind it.
func (a *app) answer(ctx context.Context, d display.Display, q *quest, f bisectFlags, rep *bisect.Report) error {
	rep.Notes = append(q.notes, doubts(rep, f.options)...)
	if q.finish != nil {
		q.finish(ctx, rep)
	}
	if err := writeReport(rep.Dir, rep); err != nil {
		return err
	}
	if f.json {
		if err := report.JSON(a.stdout, rep); err != nil {
			return err
		}
	} else if err := report.Bisect(a.stdout, rep, a.style()); err != nil {
		return err
	}
	if q.tidy != nil { // the answer does not wait for that
		if err := q.tidy(ctx, rep); err != nil {
			d.Say("note: not all could be tidied up: " + console.OneLine(err))
		}
	}
	return nil
}

// ofBases says of a good end that fails whom it stands for, where that is not what the
// user named.
func ofBases(err error, bases []history.Base) error {
	var ends *bisect.EndsError
	if !errors.As(err, &ends) {
		return err
	}
	var revs []string
	for _, b := range bases {
		if b.Hash == ends.Good {
			revs = append(revs, b.Revision)
		}
	}
	if len(revs) == 0 {
		return err
	}
	return fmt.Errorf("%w: it is a merge base, and stands for %s, on the way to which the failure was mended", err, strings.Join(revs, ", "))
}

// doubts are what a reader of the answer should know of the failure.
func doubts(rep *bisect.Report, asked bisect.Options) (notes []string) {
	if t, ok := rep.Contradicted(); ok && !asked.Intermittent {
		notes = append(notes, fmt.Sprintf("the failure shows in some boots only: %s failed in %d of %d; with --intermittent the search takes that into account from the start, and the boots that were made count",
			t.Candidate.Name, t.Bad, t.Good+t.Bad))
	}
	for _, t := range rep.Tallies {
		if rep.First != nil && !t.HasFirst && t.Bad > 0 {
			notes = append(notes, fmt.Sprintf("%s failed in %d of %d boots as the bad end does, though it has not the answer: the search takes that for boots that mislead",
				t.Candidate.Name, t.Bad, t.Good+t.Bad))
		}
	}
	if rep.Failure.Cause == string(result.CauseUnknown) {
		notes = append(notes, "why the bad end fails is not known: every failure that shows as little, at the same stage, counts as the same")
	}
	return notes
}

// bisection puts together what Run needs.
func (a *app) bisection(ctx context.Context, p *plan.Planner, d display.Display, q *quest, f bisectFlags) (*bisect.Bisection, error) {
	scenario, err := json.Marshal(q.cell)
	if err != nil {
		return nil, err
	}
	conditions, err := a.conditions(ctx, p, q.cell)
	if err != nil {
		return nil, err
	}
	tell := newTeller(d.Say, time.Now)
	all := q.source.Candidates()
	b := &bisect.Bisection{
		Source: q.source, Options: f.options, Verdicts: bisect.Verdicts{Dir: filepath.Join(p.State, "verdicts")},
		Question:   bisect.Question{Source: q.name, Any: f.options.AnyFailure, Bad: all[len(all)-1].ID, Scenario: string(scenario), Build: q.build},
		Conditions: conditions, Tell: tell.tell,
	}
	for _, g := range q.source.Good() {
		b.Question.Good = append(b.Question.Good, g.ID)
	}
	b.Dir = bisect.DirOf(p.State, b.Question)
	if f.out != "" {
		if b.Dir, err = filepath.Abs(f.out); err != nil {
			return nil, usage.Errorf("--out: %w", err)
		}
	}
	if q.settle != nil {
		q.settle(b.Dir)
	}
	if f.fresh {
		b.Verdicts.Dir = filepath.Join(b.Dir, "verdicts")
	}
	b.Boot = func(ctx context.Context, c bisect.Candidate, k bisect.Kernel) (*result.Result, error) {
		return a.bootOne(ctx, p, d, q.cell, c, k)
	}
	return b, nil
}

// conditions is what a scenario is booted with, for the memory of verdicts. This
// program is part of it: it holds the guest's agent, makes the machine and its
// command line, and names failures.
func (a *app) conditions(ctx context.Context, p *plan.Planner, sc scenarios.Scenario) (string, error) {
	h, err := p.Host(ctx, sc.Arch)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(struct{ Program, QEMU, Accel string }{a.program(), h.Version.String(), string(h.Accel)})
	return string(b), err
}

// program tells this very program from every other build of it.
func (a *app) program() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return a.version
	}
	defer f.Close() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return a.version
	}
	return hex.EncodeToString(h.Sum(nil))
}

// bootOne boots a candidate that is ready.
func (a *app) bootOne(ctx context.Context, p *plan.Planner, d display.Display, sc scenarios.Scenario, c bisect.Candidate, k bisect.Kernel) (*result.Result, error) {
	cand, err := p.Candidate(ctx, k.Arg, sc.Arch)
	if err != nil {
		return nil, err
	}
	if k.ModulesDir != "" {
		cand.ModulesDir = k.ModulesDir
	}
	req, err := p.Request(ctx, sc, cand)
	if err != nil {
		return nil, err
	}
	dir, err := rundir.New("", "bisect-"+sc.Name, req.Kernel.Release)
	if err != nil {
		return nil, err
	}
	return a.run(ctx, d, req, dir, c.Name, nil)
}

// bisectError gives an error its exit code, and says how to go on.
func bisectError(err error, dir string) error {
	switch {
	case errors.As(err, new(*bisect.EndsError)), errors.As(err, new(*bisect.NotOursError)), errors.As(err, new(*bisect.JournalError)):
		return usage.Wrap(err)
	case errors.Is(err, errInterrupted):
		return fmt.Errorf("%w: the same command goes on where it was (%s)", err, dir)
	case errors.As(err, new(*bisect.HarnessError)): // it says how to go on
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: make room, then run the same command again", err)
	}
	return err
}

// cellOf is the scenario's cell for an arch.
func (a *app) cellOf(f bootFlags, ar arch.Arch) (scenarios.Scenario, error) {
	cat, err := a.catalogue()
	if err != nil {
		return scenarios.Scenario{}, err
	}
	t, err := cat.Find(f.scenario)
	if err != nil {
		return scenarios.Scenario{}, usage.Wrap(err)
	}
	return f.cell(t, ar)
}
