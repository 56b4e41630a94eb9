// Package run owns a live guest: QEMU's process, its QMP connection, the console,
// the agent's port and the memory. Whatever Start got hold of, Stop lets go of, however
// the guest ends.
package run

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
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/agentproto"
)

// QMP is QEMU's monitor.
func (g *Guest) QMP() *qmp.Conn { return g.qmp }

// Events are what QEMU says unasked; closed when the monitor's connection ends.
func (g *Guest) Events() <-chan qmp.Event { return g.events.C }

// Console is the first UART.
func (g *Guest) Console() *console.Recorder { return g.console }

// Begin lets the guest go, which waits for its watcher.
func (g *Guest) Begin(ctx context.Context) error { return g.qmp.Execute(ctx, "cont", nil, nil) }

// PID is QEMU's process ID.
func (g *Guest) PID() int { return g.proc.Pid() }

// Done is closed when QEMU has ended.
func (g *Guest) Done() <-chan struct{} { return g.proc.Done() }

// GDB connects to QEMU's gdb stub, which stops the guest.
func (g *Guest) GDB(ctx context.Context) (net.Conn, error) { return g.sockets[socketGDB].Dial(ctx) }

// CloseAgent ends Reports.
func (g *Guest) CloseAgent() { g.agent.Close() }

// LetGo leaves the guest paused, lets go of it, and says how to get at it. A guest
// that cannot be left is stopped.
func (g *Guest) LetGo(ctx context.Context) (*result.Kept, error) {
	if err := g.qmp.Execute(ctx, "stop", nil, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("pause the guest to keep it: %w", err), g.Stop(context.WithoutCancel(ctx)))
	}
	kept := &result.Kept{
		PID:     g.proc.Pid(),
		Console: g.uart.Path(), QMP: g.sockets[socketQMP].Path(), GDB: g.sockets[socketGDB].Path(),
	}
	var errs []error
	g.disconnect(&errs)
	return kept, errors.Join(errs...)
}

// connectTimeout bounds QEMU's start: from the process to its QMP greeting.
const connectTimeout = 2 * time.Minute

// Options say what to run.
type Options struct {
	// Machine is the guest; its Sockets are made by Start.
	Machine machine.Spec
	// Dir is the run's directory, which exists.
	Dir string
	// Keep makes a QEMU that can outlive this process, see LetGo.
	Keep bool
	// ConsoleCap bounds console.log in bytes; 0 means 64 MiB.
	ConsoleCap int64
	// QMPTimeout bounds each answer of QEMU's monitor; 0 means qmp.DefaultTimeout.
	QMPTimeout time.Duration
}

// Guest is a running QEMU and everything that is connected to it. Its methods may
// be called from any goroutine, Stop and LetGo once all others have returned.
type Guest struct {
	// Args are what QEMU was given, without the program's name.
	Args []string

	qmp     *qmp.Conn
	events  *qmp.Subscription
	console *console.Recorder

	machine machine.Spec
	proc    *qemu.Process
	agent   net.Conn
	dir     *qemu.SocketDir
	uart    *qemu.Pipe
	sockets map[string]*qemu.Socket
	guard   *guard   // only with Options.Keep
	ram     *os.File // the guest's memory
	files   []io.Closer
	left    bool // disconnect was called

	forwarded int // the host's port that leads to the guest's, see Answers
}

// Start runs QEMU with a paused guest and connects to it. What was started is
// stopped if anything fails.
func Start(ctx context.Context, req Options) (g *Guest, err error) {
	g = &Guest{sockets: map[string]*qemu.Socket{}, machine: req.Machine}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Stop(context.WithoutCancel(ctx)))
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
	if err := g.allocate(&cmd, &req.Machine); err != nil {
		return g, err
	}
	cmd.Args = req.Machine.Args()
	g.Args = cmd.Args
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
func (g *Guest) listen(cmd *qemu.Command, fds *machine.Sockets) (err error) {
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

// allocate makes the file that is the guest's RAM. It has no name anywhere, and
// goes when the last of the harness and QEMU does.
func (g *Guest) allocate(cmd *qemu.Command, m *machine.Spec) (err error) {
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

func (g *Guest) connect(ctx context.Context, req Options) error {
	transcript, err := g.create(req, rundir.QMP)
	if err != nil {
		return err
	}
	if g.agent, err = g.sockets[socketAgent].Dial(ctx); err != nil {
		return g.OrDead(err)
	}
	control, err := g.sockets[socketQMP].Dial(ctx)
	if err != nil {
		return g.OrDead(err)
	}
	if g.qmp, err = qmp.New(ctx, control, qmp.Options{Transcript: transcript, Timeout: req.QMPTimeout}); err != nil {
		return g.OrDead(err)
	}
	g.events = g.qmp.Subscribe(1024)
	return g.record(req)
}

// gather is how long the console's pipe fills before it is read: QEMU hands a UART's
// bytes over one at a time, and a reader that wakes for each takes half as much
// processor time as the guest. In that time the pipe fills at 100 MB/s.
const gather = 10 * time.Millisecond

// record begins to read the console. QEMU has answered, so it has opened the
// pipes; the guest is still paused, so it has printed nothing.
func (g *Guest) record(req Options) error {
	conn, err := g.uart.Open()
	if err != nil {
		return g.OrDead(err)
	}
	log, err := os.Create(filepath.Join(req.Dir, rundir.Console))
	if err != nil {
		conn.Close()
		return fmt.Errorf("make console log: %w", err)
	}
	if g.console, err = console.Record(conn, log, console.Options{MaxBytes: req.ConsoleCap, Gather: gather}); err != nil {
		conn.Close()
		log.Close()
		return err
	}
	return nil
}

func (g *Guest) create(req Options, name string) (*os.File, error) {
	f, err := os.Create(filepath.Join(req.Dir, name))
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	g.files = append(g.files, f)
	return f, nil
}

// dying is how long a QEMU that ends may take from closing its sockets to its exit.
const dying = 5 * time.Second

// OrDead prefers QEMU's last words to the error they caused.
func (g *Guest) OrDead(err error) error {
	select {
	case <-g.proc.Done():
		return g.Ended()
	case <-time.After(dying):
		return err
	}
}

// Ended says how QEMU ended; it waits for the end.
func (g *Guest) Ended() error {
	exit, err := g.proc.Wait(context.Background())
	if err == nil {
		err = exit.Err()
	}
	if err == nil {
		err = errors.New("QEMU exited with status 0")
	}
	return err
}

// Reports reads the agent's virtio-serial lines until the connection ends, and
// gives each to f.
func (g *Guest) Reports(f func(agentproto.Report, error)) {
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

// Stop ends QEMU and lets go of everything. It is bounded, and safe to call on
// a guest that was started only in part.
func (g *Guest) Stop(ctx context.Context) error {
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

func (g *Guest) quit(ctx context.Context) error {
	if g.qmp == nil || g.left {
		return errors.New("no QMP connection")
	}
	return g.qmp.Execute(ctx, "quit", nil, nil)
}

// disconnect lets go of the connections and files and leaves QEMU running.
func (g *Guest) disconnect(errs *[]error) {
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
		_ = g.console.Close() // its Err tells what is wrong with the log, also later
	}
	for _, f := range g.files {
		if err := f.Close(); err != nil {
			*errs = append(*errs, err)
		}
	}
}
