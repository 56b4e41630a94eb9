package unwedgetest

import (
	"fmt"
	"strings"
	"sync"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/images/agentproto"
)

// lastLines is how many console lines a progress report shows.
const lastLines = 12

// follower is the Observer behind a progress report. It makes all guest text safe to
// show.
type follower struct {
	name string

	mu    sync.Mutex
	phase harness.Phase
	why   string
	stage string
	lines []string
}

// Line implements harness.Observer.
func (f *follower) Line(l harness.Line) {
	text := report.Safe(string(l.Text), 300)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.lines) == lastLines {
		f.lines = append(f.lines[:0], f.lines[1:]...)
	}
	f.lines = append(f.lines, text)
}

// Report implements harness.Observer.
func (f *follower) Report(r agentproto.Report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stage = fmt.Sprintf("%s at %.1f s guest time", report.Safe(string(r.Stage), 32), r.Uptime)
}

// Phase implements harness.Observer.
func (f *follower) Phase(p harness.Phase, why string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.phase, f.why = p, why
}

// text is the progress report: phase, stage, the last console lines.
func (f *follower) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", f.name, f.phase)
	if f.why != "" {
		fmt.Fprintf(&b, " (%s)", f.why)
	}
	if f.stage != "" {
		fmt.Fprintf(&b, ", the agent reported %s", f.stage)
	}
	b.WriteString("\n")
	for _, l := range f.lines {
		fmt.Fprintf(&b, "  | %s\n", l)
	}
	return b.String()
}
