package pages

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"

	"github.com/unwedge/unwedge/harness/history/store"
)

// The chart's size, in its own units.
const (
	chartWidth, chartHeight = 900.0, 320.0
	chartLeft, chartBottom  = 44.0, 26.0
	chartTop                = 14.0
	chartColours            = 6
	maxCharts               = 6
)

// chart are the boot times of one cell on one kind of host: a line for each stage, a step
// for each run, the oldest on the left.
type chart struct {
	Host          string
	Lines         []line
	Ticks         []tick
	Marks         []mark
	Width, Height float64
	Runs          int
}

type line struct {
	Stage  string
	Colour int
	Points string
	Last   float64
	runs   int
}

// Dot says that it is a line of one point.
func (l line) Dot() bool { return l.runs == 1 }

// tick is a line of the grid; its label is in seconds.
type tick struct {
	Y     float64
	Label string
}

// mark is where another kernel begins.
type mark struct {
	X     float64
	Label string
}

func (p Pages) times(r *http.Request) (view, error) {
	id, err := number(r.PathValue("id"))
	if err != nil {
		return view{}, err
	}
	times, err := p.History.CellTimes(r.Context(), id, maxCharted)
	if err != nil {
		return view{}, err
	}
	if len(times) == 0 {
		return view{}, errNotFound
	}
	kernels, err := p.History.Kernels(r.Context())
	if err != nil {
		return view{}, err
	}
	names := map[int64]string{}
	for _, k := range kernels {
		names[k.ID] = k.Name()
	}
	slices.Reverse(times)
	byHost := map[store.Host][]store.StageTime{}
	for _, t := range times {
		byHost[t.Host] = append(byHost[t.Host], t)
	}
	var charts []chart
	for _, h := range slices.SortedFunc(maps.Keys(byHost), func(x, y store.Host) int { return cmp.Compare(len(byHost[y]), len(byHost[x])) }) {
		if len(charts) < maxCharts {
			charts = append(charts, chartOf(h.String(), byHost[h], names))
		}
	}
	return view{"times", "Boot times", struct {
		Cell   store.Cell
		Charts []chart
	}{times[0].Cell, charts}}, nil
}

// chartOf draws the times, the oldest run first.
func chartOf(host string, times []store.StageTime, names map[int64]string) chart {
	c := chart{Host: host, Width: chartWidth, Height: chartHeight}
	index, kernel, top := map[int64]int{}, int64(0), 0.0
	for _, t := range times {
		if _, ok := index[t.Run]; !ok {
			index[t.Run] = len(index)
		}
		top = max(top, t.At)
	}
	c.Runs = len(index)
	x := func(run int64) float64 {
		return round(chartLeft + (chartWidth-chartLeft-8)*(float64(index[run])+0.5)/float64(c.Runs))
	}
	step := niceStep(top)
	top = math.Ceil(top/step) * step
	y := func(at float64) float64 {
		return round((chartHeight - chartBottom) - (chartHeight-chartBottom-chartTop)*at/top)
	}
	for v := 0.0; v <= top+step/2; v += step {
		c.Ticks = append(c.Ticks, tick{y(v), fmt.Sprintf("%g s", v)})
	}
	lines := map[string]*line{}
	for _, t := range times {
		if t.Kernel != kernel {
			kernel = t.Kernel
			c.Marks = append(c.Marks, mark{x(t.Run), names[kernel]})
		}
		if lines[t.Stage] == nil {
			lines[t.Stage] = &line{Stage: t.Stage}
		}
		l := lines[t.Stage]
		l.Points, l.Last, l.runs = l.Points+fmt.Sprintf("%g,%g ", x(t.Run), y(t.At)), t.At, l.runs+1
	}
	for _, l := range slices.SortedFunc(maps.Values(lines), func(a, b *line) int { return cmp.Or(cmp.Compare(b.Last, a.Last), cmp.Compare(a.Stage, b.Stage)) }) {
		l.Colour = len(c.Lines)%chartColours + 1
		c.Lines = append(c.Lines, *l)
	}
	return c
}

func round(v float64) float64 { return math.Round(v*10) / 10 }

// niceStep is a step of 1, 2 or 5 times a power of ten that makes some five of top.
func niceStep(top float64) float64 {
	if !(top > 0) || math.IsInf(top, 0) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(top/5)))
	for _, m := range []float64{1, 2, 5} {
		if top/(m*power) <= 6 {
			return m * power
		}
	}
	return 10 * power
}
