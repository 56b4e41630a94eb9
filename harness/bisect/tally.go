package bisect

import (
	"cmp"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/bisect/search"
)

// Likely is how probable it is that a candidate is the first bad one.
type Likely struct {
	// Candidate is the candidate.
	Candidate Candidate `json:"candidate"`
	// Probability is the probability that it is the first bad one.
	Probability float64 `json:"probability" jsonschema:"minimum=0,maximum=1.000001"`
}

// Tally is what the boots of one candidate showed. Those of another one that
// makes the same image are not counted twice.
type Tally struct {
	// Candidate is the candidate.
	Candidate Candidate `json:"candidate"`
	// End says that it is a good end.
	End bool `json:"end,omitempty"`
	// Good is the number of its boots without the failure.
	Good int `json:"good" jsonschema:"minimum=0"`
	// Bad is the number of its boots with the failure.
	Bad int `json:"bad" jsonschema:"minimum=0"`
	// Skip is the number of its boots that say nothing.
	Skip int `json:"skip" jsonschema:"minimum=0"`
	// HasFirst says that it is the answer, or has it among its ancestors.
	HasFirst bool `json:"has_first"`
	// Probability is the probability that it is the first bad one.
	Probability float64 `json:"probability" jsonschema:"minimum=0,maximum=1.000001"`
}

// Contradicted returns the first Tally of a candidate that was seen both to fail
// and not to, and that has the answer where there is one: the failure shows in some
// boots only.
func (r *Report) Contradicted() (t Tally, ok bool) {
	i := slices.IndexFunc(r.Tallies, func(t Tally) bool { return t.Good > 0 && t.Bad > 0 && (t.HasFirst || r.First == nil) })
	if i < 0 {
		return Tally{}, false
	}
	return r.Tallies[i], true
}

// mostLikely is how many Likely a Step has.
const mostLikely = 3

// belief sums the posterior up: the size of the smallest set of candidates that
// holds the first bad one with the confidence that is asked for, with all that are
// as likely as its last, how many are as likely as the likeliest, and the likeliest few.
func (r *run) belief() (left, tied int, likely []Likely) {
	post := r.search.Posterior()
	order := make([]int, len(post))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(post[b], post[a]) })
	want, sum := r.confidence(), 0.0
	for n, i := range order {
		if sum >= want && post[i] < post[order[n-1]]*(1-1e-9) {
			break
		}
		sum += post[i]
		left++
		if post[i] >= post[order[0]]*(1-1e-9) {
			tied++
		}
		if n < mostLikely {
			likely = append(likely, Likely{r.all[i], post[i]})
		}
	}
	return left, tied, likely
}

// confidence is what is asked for.
func (r *run) confidence() float64 {
	if c := r.Options.Confidence; c > 0 {
		return c
	}
	return search.DefaultConfidence
}

// shown is the probability from which on a candidate is in the Report's Tallies
// though it was never booted.
const shown = 0.001

// tallies counts what each candidate showed.
func (r *run) tallies() []Tally {
	post, has := r.search.Posterior(), r.haveFirst()
	var out []Tally
	at := map[string]int{}
	for _, g := range r.Source.Good() {
		at[g.ID] = len(out)
		out = append(out, Tally{Candidate: g, End: true})
	}
	for i, c := range r.all {
		at[c.ID] = len(out)
		out = append(out, Tally{Candidate: c, HasFirst: has[i], Probability: post[i]})
	}
	for _, s := range r.report.Steps {
		i, ok := at[s.Candidate.ID]
		if !ok || s.Boot == nil {
			continue
		}
		switch s.Verdict {
		case search.Good.String():
			out[i].Good++
		case search.Bad.String():
			out[i].Bad++
		case search.Skip.String():
			out[i].Skip++
		}
	}
	return slices.DeleteFunc(out, func(t Tally) bool { return t.Good+t.Bad+t.Skip == 0 && t.Probability < shown })
}

// haveFirst says of each candidate whether it is, or has, the answer.
func (r *run) haveFirst() []bool {
	has, parents := make([]bool, len(r.all)), r.Source.Parents()
	if r.report.First == nil {
		return has
	}
	for i, c := range r.all {
		has[i] = c.ID == r.report.First.ID || slices.ContainsFunc(parents[i], func(p int) bool { return has[p] })
	}
	return has
}
