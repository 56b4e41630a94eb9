package bisect

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"math"
	"time"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
)

// Schema is the version of a Report as JSON.
const Schema = "unwedge/bisect/1"

//go:embed schema.json
var schemaJSON string

// JSONSchema describes a Report, every field of it, as a JSON Schema of draft
// 2020-12.
func JSONSchema() string { return schemaJSON }

// Same is the Verdict of a Step that needed no boot: the candidate makes the
// same image as another one.
const Same = "same"

// Event is something that begins, or a Step that is done.
type Event struct {
	// Doing is "build", "boot", "retry" or "note"; "" with Step.
	Doing     string
	Candidate Candidate
	Why       string
	Step      *Step
}

// Step is one thing that was learnt.
type Step struct {
	// Candidate is what was booted, or could not be.
	Candidate Candidate `json:"candidate"`
	// End says that it is a good or bad end, booted to check it.
	End bool `json:"end,omitempty"`
	// Verdict is good, bad, skip (it cannot be judged) or same (it makes the same
	// image as another candidate).
	Verdict string `json:"verdict" jsonschema:"enum=good,enum=bad,enum=skip,enum=same"`
	// Why is why, in a few words.
	Why string `json:"why"`
	// Image identifies the bytes that were booted: two candidates with the same
	// one need no two boots.
	Image string `json:"image,omitempty"`
	// Boot is the boot, nil if there was none.
	Boot *Boot `json:"boot,omitempty"`
	// Known says that the boot was made before, by this bisection or another.
	Known bool `json:"known,omitempty"`
	// Log is the log of a build that failed.
	Log string `json:"log,omitempty"`
	// Left is the size of the smallest set of candidates that holds the first bad
	// one with the requested confidence, after this step.
	Left int `json:"left"`
	// Best is the probability of the likeliest of them.
	Best float64 `json:"best" jsonschema:"minimum=0,maximum=1.000001"`
	// Tied is how many have that probability.
	Tied int `json:"tied,omitempty"`
	// Likely are up to three of them, likeliest first.
	Likely []Likely `json:"likely,omitempty"`
	// Steps is roughly how many boots are left.
	Steps int `json:"steps_left" jsonschema:"minimum=0"`
}

// Commit is what git has on the first bad commit.
type Commit struct {
	// Author is the author's name and address.
	Author string `json:"author"`
	// Date is the author's date, strict ISO 8601.
	Date string `json:"date"`
	// After is the nearest tag before it, as `git describe` prints it; empty if
	// there is none.
	After string `json:"after,omitempty"`
	// Fixes is the Fixes: tag for the commit that fixes it
	// (Documentation/process/submitting-patches.rst).
	Fixes string `json:"fixes"`
	// Changes is git's diffstat, shortened if it is long.
	Changes string `json:"changes,omitempty"`
}

// Report is what a bisection found.
type Report struct {
	// Schema is the version of this document.
	Schema string `json:"schema"`
	// Question is what was asked.
	Question Question `json:"question"`
	// Dir is the bisection's directory: its journal, bisect.json, and bisect.log
	// for git.
	Dir string `json:"dir"`
	// Candidates is the number of candidates.
	Candidates int `json:"candidates" jsonschema:"minimum=1"`
	// First is the first bad candidate; nil if candidates that cannot be judged
	// leave several Suspects.
	First *Candidate `json:"first,omitempty"`
	// Suspects are the candidates that may be the first bad one, if that is not
	// known.
	Suspects []Candidate `json:"suspects,omitempty"`
	// Confidence is the probability that the answer is right, if one failure in
	// ten does not show in every boot.
	Confidence float64 `json:"confidence" jsonschema:"minimum=0,maximum=1.000001"`
	// IfSteady is the same probability, if this failure is known to show in every
	// boot.
	IfSteady float64 `json:"if_steady" jsonschema:"minimum=0,maximum=1.000001"`
	// Rate is the estimated share of boots of a bad candidate in which the failure
	// shows. It lies between RateLow and RateHigh with a probability of 0.9.
	Rate float64 `json:"rate" jsonschema:"minimum=0,maximum=1.000001"`
	// RateLow is the lower bound of Rate.
	RateLow float64 `json:"rate_low" jsonschema:"minimum=0,maximum=1"`
	// RateHigh is the upper bound of Rate.
	RateHigh float64 `json:"rate_high" jsonschema:"minimum=0,maximum=1"`
	// Failure is how the bad end failed: what was looked for.
	Failure Boot `json:"failure"`
	// BadBoot is the first bad candidate's own failure.
	BadBoot *Boot `json:"bad_boot,omitempty"`
	// GoodBoot is a good boot of LastGood.
	GoodBoot *Boot `json:"good_boot,omitempty"`
	// LastGood is the candidate before the first bad one if that was booted, else
	// the last good one.
	LastGood *Candidate `json:"last_good,omitempty"`
	// Said is the last line on the console of a bad boot that hung.
	Said string `json:"said,omitempty"`
	// WentOn is what the good boot printed after the same line.
	WentOn string `json:"went_on,omitempty"`
	// Commit describes First if that is a commit.
	Commit *Commit `json:"commit,omitempty"`
	// Tallies are what the boots of each candidate showed, parents first. It leaves
	// out candidates that were not booted and are not likely.
	Tallies []Tally `json:"tallies"`
	// Steps are what was learnt, in order.
	Steps []Step `json:"steps"`
	// Boots is the number of boots that were made.
	Boots int `json:"boots"`
	// Reused is the number of boots that were known from before.
	Reused int `json:"reused"`
	// Builds is the number of candidates that were made ready.
	Builds int `json:"builds"`
	// Broken is the number of candidates that could not be made ready.
	Broken int `json:"unbuildable"`
	// Ready is the number of candidates that were ready, or under way, when they
	// were needed.
	Ready int `json:"ready"`
	// Saved is the time that this saved.
	Saved time.Duration `json:"saved_ns"`
	// Unused is the number of candidates that were made ready and never needed.
	Unused int `json:"unused"`
	// Wasted is the time that they took.
	Wasted time.Duration `json:"wasted_ns"`
	// Wall is how long the bisection took.
	Wall time.Duration `json:"wall_ns"`
	// Replay is the command that has git do the same bisection, empty if there is
	// none.
	Replay string `json:"replay,omitempty"`
	// Notes are what a reader should know before trusting the rest.
	Notes []string `json:"notes,omitempty"`
}

