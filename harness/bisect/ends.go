package bisect

import (
	"context"
	"errors"
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
)

// How often the bad end is booted until it fails, where the failure is said to
// show in some boots only: one that shows in 1 of 20 is missed by 60 boots in 1
// of 20 cases. Otherwise once must do, and a few more tell which mistake it is.
const (
	triesIntermittent = 60
	triesElse         = 3
)

// EndsError says that an end is not what it was said to be.
type EndsError struct {
	Reason string
	// Good is the ID of the good end that fails as the bad one does, "" for none.
	Good string
}

func (e *EndsError) Error() string { return e.Reason }

// ends boots the bad end until it fails, which tells what is looked for, and
// each good end once. Boots of the bad end tell the search how often the failure
// shows.
func (r *run) ends(ctx context.Context) error {
	bad := len(r.all) - 1
	k, err := r.end(ctx, r.all[bad], "bad")
	if err != nil {
		return err
	}
	r.judged[k.Image] = bad
	tries := triesElse
	if r.Options.Intermittent {
		tries = triesIntermittent
	}
	var passed []Boot
	for r.want.Outcome == "" {
		if len(passed) == tries {
			return &EndsError{Reason: fmt.Sprintf("the bad end %s booted as expected, %d times of %d: it is not bad in this scenario%s", r.all[bad], tries, tries, r.advice())}
		}
		boot, known, err := r.settled(ctx, r.all[bad], k, r.Source.Good())
		if err != nil {
			return err
		}
		v := search.Good
		if boot.Expected {
			passed = append(passed, boot)
		} else {
			r.want, v = boot, search.Bad
		}
		why := boot.Name()
		if v == search.Good {
			why = boot.Outcome
		}
		if err := r.search.Observe(bad, v); err != nil {
			return err
		}
		r.step(Step{Candidate: r.all[bad], End: true, Verdict: v.String(), Why: why, Image: k.Image, Boot: &boot, Known: known})
	}
	r.report.Failure = r.want
	for _, g := range r.Source.Good() {
		if err := r.goodEnd(ctx, g); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) advice() string {
	if r.Options.Intermittent {
		return ": choose another scenario, or a later bad end"
	}
	return ": choose another scenario or a later bad end, or use --intermittent if it fails in some boots only"
}

func (r *run) goodEnd(ctx context.Context, g Candidate) error {
	k, err := r.end(ctx, g, "good")
	if err != nil {
		return err
	}
	switch other, ok := r.judged[k.Image]; {
	case ok && other == search.Older:
		r.step(Step{Candidate: g, End: true, Verdict: Same, Why: "builds the same image as " + r.name(other), Image: k.Image})
		return nil
	case ok:
		return &EndsError{Reason: fmt.Sprintf("the good end %s and the bad end build the same image: this configuration contains nothing that changed between them: use another configuration, or other ends", g)}
	}
	r.judged[k.Image], r.shown[k.Image] = search.Older, &shows{}
	for good := false; !good; {
		if good, err = r.goodOnce(ctx, g, k); err != nil {
			return err
		}
	}
	return nil
}

// olderPrior is how probable it is, before the first boot, that a good end has an
// intermittent failure all the same: a few boots that went well are what made
// somebody call it good.
const olderPrior = 0.05

// goodAgain boots the good ends, in turn, as often as the search asks.
func (r *run) goodAgain(ctx context.Context, choice search.Choice) error {
	ends := r.Source.Good()
	for range max(1, choice.Boots) {
		g := ends[r.goods%len(ends)]
		k, err := r.prepare(ctx, g)
		if err != nil {
			return err
		}
		if good, err := r.goodOnce(ctx, g, k); err != nil || !good {
			return err
		}
	}
	return nil
}

// goodOnce boots a good end one time, and says whether that went well. Anything else
// ends the bisection, but for another failure that may be by chance: that boot says
// nothing.
func (r *run) goodOnce(ctx context.Context, g Candidate, k Kernel) (good bool, err error) {
	var then []Candidate
	if c, _ := r.search.Next(); c.Candidate != search.Older {
		then = append(then, r.all[c.Candidate])
	}
	boot, known, err := r.settled(ctx, g, k, then)
	if err != nil {
		return false, err
	}
	step := Step{Candidate: g, End: true, Image: k.Image, Boot: &boot, Known: known}
	before := ""
	if r.goods > 0 && r.Options.Intermittent {
		before = fmt.Sprintf(" after %d good boots", r.goods)
	}
	switch v, why := Judge(boot, r.want, r.Options.AnyFailure); {
	case v == search.Bad:
		return false, &EndsError{fmt.Sprintf("the good end %s fails like the bad end%s (%s; run in %s): choose an earlier good end", g, before, boot.Name(), boot.Dir), g.ID}
	case v == search.Skip && r.shown[k.Image].mayBeChance(r.Options.Intermittent):
		r.shown[k.Image].odd++
		step.Verdict, step.Why = v.String(), why+"; possibly by chance"
		r.step(step)
		return false, nil
	case v != search.Good:
		return false, &EndsError{Reason: fmt.Sprintf("the good end %s fails too, but not like the bad end%s (%s; run in %s): choose another good end or scenario", g, before, boot.Name(), boot.Dir)}
	default:
		r.goods++
		r.shown[k.Image].judged++
		if r.Options.Intermittent {
			if err := r.search.Observe(search.Older, v); err != nil {
				return false, err
			}
		}
		step.Verdict, step.Why = v.String(), why
		r.step(step)
		return true, nil
	}
}

// notOlder ends a bisection whose likeliest answer is none of the candidates.
func (r *run) notOlder() error {
	a := r.search.Answer()
	if a.Candidate != search.Older {
		return nil
	}
	return &EndsError{Reason: fmt.Sprintf("the failure is probably (%.0f %%) older than the good end, despite %d good boots: choose an earlier good end", a.Older*100, r.goods)}
}

// end prepares an end, which must build.
func (r *run) end(ctx context.Context, c Candidate, word string) (Kernel, error) {
	k, err := r.prepare(ctx, c)
	if bad := new(*UnbuildableError); errors.As(err, bad) {
		reason := fmt.Sprintf("the %s end %s cannot be built: %s", word, c, (*bad).Reason)
		if (*bad).Log != "" {
			reason += " (" + (*bad).Log + ")"
		}
		return Kernel{}, &EndsError{Reason: reason + ": choose another " + word + " end"}
	}
	return k, err
}
