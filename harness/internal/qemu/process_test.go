package qemu

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func fake(mode string) Command {
	return Command{Path: os.Args[0], Env: append(os.Environ(), fakeEnv+"="+mode)}
}

// watched adds the pipe whose end of file says that all fakes are gone.
func watched(t *testing.T, c *Command) *bufio.Reader {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if fd := c.Pass(w); fd != 3 {
		t.Fatalf("the pipe is descriptor %d", fd)
	}
	return bufio.NewReader(r)
}

func start(t *testing.T, c Command) *Process {
	t.Helper()
	p, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Kill(); <-p.Done() })
	return p
}

func mustRead(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	if got, err := r.ReadString('\n'); got != want+"\n" {
		t.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

func mustEnd(t *testing.T, r io.Reader) {
	t.Helper()
	if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

func TestExit(t *testing.T) {
	for _, tt := range []struct {
		mode   string
		exit   string
		err    string
		stderr []string
	}{
		{"succeeds", "exit status 0", "", []string{}},
		{"fails", "exit status 1", `: exit status 1: qemu: ␛[31mCould not access KVM kernel module (1 more line)`,
			[]string{"qemu: first", "qemu: \x1b[31mCould not access KVM kernel module"}},
		{"aborts", "signal SIGKILL", ": signal SIGKILL: Assertion failed", []string{"Assertion failed"}},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			c := fake(tt.mode)
			c.StderrPath = filepath.Join(t.TempDir(), "stderr")
			p := start(t, c)
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					exit, err := p.Wait(t.Context())
					if err != nil || exit.String() != tt.exit || fmt.Sprintf("%q", exit.Stderr) != fmt.Sprintf("%q", tt.stderr) {
						t.Errorf("exit = %v %q, %v", exit, exit.Stderr, err)
					}
					if err := exit.Err(); (err == nil) != (tt.err == "") || err != nil && !strings.HasSuffix(err.Error(), tt.err) {
						t.Errorf("err = %v, want …%s", err, tt.err)
					}
				})
			}
			wg.Wait()
			if err := p.Signal(syscall.SIGTERM); !errors.Is(err, ErrEnded) {
				t.Errorf("signal after the end: %v", err)
			}
			file, err := os.ReadFile(c.StderrPath)
			if err != nil || strings.Join(strings.Split(strings.TrimSuffix(string(file), "\n"), "\r\n"), "|") != strings.Join(tt.stderr, "|") {
				t.Errorf("file = %q, %v", file, err)
			}
		})
	}
}

func TestExitErrorInFull(t *testing.T) {
	err := error(&ExitError{Exit{Program: "qemu", Code: 1, Stderr: []string{"one", "two\x1b"}}})
	if got := fmt.Sprintf("%+v", err); got != "qemu: exit status 1\n\tone\n\ttwo␛" {
		t.Errorf("%%+v = %q", got)
	}
	if got := fmt.Sprintf("%v", err); got != err.Error() || strings.Contains(got, "\n") {
		t.Errorf("%%v = %q", got)
	}
}

func TestStderrFloodIsCapped(t *testing.T) {
	c := fake("floods")
	c.StderrPath, c.StderrBytes = filepath.Join(t.TempDir(), "stderr"), 100_000
	exit, err := start(t, c).Wait(t.Context())
	if err != nil || exit.Code != 3 || len(exit.Stderr) != stderrLines || exit.Stderr[stderrLines-1] != "the end" {
		t.Errorf("exit = %v, %d lines, %v", exit, len(exit.Stderr), err)
	}
	file, err := os.ReadFile(c.StderrPath)
	if err != nil || len(file) > 100_100 || !strings.HasSuffix(string(file), "the end\n") || !strings.Contains(string(file), "left out") {
		t.Errorf("%d bytes, %v", len(file), err)
	}
}

