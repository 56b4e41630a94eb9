package bisect

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"math"
	"time"

	"github.com/unwedge/unwedge/harness/bisect/search"
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
	Candidate Candidate `json:"candidate"`
	End       bool      `json:"end,omitempty"`
	// Verdict is good, bad, skip or same.
	Verdict string `json:"verdict"`
	Why     string `json:"why"`
	Image   string `json:"image,omitempty"`
	Boot    *Boot  `json:"boot,omitempty"`
	// Known says that the boot was made before, by this bisection or another.
	Known bool `json:"known,omitempty"`
	// Log is that of a build that failed.
	Log string `json:"log,omitempty"`
	// What is believed after this step. Left is the number of candidates that hold
	// the first bad one with the confidence that is asked for; Likely are up to
	// three of them, likeliest first; Best is the first one's probability, and Tied
	// how many have the same.
	Left   int      `json:"left"`
	Best   float64  `json:"best"`
	Tied   int      `json:"tied"`
	Likely []Likely `json:"likely,omitempty"`
	// Steps is how many boots that leaves, roughly.
	Steps int `json:"steps_left"`
}

// Commit is what git has on the first bad commit.
type Commit struct {
	Author string `json:"author"` // name <address>
	Date   string `json:"date"`   // the author's, strict ISO 8601
	// After is the nearest tag before it, as git describe has it; "" where there is
	// none.
	After string `json:"after,omitempty"`
	// Fixes is the tag that the commit which mends it carries
	// (Documentation/process/submitting-patches.rst).
	Fixes string `json:"fixes"`
	// Changes is git's diffstat, cut where it is long.
	Changes string `json:"changes,omitempty"`
}

// Report is what a bisection found.
type Report struct {
	Schema   string   `json:"schema"`
	Question Question `json:"question"`
	Dir      string   `json:"dir"`
	// Candidates is how many there were.
	Candidates int `json:"candidates"`
	// First is the first bad candidate; nil where those that cannot be judged
	// leave several Suspects.
	First    *Candidate  `json:"first,omitempty"`
	Suspects []Candidate `json:"suspects,omitempty"`
	// Confidence is how probable it is that the answer is right, for somebody who
	// takes one failure in ten for one that does not show in every boot; IfSteady
	// is what it is if this one is known to.
	Confidence float64 `json:"confidence"`
	IfSteady   float64 `json:"if_steady"`
	// Rate is in which share of boots of a bad candidate the failure shows: an
	// estimate, which lies between RateLow and RateHigh with a probability of 0.9.
	Rate     float64 `json:"rate"`
	RateLow  float64 `json:"rate_low"`
	RateHigh float64 `json:"rate_high"`
	// Failure is how the bad end failed; BadBoot the first bad candidate's own
	// failure, GoodBoot a good boot of LastGood, which is the candidate before it
	// where that one was booted.
	Failure  Boot       `json:"failure"`
	BadBoot  *Boot      `json:"bad_boot,omitempty"`
	GoodBoot *Boot      `json:"good_boot,omitempty"`
	LastGood *Candidate `json:"last_good,omitempty"`
	// Said is the last line on the console of a bad boot that hung, WentOn what the
	// good boot printed after the same line.
	Said   string `json:"said,omitempty"`
	WentOn string `json:"went_on,omitempty"`
	// Commit is more on First where that is a commit.
	Commit *Commit `json:"commit,omitempty"`
	// Tallies are what the boots of each candidate showed, parents first.
	Tallies []Tally `json:"tallies"`
	Steps   []Step  `json:"steps"`
	// Boots were made, Reused were known.
	Boots  int `json:"boots"`
	Reused int `json:"reused"`
	Builds int `json:"builds"`
	Broken int `json:"unbuildable"`
	// Ready is how many candidates were ready, or under way, when they were asked
	// for, and Saved the time that spared; Unused and Wasted are of those that
	// nobody asked for.
	Ready  int           `json:"ready"`
	Saved  time.Duration `json:"saved_ns"`
	Unused int           `json:"unused"`
	Wasted time.Duration `json:"wasted_ns"`
	Wall   time.Duration `json:"wall_ns"`
	// Replay is the command that has git do the same, "" where there is none.
	Replay string   `json:"replay,omitempty"`
	Notes  []string `json:"notes,omitempty"`
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
