// Package adopted makes a guest that somebody else started one that can be watched. It
// owns nothing of it: it never lets it go on, resets, ends or configures it. What it does
// is to stop it for a moment when it is captured (foreign.Guest.Still), and then it runs
// on.
package adopted

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/foreign"
	"github.com/unwedge/unwedge/harness/internal/guestmem/physmem"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/vcpu"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/agentproto"
)

// Options say how to watch.
type Options struct {
	// Dir is the run's directory, which exists.
	Dir string
	// Source is the console's, nil for none.
	Source *Source
	// ConsoleCap bounds console.log in bytes; 0 means 64 MiB.
	ConsoleCap int64
}

// Guest is a guest that is watched. Its methods may be called from any goroutine, Close
// once all others have returned.
type Guest struct {
	foreign *foreign.Guest
	events  *qmp.Subscription
	console *console.Recorder
	feed    *feed

	mu      sync.Mutex
	ram     physmem.Reader
	noRAM   error
	stopped time.Duration
	unsure  bool
}

// New begins to watch. It takes over the Source, and leaves f to the caller.
func New(f *foreign.Guest, o Options) (*Guest, error) {
	g := &Guest{foreign: f, feed: newFeed(o.Source)}
	log, err := os.Create(filepath.Join(o.Dir, rundir.Console))
	if err != nil {
		g.feed.Close()
		return nil, fmt.Errorf("make console log: %w", err)
	}
	if g.console, err = console.Record(g.feed, log, console.Options{MaxBytes: o.ConsoleCap}); err != nil {
		return nil, errors.Join(err, log.Close(), g.feed.Close())
	}
	g.events = f.QMP.Subscribe(1024)
	return g, nil
}

// Close ends the watching. The guest stays as it is.
func (g *Guest) Close() error {
	g.events.Close()
	return g.console.Close()
}

// Log takes the kernel's log as memory shows it, in place of a console.
func (g *Guest) Log() io.Writer { return g.feed.in }

// Stood is how long the guest was stopped in all; unsure says that it would have stayed
// so, had this process been killed then.
func (g *Guest) Stood() (stopped time.Duration, unsure bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stopped, g.unsure
}

// QMP is the monitor of its QEMU.
func (g *Guest) QMP() *qmp.Conn { return g.foreign.QMP }

// Events are what QEMU says unasked; closed when the connection ends.
func (g *Guest) Events() <-chan qmp.Event { return g.events.C }

// Console is what is read of its console.
func (g *Guest) Console() *console.Recorder { return g.console }

// PID is that of its QEMU.
func (g *Guest) PID() int { return g.foreign.PID }

// Begin does nothing: the guest runs, or it is not for the watcher to let it.
func (g *Guest) Begin(context.Context) error { return nil }

// Done is never closed: that QEMU has ended shows in the end of Events, behind all that
// it said before.
func (g *Guest) Done() <-chan struct{} { return nil }

// Ended says why nothing more is to be learnt of the guest.
func (g *Guest) Ended() error {
	err := g.foreign.QMP.Err()
	switch pid := g.foreign.PID; {
	case pid == 0:
		return err
	case alive(pid):
		return fmt.Errorf("its QEMU (pid %d) runs on, and does not answer any more: %w", pid, err)
	default:
		return foreign.ErrGone
	}
}

// dying is how long a QEMU that ends may take from closing its monitor to its exit.
const dying = 2 * time.Second

// OrDead prefers QEMU's end to the error that it caused.
func (g *Guest) OrDead(err error) error {
	select {
	case <-g.foreign.QMP.Done():
	case <-time.After(dying):
		return err
	}
	for deadline := time.Now().Add(dying); alive(g.foreign.PID) && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
	}
	return g.Ended()
}

// alive says whether a process is there and has not ended.
func alive(pid int) bool {
	if pid == 0 {
		return false
	}
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil || !errors.Is(err, os.ErrNotExist)
}

// Reports returns at once: there is no agent.
func (g *Guest) Reports(func(agentproto.Report, error)) {}

// CloseAgent does nothing.
func (g *Guest) CloseAgent() {}

// DiskReads is how many reads its disks have answered.
func (g *Guest) DiskReads(ctx context.Context) (int64, error) { return g.QMP().DiskReads(ctx) }

// Answers cannot be told: QEMU would have to be configured for it.
func (g *Guest) Answers(_ context.Context, port int) (bool, error) {
	return false, fmt.Errorf("whether the guest answers on port %d is not known: nothing of a guest that somebody else started is configured", port)
}

// Readable says why the guest's memory cannot be read, nil where it can.
func (g *Guest) Readable(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ram == nil && g.noRAM == nil {
		g.ram, g.noRAM = g.foreign.Memory(ctx)
	}
	return g.noRAM
}

// Memory is the guest's memory, with QEMU's text of its registers of this moment.
func (g *Guest) Memory(ctx context.Context) (ram physmem.Reader, registers string, err error) {
	if err := g.Readable(ctx); err != nil {
		return nil, "", err
	}
	_, registers, err = vcpu.Registers(ctx, g.QMP(), nil)
	return g.ram, registers, err
}

// stillTime bounds how long a guest that runs is stopped.
const stillTime = 10 * time.Second

// Stopped runs f while the guest stands still. One that ran runs on afterwards, whatever
// happens; one that did not is left as it is.
func (g *Guest) Stopped(ctx context.Context, f func(context.Context) error) error {
	stood, err := g.foreign.Still(ctx, stillTime, f)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped += stood.For
	g.unsure = g.unsure || stood.Unsure
	return err
}