func TestStartErrors(t *testing.T) {
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name string
		ctx  context.Context
		c    Command
		want error
	}{
		{"no such file", t.Context(), Command{Path: "/no/such/qemu"}, fs.ErrNotExist},
		{"not in PATH", t.Context(), Command{Path: "qemu-system-nothing"}, exec.ErrNotFound},
		{"not a program", t.Context(), Command{Path: "/dev/null"}, fs.ErrPermission},
		{"dead context", dead, fake("succeeds"), context.Canceled},
		{"stderr cannot be written", t.Context(), Command{Path: os.Args[0], StderrPath: "/no/dir/file"}, fs.ErrNotExist},
		{"stderr limit", t.Context(), Command{Path: os.Args[0], StderrBytes: 1}, nil},
		{"grace", t.Context(), Command{Path: os.Args[0], Grace: Grace{Kill: -1}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pipe := watched(t, &tt.c)
			p, err := Start(tt.ctx, tt.c)
			if p != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("Start = %v, %v", p, err)
			}
			mustEnd(t, pipe) // ExtraFiles are closed
		})
	}
}

// handClock lets a wait end when the test says so, and tells of each.
type handClock struct {
	asked chan time.Duration
	fire  chan time.Time
}

func newHandClock() *handClock {
	return &handClock{make(chan time.Duration, 10), make(chan time.Time)}
}

func (c *handClock) After(d time.Duration) <-chan time.Time {
	c.asked <- d
	return c.fire
}

// pass lets the wait for d end.
func (c *handClock) pass(t *testing.T, d time.Duration) {
	t.Helper()
	if got := <-c.asked; got != d {
		t.Errorf("waited for %v, want %v", got, d)
	}
	c.fire <- time.Time{}
}

type stopped struct {
	exit Exit
	by   Rung
	err  error
}

func stop(ctx context.Context, p *Process, quit func(context.Context) error) <-chan stopped {
	out := make(chan stopped, 1)
	go func() {
		exit, by, err := p.Stop(ctx, quit)
		out <- stopped{exit, by, err}
	}()
	return out
}

func TestStopLadder(t *testing.T) {
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	accept := func(context.Context) error { return nil }
	refuse := func(context.Context) error { return errors.New("QMP is gone") }
	const s = time.Second
	for _, tt := range []struct {
		name, mode string
		quit       func(context.Context) error
		passes     []time.Duration
		by         Rung
		signal     syscall.Signal
	}{
		{"TERM is enough", "waits", nil, nil, Term, syscall.SIGTERM},
		{"quit refused", "waits", refuse, nil, Term, syscall.SIGTERM},
		{"quit hangs", "waits", hang, []time.Duration{2 * s}, Term, syscall.SIGTERM},
		{"quit accepted, no effect", "waits", accept, []time.Duration{2 * s}, Term, syscall.SIGTERM},
		{"quit hangs, TERM ignored", "ignores TERM", hang, []time.Duration{2 * s, 2 * s}, Kill, syscall.SIGKILL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clock := newHandClock()
			c := fake(tt.mode)
			c.Clock = clock
			pipe := watched(t, &c)
			p := start(t, c)
			mustRead(t, pipe, "ready")
			out := stop(t.Context(), p, tt.quit)
			for _, d := range tt.passes {
				clock.pass(t, d)
			}
			got := <-out
			if got.err != nil || got.by != tt.by || got.exit.Signal != tt.signal {
				t.Errorf("stop = %+v", got)
			}
			mustEnd(t, pipe)
			if _, by, err := p.Stop(t.Context(), tt.quit); by != Already || err != nil {
				t.Errorf("second stop = %s, %v", by, err)
			}
		})
	}
}

func TestStopByQuit(t *testing.T) {
	c := fake("waits")
	c.Clock = newHandClock()
	c.Env = append(c.Env, "UNWEDGE_FAKE_CONTROL=1")
	pipe := watched(t, &c)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Pass(r)
	p := start(t, c)
	mustRead(t, pipe, "ready")
	exit, by, err := p.Stop(t.Context(), func(context.Context) error { return w.Close() })
	if err != nil || by != Quit || exit.Err() != nil {
		t.Errorf("stop = %v, %s, %v", exit, by, err)
	}
	mustEnd(t, pipe)
}

