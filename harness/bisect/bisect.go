// Package bisect finds the first bad kernel of many by booting some of them. It asks
// search which one is next, its Source to make that one bootable, and the harness to
// boot it. A journal keeps what it learns, so that a run that was killed at any moment
// continues where it stopped.
//
// Bad is a candidate that fails like the bad end. One that fails in another way, or
// does not build, is skipped.
package bisect

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
	"github.com/unwedge/unwedge/harness/result"
)

// Booter boots a prepared candidate once. An error means that nothing is known
// about it.
type Booter func(ctx context.Context, c Candidate, k Kernel) (*result.Result, error)

// Options are how to bisect. The zero value assumes that a hang shows in
// every boot until boots contradict that.
type Options struct {
	// AnyFailure makes every failure a bad one.
	AnyFailure bool
	// Intermittent says that the failure shows in some boots only.
	Intermittent bool
	// Confirm boots more often, until the answer is as sure as is asked even for
	// somebody who takes one failure in ten for an intermittent one, and one good
	// boot in a thousand for one that looks like the failure by mistake.
	Confirm bool
	// BuildCost is what it costs to make another candidate ready, in boots. It is
	// weighed where the failure is intermittent.
	BuildCost float64
	// Confidence is how sure the answer must be, 0 for 0.99.
	Confidence float64
	// Retries is how often a boot is tried again that failed in the harness, or was
	// still at work at its deadline; 0 for 2, less than 0 for never.
	Retries int
	// Alone makes nothing ready in the background.
	Alone bool
}

// mistaken is the rate of wrong verdicts that Options.Confirm allows for.
const mistaken = 0.001

// defaultRetries is for Options.Retries.
const defaultRetries = 2

// Bisection is one search. All fields but Options, Tell and Last are needed.
type Bisection struct {
	Source Source
	Boot   Booter
	// Question is what is asked, as the journal keeps it.
	Question Question
	// Conditions are what Question.Scenario is booted with: unwedge itself, which
	// names failures and has the guest's agent, and QEMU. A boot that was made with
	// anything else is made again; what was built is not.
	Conditions string
	// Dir is where the journal is; it belongs to this bisection, with all that is
	// in it.
	Dir string
	// Verdicts remembers boots over all bisections.
	Verdicts Verdicts
	Options  Options
	// Tell is called with each step when it is done, and with what is about to
	// be done; from one goroutine at a time.
	Tell func(Event)
	// Last, where it is set, is called with what Run would return, while Dir is still
	// this run's: what it writes or removes there is nobody else's. Its error is Run's.
	Last func(ctx context.Context, rep *Report, err error) error
}

// Run bisects. The error wraps ErrBusy, or is an EndsError where the ends are
// not what they were said to be, a NotOursError where Dir is somebody else's, a
// HarnessError where a boot could not be made, or the context's cause. The Report is
// nil then; what was learnt is kept.
func (b Bisection) Run(ctx context.Context) (*Report, error) {
	j, err := openJournal(b.Dir, b.Question, digest(b.conditions()))
	if err != nil {
		return nil, err
	}
	r, err := b.newRun(j)
	if err != nil {
		return nil, errors.Join(err, j.close())
	}
	err = r.run(ctx)
	r.builds.stop()
	rep := r.report
	if err != nil {
		rep = nil
	}
	if b.Last != nil {
		err = b.Last(ctx, rep, err)
	}
	if err := errors.Join(err, j.close()); err != nil {
		return nil, err
	}
	return rep, nil
}

// conditions is all that decides how a boot ends but for the kernel.
func (b Bisection) conditions() string { return b.Question.Scenario + "\x00" + b.Conditions }

// run is a Bisection at work.
type run struct {
	Bisection
	journal *journal
	builds  *builds
	search  *search.Search
	all     []Candidate
	want    Boot           // how the bad end failed
	used    map[string]int // boots of each image that were taken from what is known
	judged  map[string]int // an image and the candidate that was judged by it
	shown   map[string]*shows
	goods   int  // good boots of the good ends
	forgot  bool // that verdicts cannot be remembered was told
	report  *Report
	begun   time.Time
}

// shows counts the boots of an image: those that were judged, and those that failed
// otherwise and were not counted.
type shows struct{ judged, odd int }

// mayBeChance says whether another failure may be one that shows in some boots only:
// where the candidate was judged as often, or where the one that is looked for is
// such a failure itself, once.
func (s *shows) mayBeChance(intermittent bool) bool {
	return s.odd < s.judged || intermittent && s.odd == 0
}

