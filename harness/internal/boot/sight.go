package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/guestmem/locate"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/scenarios"
)

// Foreign is how a guest is followed that somebody else started. It is not told to use a
// console that can be read, and has no agent: its memory shows what these would.
type Foreign struct {
	// Log takes the kernel's log as memory shows it, where the console does not have it.
	// What is written comes back as the console's.
	Log io.Writer
	// Silent says that there is no console but Log.
	Silent bool
}

// logins are the programs that wait for somebody to log in. A guest in which one runs
// has booted, also where no prompt can be seen.
var logins = []string{"agetty", "getty", "mingetty", "login", "sshd", "gdm3", "gdm", "sddm", "lightdm"}

// The times of sight: between two looks, and how long a guest with a console must have
// made no progress before its memory is looked at, which costs the host some work.
const (
	sightEvery = 2 * time.Second
	sightQuiet = 3 * time.Second
)

// sight looks at the memory of a foreign guest from time to time, without stopping it.
// The zero sight looks at nothing.
type sight struct {
	foreign *Foreign
	logins  bool // a login program shows that the guest has booted
	next    time.Time
	looking bool
	cancel  context.CancelFunc

	seen   bool      // the kernel was found in memory
	since  time.Time // when its log was first read there
	last   []byte    // the last line of the log that was handed on
	spoke  bool      // the kernel's log is on the console
	failed bool      // it was noted that nothing can be read
}

func newSight(o Options) sight {
	return sight{foreign: o.Foreign, logins: o.Machine.Scenario.Booted().Kind == scenarios.ByLogin}
}

// look begins a look where one is due.
func (s *sight) look(ctx context.Context, w *watcher, now time.Time) {
	if s.foreign == nil || w.Image.Look == nil || s.looking || now.Before(s.next) || w.ended || !w.paused.IsZero() {
		return
	}
	if !s.foreign.Silent && now.Sub(w.tracker.Progress()) < sightQuiet {
		return
	}
	ctx, s.cancel = context.WithTimeout(ctx, lookFor)
	s.looking = true
	w.loop.Go(func() func() {
		var v *guestmem.View
		ram, registers, err := w.guest.Memory(ctx)
		if err == nil {
			v, err = w.Image.Look(ctx, ram, registers)
		}
		return func() {
			over := ctx.Err() != nil
			s.cancel()
			s.looking, s.next = false, time.Now().Add(sightEvery)
			if !over {
				s.saw(w, v, err)
			}
		}
	})
}

// saw takes what a look showed.
func (s *sight) saw(w *watcher, v *guestmem.View, err error) {
	switch {
	case err != nil && errors.As(err, new(usage.Error)):
		w.err = err
		return
	case errors.Is(err, locate.ErrNotLoaded), errors.Is(err, locate.ErrEarly):
		if s.foreign.Silent && !s.seen { // firmware, a boot loader, or the kernel unpacks itself
			w.tracker.Firmware(true)
		}
		return
	case err != nil:
		if !s.failed {
			s.failed = true
			w.record.note("the guest's memory does not show its progress: %v", err)
		}
		return
	case v == nil:
		return
	}
	now := time.Now()
	if !s.seen {
		s.seen = true
		if s.foreign.Silent {
			w.tracker.Firmware(false)
		}
	}
	s.tasks(w, v, now)
	if err := s.log(w, v.Log, now); err != nil {
		w.record.noteOnce(fmt.Sprintf("the kernel's log: %v", err))
	}
}

// tasks takes the tasks: a name that was not there before is progress, and some names
// show that the guest has booted.
func (s *sight) tasks(w *watcher, v *guestmem.View, now time.Time) {
	for _, t := range v.Tasks {
		if t.PID <= 0 {
			continue
		}
		if s.foreign.Silent {
			w.tracker.Saw(now, t.Comm)
		}
		if s.logins && slices.Contains(logins, t.Comm) {
			w.tracker.Reach(now, fmt.Sprintf("%s (PID %d) waits for somebody to log in, as the guest's memory shows", console.Sanitize(t.Comm), t.PID))
		}
	}
}

// log hands on what the kernel's log has that was not handed on yet. A console that shows
// the log itself is left alone; one may begin late, when its driver is up.
func (s *sight) log(w *watcher, log []byte, now time.Time) error {
	if len(log) == 0 || s.spoke {
		return nil
	}
	if s.since.IsZero() {
		s.since = now
	}
	if !s.foreign.Silent {
		if s.last == nil && w.stamped {
			s.spoke = true
		}
		if s.spoke || now.Sub(s.since) < w.Limits.Start {
			return nil
		}
	}
	fresh := after(log, s.last)
	if i := bytes.LastIndexByte(bytes.TrimRight(log, "\n"), '\n'); len(fresh) > 0 {
		s.last = bytes.Clone(bytes.TrimRight(log[i+1:], "\n"))
	}
	_, err := s.foreign.Log.Write(fresh)
	return err
}

// after is what stands behind the last line that was handed on; all of it where that is
// not there any more.
func after(log, last []byte) []byte {
	if last == nil {
		return log
	}
	if i := bytes.LastIndex(log, append(bytes.Clone(last), '\n')); i >= 0 && (i == 0 || log[i-1] == '\n') {
		return log[i+len(last)+1:]
	}
	if bytes.HasSuffix(log, last) {
		return nil
	}
	return log
}

// callOff ends a look.
func (s *sight) callOff() {
	if s.looking {
		s.cancel()
	}
}