func TestStopWithADeadContextKillsAtOnce(t *testing.T) {
	c := fake("ignores TERM")
	c.Clock = newHandClock()
	pipe := watched(t, &c)
	p := start(t, c)
	mustRead(t, pipe, "ready")
	ctx, cancel := context.WithCancel(t.Context())
	out := stop(ctx, p, func(ctx context.Context) error { cancel(); <-ctx.Done(); return nil })
	if got := <-out; got.err != nil || got.by != Kill {
		t.Errorf("stop = %+v", got)
	}
	mustEnd(t, pipe)
}

// A process that even SIGKILL does not end cannot be made here; one whose end
// Stop is not told of in time can.
func TestStopGivesUpOnTheUnkillable(t *testing.T) {
	clock := newHandClock()
	p := &Process{name: "qemu", clock: clock, grace: Grace{1, 2, 3}, done: make(chan struct{})}
	out := stop(t.Context(), p, nil)
	clock.pass(t, 3)
	if got := <-out; !errors.Is(got.err, ErrUnkillable) || got.by != Kill {
		t.Errorf("stop = %+v", got)
	}
}

func TestGrandchildDiesWithTheChild(t *testing.T) {
	c := fake("forks")
	pipe := watched(t, &c)
	p := start(t, c)
	exit, err := p.Wait(t.Context())
	if err != nil || exit.Code != 4 {
		t.Errorf("exit = %v, %v", exit, err)
	}
	io.Copy(io.Discard, pipe) // ends only when the grandchild has
}

func TestWaitEndsWithItsContext(t *testing.T) {
	c := fake("waits")
	pipe := watched(t, &c)
	p := start(t, c)
	mustRead(t, pipe, "ready")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

// harness runs this binary as a harness with one child, and returns the two
// pipes that reach the child and the harness's own output.
func harness(t *testing.T, mode string) (cmd *exec.Cmd, pipe *bufio.Reader, control *os.File) {
	t.Helper()
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cr, cw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fakeEnv+"="+mode)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{pw, cr}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pw.Close()
	cr.Close()
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait(); in.Close(); cw.Close(); pr.Close() })
	pipe = bufio.NewReader(pr)
	mustRead(t, pipe, "ready")
	mustRead(t, bufio.NewReader(out), "thread gone")
	return cmd, pipe, cw
}

func ping(t *testing.T, control io.Writer, pipe *bufio.Reader) {
	t.Helper()
	if _, err := fmt.Fprintln(control, "ping"); err != nil {
		t.Fatal(err)
	}
	mustRead(t, pipe, "pong")
}

// The harness is killed with SIGKILL: its child must be gone. The pipe's end
// of file proves it, for the child alone holds the other end. Before that the
// thread that called Start has ended, which must not harm the child.
func TestChildDiesWithAKilledHarness(t *testing.T) {
	cmd, pipe, control := harness(t, "parent")
	ping(t, control, pipe)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	mustEnd(t, pipe)
}

func TestDetachedChildOutlivesAKilledHarness(t *testing.T) {
	cmd, pipe, control := harness(t, "detacher")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the harness was not killed")
	}
	ping(t, control, pipe)
	control.Close() // lets it end
	mustEnd(t, pipe)
}

func TestVersion(t *testing.T) {
	t.Setenv(fakeEnv, "version")
	v, err := Version(t.Context(), os.Args[0])
	if err != nil || v.String() != "9.1.50" || v.Text != "QEMU emulator version 9.1.50 (v9.1.0-1234-gdeadbeef)" {
		t.Errorf("version = %+v, %v", v, err)
	}
	if !v.AtLeast(9, 1) || !v.AtLeast(7, 2) || v.AtLeast(9, 2) || v.AtLeast(10, 0) {
		t.Error("AtLeast")
	}
	t.Setenv(fakeEnv, "fails")
	var failed *ExitError
	if _, err := Version(t.Context(), os.Args[0]); !errors.As(err, &failed) {
		t.Errorf("err = %v", err)
	}
	t.Setenv(fakeEnv, "waits")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Version(ctx, os.Args[0]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
	for _, bad := range []string{"", "QEMU", "GNU bash, version 5.2", "QEMU emulator version 7", "QEMU emulator version 99999.1.1"} {
		if v, err := parseVersion(bad); err == nil || v != (VersionInfo{}) {
			t.Errorf("parseVersion(%q) = %v", bad, v)
		}
	}
}