func (b Bisection) newRun(j *journal) (*run, error) {
	o := search.Options{Confidence: b.Options.Confidence, Intermittent: b.Options.Intermittent, SwitchCost: b.Options.BuildCost}
	if o.Intermittent {
		o.OlderPrior = olderPrior
	}
	if b.Options.Confirm && !o.Intermittent {
		o.Steady, o.WrongRate = search.DoubtedSteady, mistaken
	}
	s, err := search.New(search.History{Parents: b.Source.Parents()}, o)
	if err != nil {
		return nil, fmt.Errorf("begin the search: %w", err)
	}
	if b.Tell == nil {
		b.Tell = func(Event) {}
	}
	return &run{
		Bisection: b, journal: j, builds: newBuilds(b.Source, j), search: s, all: b.Source.Candidates(),
		used: map[string]int{}, judged: map[string]int{}, shown: map[string]*shows{}, begun: time.Now(),
		report: &Report{Schema: Schema, Question: b.Question, Dir: b.Dir, Candidates: len(b.Source.Candidates())},
	}, nil
}

func (r *run) run(ctx context.Context) error {
	if n := r.journal.others; n > 0 && len(r.journal.boots) == 0 {
		r.Tell(Event{Doing: "note", Why: fmt.Sprintf("%d boots were made with another unwedge, QEMU or accelerator and are repeated; kernels are not rebuilt", n)})
	}
	if err := r.ends(ctx); err != nil {
		return err
	}
	for {
		c, done := r.search.Next()
		if done {
			break
		}
		judge := r.judge
		if c.Candidate == search.Older {
			judge = r.goodAgain
		}
		if err := judge(ctx, c); err != nil {
			return err
		}
	}
	if err := r.notOlder(); err != nil {
		return err
	}
	r.builds.stop()
	r.conclude()
	return nil
}

// judge asks for one choice of the search.
func (r *run) judge(ctx context.Context, choice search.Choice) error {
	c := r.all[choice.Candidate]
	k, err := r.prepare(ctx, c)
	if bad := new(*UnbuildableError); errors.As(err, bad) {
		r.step(Step{Candidate: c, Verdict: search.Skip.String(), Why: "does not build: " + (*bad).Reason, Log: (*bad).Log})
		return r.search.Observe(choice.Candidate, search.Skip)
	}
	if err != nil {
		return err
	}
	if other, ok := r.judged[k.Image]; ok && other != choice.Candidate {
		// What lies between two commits that make the same image changes nothing.
		if err := r.search.Same(other, choice.Candidate); err != nil {
			return err
		}
		r.step(Step{Candidate: c, Verdict: Same, Why: "builds the same image as " + r.name(other), Image: k.Image})
		return nil
	}
	if r.judged[k.Image] = choice.Candidate; r.shown[k.Image] == nil {
		r.shown[k.Image] = &shows{}
	}
	for range max(1, choice.Boots) {
		v, err := r.once(ctx, choice.Candidate, k)
		if err != nil {
			return err
		}
		if v != search.Good {
			break
		}
	}
	return nil
}

// name is a candidate's, or the good end's.
func (r *run) name(i int) string {
	if i == search.Older {
		return "a good end"
	}
	return r.all[i].Name
}

// once boots a candidate one time, tells the search, and says what it was.
func (r *run) once(ctx context.Context, i int, k Kernel) (search.Verdict, error) {
	boot, known, err := r.settled(ctx, r.all[i], k, r.next(i))
	if err != nil {
		return 0, err
	}
	v, why := Judge(boot, r.want, r.Options.AnyFailure)
	if n := r.shown[k.Image]; v == search.Skip && n.mayBeChance(r.Options.Intermittent) {
		n.odd++
		why += "; possibly by chance"
	} else {
		if v != search.Skip {
			n.judged++
		}
		if err := r.search.Observe(i, v); err != nil {
			return 0, err
		}
	}
	r.step(Step{Candidate: r.all[i], Verdict: v.String(), Why: why, Image: k.Image, Boot: &boot, Known: known})
	return v, nil
}

// next are the candidates to make ready while i boots.
func (r *run) next(i int) []Candidate {
	var out []Candidate
	for _, a := range r.search.Ahead(ahead) {
		if a != i {
			out = append(out, r.all[a])
		}
	}
	return out
}

// ahead is how many candidates are made ready: one for each way the boot may
// end.
const ahead = 2

// prepare makes a candidate bootable and counts what that took.
func (r *run) prepare(ctx context.Context, c Candidate) (Kernel, error) {
	r.Tell(Event{Doing: "build", Candidate: c})
	k, saved, err := r.builds.get(ctx, c)
	r.report.Saved += saved
	if saved > 0 {
		r.report.Ready++
	}
	return k, err
}

