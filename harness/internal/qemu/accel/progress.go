package accel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/qemu"
	"github.com/unwedge/unwedge/harness/internal/qmp"
)

// A test guest needs some 0.1 s under KVM. On a host that is itself a guest,
// or that is very busy, QEMU alone takes many seconds to start. So slow is told
// from broken: whoever makes progress gets time.
const (
	// pollEvery is how often progress is looked for.
	pollEvery = 100 * time.Millisecond
	// longest bounds a run that makes progress for ever.
	longest = 2 * time.Minute
)

// errStood is a test guest that made no progress.
var errStood = errors.New("no progress")

// await waits until done is closed. It returns errStood when look, which returns
// what changes with progress, returned nothing new for limit, or when it takes the
// longest time.
func await(ctx context.Context, done <-chan struct{}, look func(context.Context) string, limit time.Duration) error {
	bounded, cancel := context.WithTimeoutCause(ctx, max(longest, limit), errStood)
	defer cancel()
	tick := time.NewTicker(min(pollEvery, limit/4+1))
	defer tick.Stop()
	last, seen := time.Now(), ""
	for {
		select {
		case <-done:
			return nil
		case <-bounded.Done():
			return context.Cause(bounded)
		case <-tick.C:
		}
		// Whoever answers late may still get on: a slow QEMU has the whole limit.
		now := lookBefore(bounded, last.Add(limit), look)
		if now != "" && now != seen {
			last, seen = time.Now(), now
			continue
		}
		select {
		case <-done: // while it was looked at
			return nil
		default:
		}
		if time.Since(last) >= limit {
			return errStood
		}
	}
}

func lookBefore(ctx context.Context, deadline time.Time, look func(context.Context) string) string {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	return look(ctx)
}

// seat is where a test guest is watched from.
type seat struct {
	dir     *qemu.SocketDir
	socket  *qemu.Socket
	greeted chan *qmp.Conn // the session, once QEMU has greeted
	ended   chan struct{}
	monitor *qmp.Conn
}

// newSeat makes QEMU's monitor and adds it to the command.
func newSeat(dir string, cmd *qemu.Command) (*seat, error) {
	d, err := qemu.NewSocketDir(filepath.Join(dir, "s"))
	if err != nil {
		return nil, err
	}
	s := &seat{dir: d, greeted: make(chan *qmp.Conn, 1), ended: make(chan struct{})}
	if s.socket, err = d.Listen("qmp"); err != nil {
		return nil, errors.Join(err, d.Remove())
	}
	fd := cmd.Pass(s.socket.File())
	cmd.Args = append(cmd.Args, "-chardev", fmt.Sprintf("socket,id=qmp,fd=%d,server=on,wait=off", fd), "-mon", "chardev=qmp,mode=control")
	return s, nil
}

// connect waits for QEMU's greeting, beside the caller, until ctx ends.
func (s *seat) connect(ctx context.Context) {
	defer close(s.ended)
	conn, err := s.socket.Dial(ctx)
	if err != nil {
		return // no progress will be seen
	}
	if m, err := qmp.New(ctx, conn, qmp.Options{Timeout: longest}); err == nil {
		s.greeted <- m
	}
}

// look returns what changes as QEMU and its guest get on: until QEMU greets, the
// processor time that it used; from then on the vCPU's registers. "" means that
// it cannot be told now.
func (s *seat) look(ctx context.Context, pid int) string {
	if s.monitor == nil {
		select {
		case s.monitor = <-s.greeted:
		default:
			return userTime(pid)
		}
	}
	text, err := s.monitor.HMP(ctx, "info registers")
	if err != nil {
		return "" // a vCPU that does not leave the host's kernel blocks QEMU, too
	}
	return text
}

// close ends the session; the QEMU is gone.
func (s *seat) close() error {
	<-s.ended
	select {
	case s.monitor = <-s.greeted:
	default:
	}
	var err error
	if s.monitor != nil {
		err = s.monitor.Close()
	}
	return errors.Join(err, s.dir.Remove())
}

// userTime is how long a process has run in user space: a vCPU that spins in the
// host's kernel adds nothing to it. The 14th field of proc_pid_stat(5).
func userTime(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, ok := strings.Cut(string(b), ") ")
	if f := strings.Fields(rest); ok && len(f) > 11 {
		return f[11]
	}
	return ""
}
