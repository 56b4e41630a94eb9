package bisect

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
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
	// Doing is "build", "boot" or "retry"; "" with Step.
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
	// three of them, likeliest first, and Best is the first one's probability.
	Left   int      `json:"left"`
	Best   float64  `json:"best"`
	Likely []Likely `json:"likely,omitempty"`
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
	// failure, GoodBoot the last good boot before it.
	Failure  Boot  `json:"failure"`
	BadBoot  *Boot `json:"bad_boot,omitempty"`
	GoodBoot *Boot `json:"good_boot,omitempty"`
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
	Notes  []string      `json:"notes,omitempty"`
}

// step tells and keeps one step.
func (r *run) step(s Step) {
	s.Left, s.Likely = r.belief()
	if len(s.Likely) > 0 {
		s.Best = s.Likely[0].Probability
	}
	r.report.Steps = append(r.report.Steps, s)
	r.Tell(Event{Candidate: s.Candidate, Step: &s})
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
	}
	rep.Tallies = r.tallies()
	rep.Builds, rep.Broken = r.builds.made, r.builds.broken
	rep.Unused, rep.Wasted = r.builds.wasted()
	rep.Wall = time.Since(r.begun)
}

// beside finds the two boots that are worth comparing: the answer's own failure
// and a good boot of a parent, else the latest good one.
func (r *run) beside(first int) {
	parents := map[string]bool{}
	for _, p := range r.Source.Parents()[first] {
		parents[r.all[p].ID] = true
	}
	exact, image := false, ""
	for _, s := range r.report.Steps {
		if s.Candidate.ID == r.all[first].ID && s.Image != "" {
			image = s.Image
		}
	}
	for i := range r.report.Steps {
		s := &r.report.Steps[i]
		switch {
		case s.Boot == nil:
		case s.Verdict == search.Bad.String() && s.Image == image:
			r.report.BadBoot = s.Boot
		case s.Verdict == search.Good.String() && parents[s.Candidate.ID]:
			r.report.GoodBoot, exact = s.Boot, true
		case s.Verdict == search.Good.String() && !exact && !s.End:
			r.report.GoodBoot = s.Boot
		}
	}
}

// digest is a short name for what may be long.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}
