package page

import (
	"fmt"
	"math"
	"strings"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/report"
)

// narrowing is a bisection as a picture: after each step, how many candidates may be the
// first bad one, on a logarithmic scale, and how likely the likeliest of them is.
type narrowing struct {
	Width, Height   int
	Left, Best      string // the points of two lines
	Area            string
	Steps           []narrowStep
	Levels          []level
	Bottom, Right   int
	Tallies         []tallied
	Confident, Rate string
}

type narrowStep struct {
	X, Y     float64
	Verdict  string
	Name     string
	About    string
	Why      string
	Suspects string
	Known    bool
}

type level struct {
	Y    float64
	Text string
}

// tallied is what the boots of one candidate showed, with a bar for its probability.
type tallied struct {
	bisect.Tally
	Bar     float64 // 0 to 100
	Percent string
	Answer  bool
}

const (
	narrowWidth, narrowHeight  = 720, 240
	narrowLeft, narrowTop      = 48, 12
	narrowBottom, narrowMargin = 212, 16
	maxTallies                 = 60
)

func narrowingOf(r *bisect.Report) *narrowing {
	n := &narrowing{
		Width: narrowWidth, Height: narrowHeight, Bottom: narrowBottom, Right: narrowWidth - narrowMargin,
		Confident: percent(r.Confidence), Rate: percent(r.Rate),
	}
	most := max(2, r.Candidates)
	for _, s := range r.Steps {
		most = max(most, s.Left)
	}
	top := math.Log2(float64(most))
	y := func(left float64) float64 {
		return round(narrowBottom - (narrowBottom-narrowTop)*math.Log2(max(1, left))/top)
	}
	x := func(i int) float64 {
		return round(narrowLeft + float64(narrowWidth-narrowLeft-narrowMargin)*float64(i)/float64(max(1, len(r.Steps))))
	}
	left := []string{fmt.Sprintf("%g,%g", x(0), y(float64(r.Candidates)))}
	best := []string{fmt.Sprintf("%g,%d", x(0), narrowBottom)}
	for i, s := range r.Steps {
		left = append(left, fmt.Sprintf("%g,%g", x(i+1), y(float64(s.Left))))
		best = append(best, fmt.Sprintf("%g,%g", x(i+1), round(narrowBottom-(narrowBottom-narrowTop)*min(1, s.Best))))
		n.Steps = append(n.Steps, narrowStep{
			X: x(i + 1), Y: y(float64(s.Left)), Verdict: s.Verdict, Name: report.Safe(s.Candidate.Name, 80), About: report.Safe(s.Candidate.About, 200),
			Why: report.Safe(s.Why, 300), Suspects: report.Suspects(s), Known: s.Known,
		})
	}
	n.Left, n.Best = strings.Join(left, " "), strings.Join(best, " ")
	n.Area = fmt.Sprintf("%g,%d %s %g,%d", x(0), narrowBottom, n.Left, x(len(r.Steps)), narrowBottom)
	for v := 1; v <= most; v *= levelFactor(most) {
		n.Levels = append(n.Levels, level{y(float64(v)), fmt.Sprint(v)})
	}
	for _, t := range r.Tallies[:min(len(r.Tallies), maxTallies)] {
		n.Tallies = append(n.Tallies, tallied{Tally: t, Bar: round(100 * min(1, t.Probability)), Percent: percent(t.Probability), Answer: r.First != nil && t.Candidate.ID == r.First.ID})
	}
	return n
}

// levelFactor spaces the lines of the scale: at most six of them.
func levelFactor(most int) int {
	for _, f := range []int{2, 4, 10, 100} {
		if math.Log(float64(most))/math.Log(float64(f)) <= 6 {
			return f
		}
	}
	return 1000
}

func round(v float64) float64 { return math.Round(v*10) / 10 }

// percent is a probability, never rounded up to certainty.
func percent(p float64) string {
	switch {
	case p >= 0.9999:
		return "over 99.99 %"
	case p >= 0.99:
		return fmt.Sprintf("%.2f %%", p*100)
	case p > 0 && p < 0.001:
		return "under 0.1 %"
	default:
		return fmt.Sprintf("%.1f %%", p*100)
	}
}
