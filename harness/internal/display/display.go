// Package display shows on a terminal, or in a log, what goes on while a command works.
package display

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"golang.org/x/term"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// Display shows progress. Guest text is sanitised before it is shown. It is safe for
// use by several goroutines.
type Display interface {
	progress.Reporter
	// Boot begins a row for one boot; name tells it from the others.
	Boot(name string) *Row
	// Say prints a line that stays.
	Say(line string)
	// Close takes the rows away; it may be called twice.
	Close()
}

// New shows live rows on a terminal, lines elsewhere, and nothing where quiet.
func New(w io.Writer, quiet bool) Display {
	f, isFile := w.(*os.File)
	switch {
	case quiet:
		return &plain{w: io.Discard}
	case isFile && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb":
		return &live{p: mpb.New(mpb.WithOutput(f), mpb.WithRefreshRate(150*time.Millisecond), mpb.WithAutoRefresh())}
	default:
		return &plain{w: w}
	}
}

// Row is the Observer of one boot.
type Row struct {
	// Console, where not nil, receives the console's lines, sanitised. It is set
	// before the boot begins.
	Console io.Writer

	name    string
	started time.Time
	say     func(string) // nil on a live display
	stop    func()       // ends what say is called by; nil on a live display

	mu    sync.Mutex
	phase harness.Phase
	stage stage.Stage
	guest string
	last  string
	bar   *mpb.Bar
}

// Line implements harness.Observer.
func (r *Row) Line(l console.Line) {
	text := console.Sanitize(string(l.Text))
	if r.Console != nil {
		fmt.Fprintln(r.Console, text)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if stamp, rest, ok := strings.Cut(text, "] "); ok && strings.HasPrefix(stamp, "[") && len(stamp) < 20 {
		r.guest, text = strings.TrimSpace(stamp[1:]), rest
	}
	if text = strings.TrimSpace(text); text != "" {
		r.last = text
	}
}

// Report implements harness.Observer.
func (r *Row) Report(rep agentproto.Report) {
	stage := stage.Stage(console.SanitizeMax(string(rep.Stage), 32))
	r.mu.Lock()
	r.stage = stage
	r.mu.Unlock()
	if r.say != nil {
		r.say(fmt.Sprintf("%s: %s at %.1f s guest time, %s", r.name, stage, rep.Uptime, r.elapsed()))
	}
}

// Phase implements harness.Observer.
func (r *Row) Phase(p harness.Phase, why string) {
	r.mu.Lock()
	r.phase = p
	if p == harness.Again {
		r.stage, r.guest, r.last = "", "", ""
	}
	r.mu.Unlock()
	if r.say == nil || p == harness.Starting || p == harness.Finished {
		return
	}
	line := fmt.Sprintf("%s: %s, %s", r.name, p, r.elapsed())
	if why != "" {
		line += ": " + why
	}
	r.say(line)
}

func (r *Row) elapsed() string { return fmt.Sprintf("%.1f s", time.Since(r.started).Seconds()) }

// text is the row on a live display, cut to the width there is.
func (r *Row) text(width int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	stage := string(r.stage)
	if stage == "" {
		stage = "kernel"
	}
	if r.phase == harness.Capturing || r.phase == harness.Proven || r.phase == harness.Confirming {
		stage = string(r.phase)
	}
	guest := r.guest
	if len(guest) > 7 {
		guest = guest[:len(guest)-4] // milliseconds do
	}
	s := fmt.Sprintf("%s  %6s  %-11s guest %8s  %s", r.name, r.elapsed(), stage, guest, r.last)
	return Cut(s, width)
}

// Cut shortens to a number of runes; guest text is sanitised, so a rune is at
// most two columns and most are one.
func Cut(s string, width int) string {
	runes := []rune(s)
	if width <= 0 || len(runes) <= width {
		return s
	}
	return string(runes[:max(width-1, 0)]) + "…"
}

// End takes the row away.
func (r *Row) End() {
	if r.stop != nil {
		r.stop()
	}
	if r.bar != nil {
		r.bar.Abort(true)
		r.bar.Wait()
	}
}
