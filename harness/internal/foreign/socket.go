package foreign

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/usage"
)

// socketWire is a monitor at a unix socket.
type socketWire struct {
	path       string
	transcript io.Writer
	greeting   time.Duration

	mu   sync.Mutex
	conn *net.UnixConn // the newest
}

func (w *socketWire) forbidden() error {
	return usage.Errorf("%s: permission denied: run as the user of QEMU, or as root", w.path)
}

// reopen connects to the monitor.
func (w *socketWire) reopen(ctx context.Context) (*qmp.Conn, error) {
	switch st, err := os.Stat(w.path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usage.Errorf("%s: no such socket: QEMU makes one with -qmp unix:%s,server=on,wait=off", w.path, w.path)
	case errors.Is(err, fs.ErrPermission):
		return nil, w.forbidden()
	case err != nil:
		return nil, usage.Wrap(err)
	case st.Mode().Type() != fs.ModeSocket:
		return nil, usage.Errorf("%s: not a socket: name the socket of QEMU's -qmp", w.path)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", w.path)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%s: %w: nobody listens at the socket", w.path, ErrGone)
	case errors.Is(err, fs.ErrPermission):
		return nil, w.forbidden()
	case err != nil:
		return nil, usage.Errorf("connect to %s: %w", w.path, err)
	}
	c, err := qmp.New(ctx, conn, qmp.Options{Greeting: w.greeting, Transcript: w.transcript})
	if err != nil {
		return nil, w.refused(ctx, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conn = conn.(*net.UnixConn)
	return c, nil
}

// refused says why a peer could not be talked to.
func (w *socketWire) refused(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, qmp.ErrNoReply):
		return usage.Errorf("%s: no QMP greeting within %s: QEMU serves one client at a time: is another one connected? Give QEMU a second -qmp socket", w.path, w.greeting)
	case errors.Is(err, qmp.ErrProtocol) && strings.Contains(err.Error(), "monitor - type 'help'"):
		return usage.Errorf("%s: a monitor for people (HMP): name a socket of QEMU's -qmp", w.path)
	case errors.Is(err, qmp.ErrProtocol), errors.Is(err, io.EOF):
		return usage.Errorf("%s: not QEMU's QMP: %w", w.path, err)
	default:
		return fmt.Errorf("%s: %w", w.path, err)
	}
}

// guard waits for the end of its input. Without a line before that, it lets the guest
// go on, by the connection that it shares with this process.
const guard = `read -r _ || printf '{"execute":"cont"}\n' >&3`

// insure starts the guard. It is a shell, because a process that was killed can do
// nothing, and it shares the connection, because QEMU serves no other.
func (w *socketWire) insure() (release func(resumed bool) error, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	shared, err := duplicate(w.conn)
	if err != nil {
		return nil, err
	}
	defer shared.Close()
	cmd := exec.Command("/bin/sh", "-c", guard) //nolint:noctx // release ends it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.ExtraFiles = []*os.File{shared}
	return startGuard(cmd)
}

// duplicate is the connection as a file. That of UnixConn.File would be made blocking
// when a process inherits it, and the connection with it.
func duplicate(conn *net.UnixConn) (*os.File, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, dupErr := -1, error(nil)
	err = raw.Control(func(own uintptr) { fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, dupErr); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "qmp"), nil
}

// startGuard starts a process that acts at the end of its input, unless there was a
// line before.
func startGuard(cmd *exec.Cmd) (release func(resumed bool) error, err error) {
	pipe, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start a process that would let the guest go on: %w", err)
	}
	return func(resumed bool) error {
		var werr error
		if resumed {
			_, werr = io.WriteString(pipe, "done\n")
		}
		return errors.Join(werr, pipe.Close(), cmd.Wait())
	}, nil
}

// sendFile gives QEMU an open file. QEMU keeps it with the next byte that it reads, and
// the command getfd names it (monitor/fds.c).
func (w *socketWire) sendFile(ctx context.Context, conn *qmp.Conn, name string, fd uintptr) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, _, err := w.conn.WriteMsgUnix([]byte(" "), unix.UnixRights(int(fd)), nil); err != nil {
		return true, fmt.Errorf("send a file to QEMU: %w", err)
	}
	return true, conn.Execute(ctx, "getfd", map[string]string{"fdname": name}, nil)
}
