package page

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
)

// timeLine is the boot over wall time: a lane for each kind of thing, and a row of text
// for each thing.
type timeLine struct {
	Width, Height int
	Lanes         []lane
	Ticks         []tick
	Moments       []moment
	Guest         bool // some moments have a guest time
}

type lane struct {
	Kind   string
	Y      int
	Height int
	Spans  []span
}

type span struct {
	X, Width float64
	Point    bool
}

type tick struct {
	X    float64
	Text string
}

// moment is one thing that happened. Its kind is its lane.
type moment struct {
	Kind       string
	At, Length time.Duration
	About      bool    // the wall time is worked out from the guest's
	Guest      float64 // seconds, 0 where there is none
	Text       string
}

// Wall is the moment's wall time.
func (m moment) Wall() string {
	s := seconds(m.At)
	if m.About {
		s = "≈ " + s
	}
	return s
}

// GuestTime is the moment's guest time, "" where there is none.
func (m moment) GuestTime() string {
	if m.Guest == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f s", m.Guest)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// The lanes, from above.
var laneNames = []string{"stage", "finding", "stall", "capture", "probe", "verdict"}

const (
	timeWidth  = 720
	timeMargin = 14
	laneHeight = 18
	axisHeight = 30
	maxMoments = 400
)

// timeLineOf is the time line of a boot; nil where nothing is known of its times.
func timeLineOf(r *result.Result) *timeLine {
	all := moments(r)
	if len(all) < 2 {
		return nil
	}
	slices.SortStableFunc(all, func(a, b moment) int { return int(a.At - b.At) })
	t := &timeLine{Width: timeWidth, Moments: all[:min(len(all), maxMoments)]}
	end := time.Second
	for _, m := range t.Moments {
		end = max(end, m.At+m.Length)
		t.Guest = t.Guest || m.Guest > 0
	}
	x := func(d time.Duration) float64 {
		return math.Round(10*(timeMargin+float64(timeWidth-2*timeMargin)*float64(max(0, d))/float64(end))) / 10
	}
	y := 4
	for _, name := range laneNames {
		l := lane{Kind: name, Y: y, Height: laneHeight - 6}
		for _, m := range t.Moments {
			if m.Kind == name {
				l.Spans = append(l.Spans, span{X: x(m.At), Width: max(2, x(m.At+m.Length)-x(m.At)), Point: m.Length == 0})
			}
		}
		if len(l.Spans) > 0 {
			t.Lanes = append(t.Lanes, l)
			y += laneHeight
		}
	}
	t.Height = y + axisHeight
	step := stepOf(end)
	for at := time.Duration(0); at <= end; at += step {
		t.Ticks = append(t.Ticks, tick{x(at), fmt.Sprintf("%d", int(at.Seconds()))})
	}
	return t
}

// stepOf is the distance of two ticks: at most six of them.
func stepOf(end time.Duration) time.Duration {
	for _, s := range []time.Duration{1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600} {
		if end/(s*time.Second) <= 6 {
			return s * time.Second
		}
	}
	return end/6 + time.Second
}

func moments(r *result.Result) []moment {
	out := []moment{{Kind: "stage", Text: "QEMU starts"}}
	first := 0.0
	if len(r.Reports) > 0 {
		first = r.Reports[0].Uptime
	}
	wall := func(guest float64) time.Duration {
		return max(0, r.Times.FirstReport+time.Duration((guest-first)*float64(time.Second)))
	}
	known := r.Times.FirstReport > 0 && first > 0
	for i, rep := range r.Reports {
		if known {
			out = append(out, moment{Kind: "stage", At: wall(rep.Uptime), About: i > 0, Guest: rep.Uptime, Text: "stage " + report.Safe(string(rep.Stage), 40)})
		}
	}
	for _, f := range r.Findings {
		if known && f.Time > 0 {
			out = append(out, moment{Kind: "finding", At: wall(f.Time), About: true, Guest: f.Time, Text: report.Safe(f.Title, 200)})
		}
	}
	for _, st := range r.Stalls {
		out = append(out, stalled(r, st)...)
	}
	for _, p := range r.Probes {
		text := fmt.Sprintf("probe %s: %s", p.Name, p.Outcome)
		out = append(out, moment{Kind: "probe", At: p.At, Length: p.Took, Text: report.Safe(text, 200)})
	}
	for _, e := range r.Events {
		if word, ok := told[e.Name]; ok {
			out = append(out, moment{Kind: "stage", At: e.At, Text: word})
		}
	}
	out = append(out, moment{Kind: "verdict", At: r.Times.Verdict, Text: "verdict: " + report.Safe(string(r.Outcome), 40)})
	if r.Times.Diagnosed > 0 {
		out = append(out, moment{Kind: "verdict", At: r.Times.Diagnosed, Text: "diagnosed"})
	}
	return out
}

// told are the QMP events that say something of the guest.
var told = map[string]string{"RESET": "the guest resets", "SHUTDOWN": "the guest powers off or resets", "GUEST_PANICKED": "the guest panicked", "WATCHDOG": "a watchdog fires"}

// stalled is a stall from its last progress until it was noticed, and the captures.
func stalled(r *result.Result, st result.Stall) []moment {
	text := "no progress from here on"
	if st.WentOn {
		text = "no progress for a while"
	}
	out := []moment{
		{Kind: "stall", At: st.At, Length: st.Noticed - st.At, Text: text},
		{Kind: "stall", At: st.Noticed, Text: "noticed: " + report.Safe(st.Why, 200)},
	}
	for _, a := range st.Attempts {
		what := "sysrq " + a.Key + " by " + string(a.Route)
		if a.Key == "" {
			what = string(a.Route)
		}
		if at := a.At.Sub(r.Times.Started); !a.At.IsZero() && !r.Times.Started.IsZero() && at > 0 {
			out = append(out, moment{Kind: "capture", At: at, Text: report.Safe(what+": "+string(a.Yield), 200)})
		}
	}
	return out
}
