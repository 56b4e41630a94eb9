package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/unwedge/unwedge/harness"
	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/images/progress"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// display shows what is going on while a command works, on standard error. All
// guest text passes through it sanitised.
type display interface {
	progress.Reporter
	// boot begins a row for one boot; name tells it from the others.
	boot(name string) *row
	// say prints a line that stays.
	say(line string)
	// close takes the rows away.
	close()
}

// newDisplay chooses: live rows on a terminal, lines elsewhere, nothing with
// --quiet.
func (a *app) newDisplay() display {
	f, isFile := a.stderr.(*os.File)
	switch {
	case a.quiet:
		return &plain{w: io.Discard}
	case isFile && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb":
		return &live{p: mpb.New(mpb.WithOutput(f), mpb.WithRefreshRate(150*time.Millisecond), mpb.WithAutoRefresh())}
	default:
		return &plain{w: a.stderr}
	}
}

// row is the Observer of one boot.
type row struct {
	name    string
	started time.Time
	say     func(string) // nil on a live display
	console io.Writer    // where --console streams to; nil otherwise

	mu    sync.Mutex
	phase harness.Phase
	stage stage.Stage
	guest string
	last  string
	bar   *mpb.Bar
}

// Line implements harness.Observer.
func (r *row) Line(l console.Line) {
	text := console.Sanitize(string(l.Text))
	if r.console != nil {
		fmt.Fprintln(r.console, text)
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
func (r *row) Report(rep agentproto.Report) {
	stage := stage.Stage(console.SanitizeMax(string(rep.Stage), 32))
	r.mu.Lock()
	r.stage = stage
	r.mu.Unlock()
	if r.say != nil {
		r.say(fmt.Sprintf("%s: %s at %.1f s guest time, %s", r.name, stage, rep.Uptime, r.elapsed()))
	}
}

// Phase implements harness.Observer.
func (r *row) Phase(p harness.Phase, why string) {
	r.mu.Lock()
	r.phase = p
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

func (r *row) elapsed() string { return fmt.Sprintf("%.1f s", time.Since(r.started).Seconds()) }

// text is the row on a live display, cut to the width there is.
func (r *row) text(width int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	stage := string(r.stage)
	if stage == "" {
		stage = "kernel"
	}
	if r.phase == harness.Capturing || r.phase == harness.Confirming {
		stage = string(r.phase)
	}
	guest := r.guest
	if len(guest) > 7 {
		guest = guest[:len(guest)-4] // milliseconds do
	}
	s := fmt.Sprintf("%s  %6s  %-11s guest %8s  %s", r.name, r.elapsed(), stage, guest, r.last)
	return cut(s, width)
}

// cut shortens to a number of runes; guest text is sanitised, so a rune is at
// most two columns and most are one.
func cut(s string, width int) string {
	runes := []rune(s)
	if width <= 0 || len(runes) <= width {
		return s
	}
	return string(runes[:max(width-1, 0)]) + "…"
}

// end takes the row away.
func (r *row) end() {
	if r.bar != nil {
		r.bar.Abort(true)
		r.bar.Wait()
	}
}

// live draws rows on a terminal.
type live struct{ p *mpb.Progress }

func (l *live) boot(name string) *row {
	r := &row{name: name, started: time.Now()}
	r.bar = l.p.New(0, mpb.NopStyle(), mpb.BarWidth(1), mpb.PrependDecorators(
		decor.Spinner(nil, decor.WCSyncSpaceR),
		decor.Any(func(s decor.Statistics) string { return r.text(s.AvailableWidth - 4) }),
	))
	return r
}

func (l *live) say(line string) { fmt.Fprintln(l.p, console.Sanitize(line)) }
func (l *live) close()          { l.p.Shutdown() }

func (l *live) Task(name string, total int64) progress.Task {
	t := &liveTask{}
	decorators := []decor.Decorator{decor.Spinner(nil, decor.WCSyncSpaceR), decor.Name(console.SanitizeMax(name, 60) + "  ")}
	if total > 0 {
		decorators = append(decorators, decor.CountersKibiByte("% .1f / % .1f "), decor.Percentage())
	}
	decorators = append(decorators, decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6}),
		decor.Any(func(s decor.Statistics) string { return "  " + cut(t.text(), s.AvailableWidth-4) }))
	var style mpb.BarFillerBuilder
	if total > 0 {
		style = mpb.BarStyle()
	} else {
		style = mpb.NopStyle()
	}
	t.bar = l.p.New(total, style, mpb.BarWidth(24), mpb.PrependDecorators(decorators...))
	return t
}

type liveTask struct {
	bar  *mpb.Bar
	mu   sync.Mutex
	note string
}

func (t *liveTask) Add(n int64) { t.bar.IncrInt64(n) }
func (t *liveTask) Note(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note = console.SanitizeMax(line, 200)
}

func (t *liveTask) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.note
}

func (t *liveTask) Done(error) { t.bar.Abort(true); t.bar.Wait() }

// plain prints lines, for logs and pipes.
type plain struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *plain) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.w, console.Sanitize(line)) // progress that cannot be shown is no reason to stop
}

func (p *plain) boot(name string) *row { return &row{name: name, started: time.Now(), say: p.say} }
func (p *plain) close()                {}

func (p *plain) Task(name string, _ int64) progress.Task {
	p.say(name + " ...")
	return &plainTask{p, name, time.Now()}
}

type plainTask struct {
	p       *plain
	name    string
	started time.Time
}

func (t *plainTask) Add(int64)   {}
func (t *plainTask) Note(string) {}
func (t *plainTask) Done(err error) {
	took := time.Since(t.started).Round(100 * time.Millisecond)
	how := "done in"
	switch {
	case errors.Is(err, bisect.ErrNotNow):
		how = "put off after"
	case errors.Is(err, errInterrupted):
		how = "interrupted after"
	case err != nil:
		how = "failed after"
	}
	t.p.say(fmt.Sprintf("%s: %s %s", t.name, how, took))
}
