package harness

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/machine"
	"github.com/unwedge/unwedge/harness/internal/qemu"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/agentproto"
)

// connectTimeout bounds QEMU's start: from the process to its QMP greeting.
const connectTimeout = 2 * time.Minute

// guest is a running QEMU and everything that is connected to it. Whatever
// start got hold of, stop lets go of.
type guest struct {
	proc    *qemu.Process
	args    []string // what QEMU was given
	qmp     *qmp.Conn
	events  *qmp.Subscription
	console *console.Recorder
	agent   net.Conn
	dir     *qemu.SocketDir
	uart    *qemu.Pipe
	sockets map[string]*qemu.Socket
	guard   *guard   // only with Request.Keep
	ram     *os.File // the guest's memory
	files   []io.Closer
	left    bool // disconnect was called
}

// start runs QEMU with a paused guest and connects to it.
func start(ctx context.Context, req Request) (g *guest, err error) {
	g = &guest{sockets: map[string]*qemu.Socket{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.stop(context.WithoutCancel(ctx)))
			g = nil
		}
	}()
	if g.dir, err = qemu.NewSocketDir(filepath.Join(req.Dir, rundir.Sockets)); err != nil {
		return g, err
	}
	cmd := qemu.Command{
		Path: req.Machine.QEMU,
		// snapshot=on puts the guest's writes there (block.c, get_tmp_filename).
		Env:        append(os.Environ(), "TMPDIR="+g.dir.Path()),
		StderrPath: filepath.Join(req.Dir, rundir.QEMUStderr), Detach: req.Keep,
	}
	if err := g.listen(&cmd, &req.Machine.Sockets); err != nil {
		return g, err
	}
	if err := g.memory(&cmd, &req.Machine); err != nil {
		return g, err
	}
	cmd.Args = req.Machine.Args()
	g.args = cmd.Args
	if g.proc, err = qemu.Start(ctx, cmd); err != nil {
		return g, err
	}
	if req.Keep {
		if g.guard, err = startGuard(g.proc.Pid()); err != nil {
			return g, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, connectTimeout, fmt.Errorf("QEMU did not answer within %s", connectTimeout))
	defer cancel()
	return g, g.connect(ctx, req)
}

// listen makes the sockets and has QEMU inherit them.
func (g *guest) listen(cmd *qemu.Command, fds *machine.Sockets) (err error) {
	if g.uart, err = g.dir.Pipe(socketConsole); err != nil {
		return err
	}
	fds.Console = g.uart.Path()
	for _, s := range []struct {
		name string
		fd   *int
	}{
		{socketQMP, &fds.QMP}, {socketSeat, &fds.Seat}, {socketGDB, &fds.GDB}, {socketAgent, &fds.Agent},
	} {
		sock, err := g.dir.Listen(s.name)
		if err != nil {
			dropFiles(cmd)
			return err
		}
		g.sockets[s.name] = sock
		*s.fd = cmd.Pass(sock.File())
	}
	return nil
}

// dropFiles closes what QEMU was to inherit, where qemu.Start, which takes it
// over, is not reached.
func dropFiles(cmd *qemu.Command) {
	for _, f := range cmd.ExtraFiles {
		f.Close()
	}
}

