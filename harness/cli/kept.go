package cli

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

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/unwedge/unwedge/harness/internal/qemu"
	"github.com/unwedge/unwedge/harness/internal/qmp"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
)

// detachKey is Ctrl-], as in telnet.
const detachKey = 0x1d

func (a *app) attachCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "attach RUN",
		Short: "Connect to the console of a guest that --keep left",
		Long: `Let a kept guest go on and connect the terminal to its console. Ctrl-] leaves,
and pauses it again. RUN is the directory of the run's artifacts.`,
		Example: `  unwedge attach ~/.local/state/unwedge/runs/20261123-120000-random`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.attach(c.Context(), args[0]) },
	}
}

func (a *app) stopCmd() *cobra.Command {
	return &cobra.Command{
		Use: "stop RUN", Short: "End a guest that --keep left", Args: cobra.ExactArgs(1),
		Example: `  unwedge stop ~/.local/state/unwedge/runs/20261123-120000-random`,
		RunE: func(c *cobra.Command, args []string) error {
			res, conn, err := openKept(c.Context(), args[0])
			said := "ended"
			switch {
			case errors.Is(err, errGone):
				said = "it had ended before"
			case err != nil:
				return err
			default:
				defer conn.Close()
				if err := conn.Execute(c.Context(), "quit", nil, nil); err != nil && !errors.Is(err, qmp.ErrClosed) {
					return err
				}
			}
			return a.forget(res, args[0], said)
		},
	}
}

// forget takes what a kept guest left out of its run.
func (a *app) forget(res *result.Result, dir, said string) error {
	res.Kept = nil
	if err := res.Write(rundir.Result); err != nil {
		return err
	}
	if err := removeSockets(filepath.Join(dir, rundir.Sockets)); err != nil {
		return fmt.Errorf("remove the sockets: %w", err)
	}
	_, err := fmt.Fprintln(a.stdout, said)
	return err
}

// errGone says that nobody listens where a kept guest's QEMU did.
var errGone = errors.New("its QEMU has ended")

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

// openKept connects to the monitor of a kept guest.
func openKept(ctx context.Context, dir string) (*result.Result, *qmp.Conn, error) {
	res, err := result.Read(filepath.Join(dir, rundir.Result))
	if err != nil {
		return nil, nil, usage.Wrap(err)
	}
	if res.Kept == nil {
		return nil, nil, usage.Errorf("%s: no guest was kept: boot with --keep", dir)
	}
	conn, err := qmp.Dial(ctx, res.Kept.QMP, qmp.Options{})
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return res, nil, fmt.Errorf("%s: no guest is kept any more: %w", dir, errGone)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the kept guest does not answer, its QEMU (pid %d) may have ended: %w", res.Kept.PID, err)
	}
	return res, conn, nil
}

func (a *app) attach(ctx context.Context, dir string) (err error) {
	res, monitor, err := openKept(ctx, dir)
	if err != nil {
		return err
	}
	defer monitor.Close()
	console, err := qemu.OpenPipe(res.Kept.Console)
	if err != nil {
		return err
	}
	defer console.Close()
	stdin := int(os.Stdin.Fd())
	if term.IsTerminal(stdin) {
		old, err := term.MakeRaw(stdin)
		if err != nil {
			return fmt.Errorf("set the terminal: %w", err)
		}
		defer func() { err = errors.Join(err, term.Restore(stdin, old)) }()
	}
	fmt.Fprint(a.stderr, "attached; Ctrl-] leaves\r\n")
	if err := monitor.Execute(ctx, "cont", nil, nil); err != nil {
		return err
	}
	pipe(ctx, console, os.Stdin, a.stdout)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := monitor.Execute(ctx, "stop", nil, nil); err != nil && !errors.Is(err, qmp.ErrClosed) {
		return err
	}
	fmt.Fprint(a.stderr, "\r\nleft; the guest is paused\r\n")
	return nil
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
				if c == detachKey {
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