// settled boots until a boot is decided; after some tries it is taken for what it
// is.
func (r *run) settled(ctx context.Context, c Candidate, k Kernel, then []Candidate) (boot Boot, known bool, err error) {
	for n := 0; ; n++ {
		boot, known, err = r.boot(ctx, c, k, then)
		if err != nil || n >= r.retries() || !boot.Undecided(r.want) {
			return boot, known, err
		}
		r.Tell(Event{Doing: "retry", Candidate: c, Why: "it was still making progress at the deadline: " + boot.Why})
	}
}

// boot boots a kernel once more, or takes the next boot of its image that is
// known. While the guest runs, then are made ready.
func (r *run) boot(ctx context.Context, c Candidate, k Kernel, then []Candidate) (boot Boot, known bool, err error) {
	if boot, ok, err := r.known(c, k.Image); ok || err != nil {
		return boot, ok, err
	}
	if !k.there() {
		if k, err = r.builds.again(ctx, c); err != nil {
			return Boot{}, false, err
		}
	}
	r.Tell(Event{Doing: "boot", Candidate: c})
	if !r.Options.Alone {
		r.builds.ahead(ctx, then)
	}
	res, err := r.try(ctx, c, k)
	if err != nil {
		return Boot{}, false, err
	}
	boot = BootOf(res)
	if err := r.record(entry{Candidate: c.ID, Image: k.Image, Boot: &boot}); err != nil {
		return Boot{}, false, err
	}
	r.used[k.Image]++
	r.report.Boots++
	if !boot.slow() {
		r.remember(c, k.Image, boot)
	}
	return boot, false, nil
}

// remember keeps a boot for other bisections. What cannot be kept is of no harm to
// this one.
func (r *run) remember(c Candidate, image string, b Boot) {
	if err := r.Verdicts.Add(image, r.conditions(), b); err != nil {
		r.forgetful(c, err)
	}
}

// forgetful says once that the memory of verdicts is of no use.
func (r *run) forgetful(c Candidate, err error) {
	if !r.forgot {
		r.forgot = true
		r.Tell(Event{Doing: "note", Candidate: c, Why: "cannot share boots with other bisections: " + err.Error()})
	}
}

// record writes to the journal, which the builds in the background write to.
func (r *run) record(e entry) error {
	r.builds.mu.Lock()
	defer r.builds.mu.Unlock()
	return r.journal.add(e)
}

// known takes the next boot of an image that this bisection or another one made
// and that was not used yet.
func (r *run) known(c Candidate, image string) (Boot, bool, error) {
	mine := r.journal.boots[image]
	if n := r.used[image]; n < len(mine) {
		r.used[image]++
		r.report.Reused++
		return mine[n], true, nil
	}
	others, err := r.Verdicts.Boots(image, r.conditions())
	if err != nil {
		r.forgetful(c, err)
	}
	for _, o := range others {
		if !o.slow() && !contains(mine, o) {
			r.used[image]++
			r.report.Reused++
			return o, true, r.record(entry{Candidate: c.ID, Image: image, Boot: &o})
		}
	}
	return Boot{}, false, nil
}

func contains(boots []Boot, b Boot) bool {
	for _, o := range boots {
		if o.Dir == b.Dir && o.Started.Equal(b.Started) {
			return true
		}
	}
	return false
}

// try boots until the harness has a Result.
func (r *run) try(ctx context.Context, c Candidate, k Kernel) (*result.Result, error) {
	for n := 0; ; n++ {
		res, err := r.Boot(ctx, c, k)
		switch {
		case err == nil:
			return res, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case n >= r.retries():
			return nil, &HarnessError{Candidate: c, Tries: n + 1, Err: err}
		}
		r.Tell(Event{Doing: "retry", Candidate: c, Why: err.Error()})
	}
}

// retries is Options.Retries as a number of times.
func (r *run) retries() int {
	if r.Options.Retries == 0 {
		return defaultRetries
	}
	return max(0, r.Options.Retries)
}

// HarnessError says that a candidate could not be booted, which says nothing
// about it.
type HarnessError struct {
	Candidate Candidate
	Tries     int
	Err       error
}

func (e *HarnessError) Error() string {
	return fmt.Sprintf("boot %s: %d attempts failed in the harness: %v: fix that and run the same command again to continue", e.Candidate.Name, e.Tries, e.Err)
}

func (e *HarnessError) Unwrap() error { return e.Err }

// DirOf is where the bisection of a Question is kept below base, the user's
// state directory.
func DirOf(base string, q Question) string {
	return filepath.Join(base, "bisect", digest(q.key()))
}