// memory makes the file that is the guest's RAM. It has no name anywhere, and
// goes when the last of the harness and QEMU does.
func (g *guest) memory(cmd *qemu.Command, m *machine.Spec) (err error) {
	defer func() {
		if err != nil {
			dropFiles(cmd)
			err = fmt.Errorf("make the guest's memory of %d MiB: %w", m.Scenario.MemoryMiB, err)
		}
	}()
	fd, err := unix.MemfdCreate("unwedge-ram", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	g.ram = os.NewFile(uintptr(fd), "unwedge-ram")
	g.files = append(g.files, g.ram)
	if err := g.ram.Truncate(int64(m.Scenario.MemoryMiB) << 20); err != nil {
		return err
	}
	theirs, err := unix.FcntlInt(g.ram.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	m.Sockets.RAM = cmd.Pass(os.NewFile(uintptr(theirs), "unwedge-ram"))
	return nil
}

// The names of the sockets in the run's directory.
const (
	socketConsole = "console"
	socketQMP     = "qmp"
	socketSeat    = "seat"
	socketGDB     = "gdb"
	socketAgent   = "agent"
)

func (g *guest) connect(ctx context.Context, req Request) error {
	transcript, err := g.create(req, rundir.QMP)
	if err != nil {
		return err
	}
	if g.agent, err = g.sockets[socketAgent].Dial(ctx); err != nil {
		return g.orDead(err)
	}
	control, err := g.sockets[socketQMP].Dial(ctx)
	if err != nil {
		return g.orDead(err)
	}
	if g.qmp, err = qmp.New(ctx, control, qmp.Options{Transcript: transcript, Timeout: req.QMPTimeout}); err != nil {
		return g.orDead(err)
	}
	g.events = g.qmp.Subscribe(1024)
	return g.record(req)
}

// record begins to read the console. QEMU has answered, so it has opened the
// pipes; the guest is still paused, so it has printed nothing.
func (g *guest) record(req Request) error {
	conn, err := g.uart.Open()
	if err != nil {
		return g.orDead(err)
	}
	log, err := os.Create(filepath.Join(req.Dir, rundir.Console))
	if err != nil {
		conn.Close()
		return fmt.Errorf("make console log: %w", err)
	}
	if g.console, err = console.Record(conn, log, console.Options{MaxBytes: req.ConsoleCap}); err != nil {
		conn.Close()
		log.Close()
		return err
	}
	return nil
}

func (g *guest) create(req Request, name string) (*os.File, error) {
	f, err := os.Create(filepath.Join(req.Dir, name))
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	g.files = append(g.files, f)
	return f, nil
}

// orDead prefers QEMU's last words to the error they caused.
func (g *guest) orDead(err error) error {
	select {
	case <-g.proc.Done():
		return g.ended()
	case <-time.After(time.Second): // a dying QEMU closes its sockets first
		return err
	}
}

// ended says how QEMU ended, which it has.
func (g *guest) ended() error {
	exit, err := g.proc.Wait(context.Background())
	if err == nil {
		err = exit.Err()
	}
	if err == nil {
		err = errors.New("QEMU exited with status 0")
	}
	return err
}

// reports reads the agent's virtio-serial lines until the connection ends, and
// gives each to f.
func (g *guest) reports(f func(agentproto.Report, error)) {
	in := bufio.NewReaderSize(g.agent, maxReport)
	for {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			for errors.Is(err, bufio.ErrBufferFull) { // the port must be drained, or the agent waits
				_, err = in.ReadSlice('\n')
			}
			f(agentproto.Report{}, fmt.Errorf("a line of more than %d bytes", maxReport))
		case err == nil:
			f(agentproto.Parse(bytes.TrimRight(line, "\r\n")))
		}
		if err != nil {
			return
		}
	}
}

// maxReport is the longest line of the agent's that is read, in bytes.
const maxReport = 64 << 10

// stop ends QEMU and lets go of everything. It is bounded, and safe to call on
// a guest that was started only in part.
func (g *guest) stop(ctx context.Context) error {
	var errs []error
	if g.proc != nil {
		_, _, err := g.proc.Stop(ctx, g.quit)
		errs = append(errs, err)
	}
	g.disconnect(&errs)
	if g.dir != nil {
		errs = append(errs, g.dir.Remove())
	}
	return errors.Join(errs...)
}

func (g *guest) quit(ctx context.Context) error {
	if g.qmp == nil || g.left {
		return errors.New("no QMP connection")
	}
	return g.qmp.Execute(ctx, "quit", nil, nil)
}

// disconnect lets go of the connections and files and leaves QEMU running.
func (g *guest) disconnect(errs *[]error) {
	if g.left {
		return
	}
	g.left = true
	*errs = append(*errs, g.guard.release())
	if g.agent != nil {
		g.agent.Close() // QEMU may have closed it: nothing to tell
	}
	if g.events != nil {
		g.events.Close()
	}
	if g.qmp != nil {
		g.qmp.Close()
	}
	if g.console != nil {
		if err := g.console.Close(); err != nil {
			*errs = append(*errs, err)
		}
	}
	for _, f := range g.files {
		if err := f.Close(); err != nil {
			*errs = append(*errs, err)
		}
	}
}
