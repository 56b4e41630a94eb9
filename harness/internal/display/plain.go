package display

import (
	"errors"
	"fmt"
	"io"
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

func (p *plain) Boot(name string) *Row { return &Row{name: name, started: time.Now(), say: p.Say} }
func (p *plain) Close()                {}

func (p *plain) Task(name string, _ int64) progress.Task {
	p.Say(name + " ...")
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
	case errors.Is(err, progress.ErrPutOff):
		how = "put off after"
	case errors.Is(err, progress.ErrInterrupted):
		how = "interrupted after"
	case err != nil:
		how = "failed after"
	}
	t.p.Say(fmt.Sprintf("%s: %s %s", t.name, how, took))
}
