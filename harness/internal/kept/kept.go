// Package kept goes on with a guest that a run has left paused: it attaches to its
// console, or ends it.
package kept

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/unwedge/unwedge/harness/internal/qemu"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
)

// DetachKey is Ctrl-], as in telnet.
const DetachKey = 0x1d

// ErrGone says that the guest's QEMU has ended.
var ErrGone = errors.New("its QEMU has ended")

// Guest is a kept guest, with a connection to its monitor.
type Guest struct {
	kept    *result.Kept
	monitor *qmp.Conn
}

// Open connects to the guest that the run in dir has left. The error wraps ErrGone
// where it has ended.
func Open(ctx context.Context, dir string) (*Guest, error) {
	_, g, err := open(ctx, dir)
	return g, err
}

func open(ctx context.Context, dir string) (*result.Result, *Guest, error) {
	res, err := result.Read(filepath.Join(dir, rundir.Result))
	if err != nil {
		return nil, nil, usage.Wrap(err)
	}
	if res.Kept == nil {
		return nil, nil, usage.Errorf("%s: no guest was kept: boot with --keep", dir)
	}
	conn, err := qmp.Dial(ctx, res.Kept.QMP, qmp.Options{})
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return res, nil, fmt.Errorf("%s: the kept guest is gone: %w", dir, ErrGone)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the kept guest does not answer, its QEMU (pid %d) may have ended: %w", res.Kept.PID, err)
	}
	return res, &Guest{res.Kept, conn}, nil
}

// Close leaves the guest as it is.
func (g *Guest) Close() { g.monitor.Close() }

// Console opens the guest's serial console.
func (g *Guest) Console() (io.ReadWriteCloser, error) { return qemu.OpenPipe(g.kept.Console) }

// Attach resumes the guest, connects its console to in and out until the guest or ctx
// ends or DetachKey comes, and pauses it again.
func (g *Guest) Attach(ctx context.Context, console io.ReadWriter, in io.Reader, out io.Writer) error {
	if err := g.monitor.Execute(ctx, "cont", nil, nil); err != nil {
		return err
	}
	pipe(ctx, console, in, out)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := g.monitor.Execute(ctx, "stop", nil, nil); err != nil && !errors.Is(err, qmp.ErrClosed) {
		return err
	}
	return nil
}

// Stop ends the guest that the run in dir has left, and removes what it left in the
// run. ended is false where it had ended before.
func Stop(ctx context.Context, dir string) (ended bool, err error) {
	res, g, err := open(ctx, dir)
	switch {
	case errors.Is(err, ErrGone):
	case err != nil:
		return false, err
	default:
		defer g.Close()
		if err := g.monitor.Execute(ctx, "quit", nil, nil); err != nil && !errors.Is(err, qmp.ErrClosed) {
			return false, err
		}
		ended = true
	}
	res.Kept = nil
	if err := res.Write(rundir.Result); err != nil {
		return ended, err
	}
	if err := removeSockets(filepath.Join(dir, rundir.Sockets)); err != nil {
		return ended, fmt.Errorf("remove the sockets: %w", err)
	}
	return ended, nil
}

// removeSockets removes the directory of a run's sockets, which may be a link to
// one with a shorter path (qemu.NewSocketDir).
func removeSockets(dir string) error {
	target, err := os.Readlink(dir)
	if err == nil && strings.HasPrefix(filepath.Base(target), "unwedge-") {
		if err := os.RemoveAll(target); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// pipe copies both ways until the guest ends, ctx ends, or the detach key comes.
// The guest's bytes go to the terminal as they are: whoever attaches asks for
// the raw console.
func pipe(ctx context.Context, console io.ReadWriter, in io.Reader, out io.Writer) {
	done := make(chan struct{}, 2)
	go func() {
		_, _ = io.Copy(out, console) // its end is the end of the session
		done <- struct{}{}
	}()
	go func() {
		buf := make([]byte, 256)
		for {
			n, err := in.Read(buf)
			for i, c := range buf[:n] {
				if c == DetachKey {
					n, err = i, io.EOF
					break
				}
			}
			if _, werr := console.Write(buf[:n]); werr != nil || err != nil {
				break
			}
		}
		done <- struct{}{}
	}()
	select {
	case <-ctx.Done():
	case <-done:
	}
}
