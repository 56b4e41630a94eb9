package display

import (
	"fmt"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/images/progress"
)

// live draws rows on a terminal.
type live struct{ p *mpb.Progress }

func (l *live) Boot(name string) *Row {
	r := &Row{name: name, started: time.Now()}
	r.bar = l.p.New(0, mpb.NopStyle(), mpb.BarWidth(1), mpb.PrependDecorators(
		decor.Spinner(nil, decor.WCSyncSpaceR),
		decor.Any(func(s decor.Statistics) string { return r.text(s.AvailableWidth - 4) }),
	))
	return r
}

func (l *live) Say(line string) { fmt.Fprintln(l.p, console.Sanitize(line)) }
func (l *live) Close()          { l.p.Shutdown() }

func (l *live) Task(name string, total int64) progress.Task {
	t := &liveTask{}
	decorators := []decor.Decorator{decor.Spinner(nil, decor.WCSyncSpaceR), decor.Name(console.SanitizeMax(name, 60) + "  ")}
	if total > 0 {
		decorators = append(decorators, decor.CountersKibiByte("% .1f / % .1f "), decor.Percentage())
	}
	decorators = append(decorators, decor.Elapsed(decor.ET_STYLE_GO, decor.WC{W: 6}),
		decor.Any(func(s decor.Statistics) string { return "  " + Cut(t.text(), s.AvailableWidth-4) }))
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
