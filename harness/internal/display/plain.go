package display

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/images/progress"
)

// plain prints lines, for logs and pipes.
type plain struct {
	mu sync.Mutex
	w  io.Writer
}

func (p *plain) Say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.w, console.Sanitize(line)) // progress that cannot be shown is no reason to stop
}

func (p *plain) Boot(name string) *Row {
	r := &Row{name: name, started: time.Now(), say: p.Say}
	r.stop = eachMinute(func() { p.Say(r.text(200)) })
	return r
}

func (p *plain) Close() {}

// minute is how often what takes long says how far it is: CI systems end a job that
// prints nothing for ten.
const minute = time.Minute

// eachMinute calls say once a minute until stop is called, which waits for the last one.
func eachMinute(say func()) (stop func()) {
	quit := make(chan struct{})
	var saying sync.WaitGroup
	saying.Go(func() {
		tick := time.NewTicker(minute)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				say()
			}
		}
	})
	return sync.OnceFunc(func() { close(quit); saying.Wait() })
}

func (p *plain) Task(name string, total int64) progress.Task {
	p.Say(name + " ...")
	t := &plainTask{p: p, name: name, total: total, started: time.Now()}
	t.stop = eachMinute(t.tell)
	return t
}

type plainTask struct {
	p       *plain
	name    string
	total   int64
	started time.Time
	stop    func()

	mu   sync.Mutex
	done int64
	note string
}

func (t *plainTask) Add(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done += n
}

func (t *plainTask) Note(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note = console.SanitizeMax(line, 200)
}

// tell says how far the task is.
func (t *plainTask) tell() {
	t.mu.Lock()
	parts := []string{fmt.Sprintf("%s: %s", t.name, time.Since(t.started).Round(time.Second))}
	switch {
	case t.total > 0:
		parts = append(parts, fmt.Sprintf("%d%% of %s", min(100, 100*t.done/t.total), mebibytes(t.total)))
	case t.done > 0:
		parts = append(parts, mebibytes(t.done))
	}
	if t.note != "" {
		parts = append(parts, t.note)
	}
	t.mu.Unlock()
	t.p.Say(strings.Join(parts, ", "))
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func (t *plainTask) Done(err error) {
	t.stop()
	took := time.Since(t.started).Round(100 * time.Millisecond)
	how := "done in"
	switch {
	case errors.Is(err, progress.ErrPutOff):
		how = "put off after"
	case errors.Is(err, progress.ErrInterrupted):
		how = "interrupted after"
	case err != nil:
		how = "failed after"
	}
	t.p.Say(fmt.Sprintf("%s: %s %s", t.name, how, took))
}