// step tells and keeps one step.
func (r *run) step(s Step) {
	s.Left, s.Tied, s.Likely = r.belief()
	if len(s.Likely) > 0 {
		s.Best = s.Likely[0].Probability
	}
	s.Steps = stepsLeft(r.search.Posterior(), r.search.Answer().Rate)
	r.report.Steps = append(r.report.Steps, s)
	r.Tell(Event{Candidate: s.Candidate, Step: &s})
}

// stepsLeft is how many boots tell one candidate from all others, roughly: the
// bits that are not known by the bits that a boot tells. A failure that shows with a
// rate r is a Z-channel, whose capacity that is: 1 bit at a rate of 1.
func stepsLeft(posterior []float64, rate float64) int {
	var unknown float64
	for _, p := range posterior {
		if p > 0 {
			unknown -= p * math.Log2(p)
		}
	}
	each := 1.0
	if q := 1 - rate; q > 1e-3 && q < 1 {
		each = math.Log2(1 + rate*math.Pow(q, q/rate))
	}
	return int(math.Round(unknown / each))
}

// conclude fills in the answer.
func (r *run) conclude() {
	a, rep := r.search.Answer(), r.report
	rep.Confidence, rep.IfSteady = a.Doubted, a.Confidence
	rep.Rate, rep.RateLow, rep.RateHigh = a.Rate, a.RateLow, a.RateHigh
	for _, i := range a.Suspects {
		rep.Suspects = append(rep.Suspects, r.all[i])
	}
	if len(a.Suspects) <= 1 {
		rep.First, rep.Suspects = &r.all[a.Candidate], nil
		r.beside(a.Candidate)
		rep.Said, rep.WentOn = apart(*cmp.Or(rep.BadBoot, &rep.Failure), *cmp.Or(rep.GoodBoot, &Boot{}))
	}
	rep.Tallies = r.tallies()
	rep.Builds, rep.Broken = r.builds.made, r.builds.broken
	rep.Unused, rep.Wasted = r.builds.wasted()
	rep.Wall = time.Since(r.begun)
}

// beside finds the two boots that are worth comparing: the answer's own failure
// and a good boot of a parent, else the latest good one. Candidates that make the
// same image share their boots.
func (r *run) beside(first int) {
	images := map[string]string{} // by candidate
	for _, s := range r.report.Steps {
		if s.Image != "" {
			images[s.Candidate.ID] = s.Image
		}
	}
	parents := map[string]Candidate{} // by image
	for _, p := range r.Source.Parents()[first] {
		if image := images[r.all[p].ID]; image != "" {
			parents[image] = r.all[p]
		}
	}
	exact := false
	for i := range r.report.Steps {
		s := &r.report.Steps[i]
		if s.Boot == nil {
			continue
		}
		parent, isParent := parents[s.Image]
		switch {
		case s.Verdict == search.Bad.String() && s.Image == images[r.all[first].ID]:
			r.report.BadBoot = s.Boot
		case s.Verdict == search.Good.String() && isParent:
			r.report.GoodBoot, r.report.LastGood, exact = s.Boot, &parent, true
		case s.Verdict == search.Good.String() && !exact && (!s.End || r.report.LastGood == nil):
			r.report.GoodBoot, r.report.LastGood = s.Boot, &s.Candidate
		}
	}
}

// digest is a short name for what may be long.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}
