// Package session carries out one bisection as a user asks for it: it finds the
// candidates, boots them, and writes the answer.
package session

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
	"time"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/bisect/history"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Request is what a user asks.
type Request struct {
	// Tree is a git repository, or a name of the catalogue of trees; Packages are
	// released kernels, as candidate.ListPackages takes them. One of them is set.
	Tree, Packages string
	Flavour        string // of packages, where the pattern matches several
	Good           []string
	Bad            string
	// Arch is what to build for, or which packages to take; "" takes packages of any.
	Arch arch.Arch
	// Cell is the scenario to boot in.
	Cell func(arch.Arch) (scenarios.Scenario, error)
	// Build is how to build commits.
	Build   plan.Build
	Options bisect.Options
	// Fresh uses no verdicts of earlier bisections.
	Fresh bool
	// Out is the bisection's directory; "" for one below the state directory.
	Out string
}

// Check reports wrong use, before anything is done.
func (r Request) Check() error {
	switch {
	case (r.Tree == "") == (r.Packages == ""):
		return usage.Errorf("use one of --tree and --packages: see `unwedge bisect --help`")
	case len(r.Good) == 0 || r.Bad == "":
		return usage.Errorf("--good and --bad are needed: see `unwedge bisect --help`")
	case !(r.Options.Confidence > 0 && r.Options.Confidence < 1):
		return usage.Errorf("--confidence %v: use a value between 0 and 1, such as 0.99", r.Options.Confidence)
	case r.Out != "":
		if err := bisect.CheckDir(r.Out); err != nil { // before anything is fetched for nothing
			return usage.Errorf("--out: %w", err)
		}
	}
	return nil
}

// Session is what carries out a Request. All fields are needed.
type Session struct {
	Planner *plan.Planner
	// Say prints a line of progress.
	Say func(line string)
	// Boot boots a planned kernel in a new run directory, shown by name.
	Boot func(ctx context.Context, req harness.Request, dir, name string) (*result.Result, error)
	// Answer prints the answer.
	Answer func(*bisect.Report) error
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
	// tidy removes what is of no use once the answer is printed; nil for nothing.
	tidy func(ctx context.Context, r *bisect.Report) error
}

// Run bisects. The Report has no First where several candidates are left.
func (s Session) Run(ctx context.Context, r Request) (*bisect.Report, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	find, cost := s.packagesQuest, float64(fetchCost)
	if r.Tree != "" {
		find, cost = s.treeQuest, buildCost
	}
	r.Options.BuildCost = cost
	q, err := find(ctx, r)
	if err != nil {
		return nil, err
	}
	b, err := s.bisection(ctx, q, r)
	if err != nil {
		return nil, err
	}
	for _, n := range q.notes {
		s.Say("note: " + n)
	}
	if n := len(q.source.Candidates()); n == 1 {
		s.Say("1 candidate; journal in " + b.Dir)
	} else {
		s.Say(fmt.Sprintf("%d candidates; journal in %s", n, b.Dir))
	}
	b.Last = func(ctx context.Context, rep *bisect.Report, err error) error {
		switch {
		case err == nil:
			return s.answer(ctx, q, r.Options, rep)
		case errors.As(err, new(*bisect.EndsError)) && q.abandon != nil: // it is over: the next one has other ends
			return errors.Join(err, q.abandon(ctx))
		}
		return err
	}
	rep, err := b.Run(ctx)
	if err != nil {
		return nil, explained(ofBases(err, q.bases), b.Dir)
	}
	return rep, nil
}

// answer completes and prints the answer, and tidies up behind it.
func (s Session) answer(ctx context.Context, q *quest, asked bisect.Options, rep *bisect.Report) error {
	rep.Notes = append(q.notes, doubts(rep, asked)...)
	if q.finish != nil {
		q.finish(ctx, rep)
	}
	if err := writeReport(rep.Dir, rep); err != nil {
		return err
	}
	if err := s.Answer(rep); err != nil {
		return err
	}
	if q.tidy != nil { // the answer does not wait for that
		if err := q.tidy(ctx, rep); err != nil {
			s.Say("note: not everything could be removed: " + console.OneLine(err))
		}
	}
	return nil
}

// bisection puts together what Run needs.
func (s Session) bisection(ctx context.Context, q *quest, r Request) (*bisect.Bisection, error) {
	scenario, err := json.Marshal(q.cell)
	if err != nil {
		return nil, err
	}
	conditions, err := s.conditions(ctx, q.cell)
	if err != nil {
		return nil, err
	}
	tell := newTeller(s.Say, time.Now)
	all := q.source.Candidates()
	b := &bisect.Bisection{
		Source: q.source, Options: r.Options, Verdicts: bisect.Verdicts{Dir: filepath.Join(s.Planner.State, "verdicts")},
		Question:   bisect.Question{Source: q.name, Any: r.Options.AnyFailure, Bad: all[len(all)-1].ID, Scenario: string(scenario), Build: q.build},
		Conditions: conditions, Tell: tell.tell,
	}
	for _, g := range q.source.Good() {
		b.Question.Good = append(b.Question.Good, g.ID)
	}
	b.Dir = bisect.DirOf(s.Planner.State, b.Question)
	if r.Out != "" {
		if b.Dir, err = filepath.Abs(r.Out); err != nil {
			return nil, usage.Errorf("--out: %w", err)
		}
	}
	if q.settle != nil {
		q.settle(b.Dir)
	}
	if r.Fresh {
		b.Verdicts.Dir = filepath.Join(b.Dir, "verdicts")
	}
	b.Boot = func(ctx context.Context, c bisect.Candidate, k bisect.Kernel) (*result.Result, error) {
		return s.boot(ctx, q.cell, c, k)
	}
	return b, nil
}

// conditions is what a scenario is booted with, for the memory of verdicts. This
// program is part of it: it holds the guest's agent, makes the machine and its
// command line, and names failures.
func (s Session) conditions(ctx context.Context, sc scenarios.Scenario) (string, error) {
	h, err := s.Planner.Host(ctx, sc.Arch)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(struct{ Program, QEMU, Accel string }{program(s.Planner.Version), h.Version.String(), string(h.Accel)})
	return string(b), err
}

// program tells this very program from every other build of it.
func program(version string) string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return version
	}
	defer f.Close() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return version
	}
	return hex.EncodeToString(h.Sum(nil))
}

// boot boots a candidate that is ready.
func (s Session) boot(ctx context.Context, sc scenarios.Scenario, c bisect.Candidate, k bisect.Kernel) (*result.Result, error) {
	cand, err := s.Planner.Candidate(ctx, k.Arg, sc.Arch)
	if err != nil {
		return nil, err
	}
	if k.ModulesDir != "" {
		cand.ModulesDir = k.ModulesDir
	}
	req, err := s.Planner.Request(ctx, sc, cand)
	if err != nil {
		return nil, err
	}
	dir, err := rundir.New("", "bisect-"+sc.Name, req.Kernel.Release)
	if err != nil {
		return nil, err
	}
	return s.Boot(ctx, req, dir, c.Name)
}
