// Package qemu runs QEMU as a child process that never outlives its purpose: one
// goroutine waits for it, Stop escalates within bounds, and it dies with the
// harness even when that is killed.
//
// Linux only: the guarantee rests on PR_SET_PDEATHSIG (prctl(2)).
package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness/internal/console"
)

const (
	// firstFD is the number that the first of ExtraFiles has in the child.
	firstFD = 3
	// stderrLines is how many lines of stderr an Exit carries.
	stderrLines = 40
	// drainWait bounds the wait for the end of stderr after the process has
	// ended; only a grandchild that left the process group can hold it open.
	drainWait = time.Second
)

// ErrEnded is returned when a process that has ended is to be signalled.
var ErrEnded = errors.New("process has ended")

// Clock makes the waits of Stop testable.
type Clock interface {
	// After is time.After.
	After(d time.Duration) <-chan time.Time
}

type realClock struct{}

func (realClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Command says what to run. Path alone is enough.
type Command struct {
	// Path of the program; looked up in PATH when it has no slash.
	Path string
	// Args are its arguments, without the program's name.
	Args []string
	// Dir is the working directory; "" is the harness's own.
	Dir string
	// Env is the environment; nil is the harness's own.
	Env []string
	// ExtraFiles are the child's file descriptors from 3 on; see Pass. Start
	// closes the harness's copies, whether it succeeds or not, so that a
	// socket ends when the child does.
	ExtraFiles []*os.File
	// Stdout is the child's standard output; nil discards it. It stays the
	// caller's. Standard input is always empty.
	Stdout *os.File
	// StderrPath is the file that gets the child's stderr; "" means none.
	// Of more than StderrBytes (zero: 1 MiB, at least 4096) the beginning and
	// the end are kept.
	StderrPath  string
	StderrBytes int64
	// Detach is for a guest that is to outlive the harness: a session of its
	// own and no death signal. Its stderr is lost once the harness has left,
	// which QEMU survives: it ignores SIGPIPE (os-posix.c,
	// os_setup_early_signal_handling). Without Detach the child gets SIGKILL
	// when the harness ends, however that ends.
	Detach bool
	// Grace is how long Stop waits at each step.
	Grace Grace
	// Clock is for tests; nil is the real one.
	Clock Clock
}

// Pass appends a file to ExtraFiles and returns the number it will have in
// the child.
func (c *Command) Pass(f *os.File) int {
	c.ExtraFiles = append(c.ExtraFiles, f)
	return firstFD + len(c.ExtraFiles) - 1
}

// Process is a started child. All methods may be called from any goroutine.
type Process struct {
	cmd    *exec.Cmd
	name   string
	grace  Grace
	clock  Clock
	stderr *console.Recorder
	done   chan struct{} // closed once exit is set

	mu    sync.Mutex
	pid   int  // 0 until it has started
	dead  bool // ended, so its number must not be signalled any more
	doom  bool // Start gave up: kill it as soon as it has started
	exit  Exit
	waitE error
}

// Start starts the child. ctx bounds the start only: a process that has
// started lives until it ends or is stopped.
func Start(ctx context.Context, c Command) (*Process, error) {
	p, pipe, err := prepare(ctx, c)
	if err != nil {
		closeAll(c.ExtraFiles)
		return nil, err
	}
	started := make(chan error, 1)
	go p.run(started, append([]*os.File{pipe}, c.ExtraFiles...))
	select {
	case err = <-started:
	case <-ctx.Done():
		// The host may be hanging in exec. Whatever comes of it is killed.
		p.mu.Lock()
		p.doom = true
		p.mu.Unlock()
		_ = p.Kill() // ErrEnded, or it has not started yet: see run
		return nil, fmt.Errorf("start %s: %w", c.Path, context.Cause(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Path, err)
	}
	return p, nil
}

// prepare builds the process up to the point of starting it, and returns the
// child's end of the stderr pipe.
func prepare(ctx context.Context, c Command) (*Process, *os.File, error) {
	if ctx.Err() != nil {
		return nil, nil, fmt.Errorf("start %s: %w", c.Path, context.Cause(ctx))
	}
	grace, err := c.Grace.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	p := &Process{
		cmd:  exec.Command(c.Path, c.Args...), //nolint:noctx // Stop is the way to end it
		name: filepath.Base(c.Path), grace: grace, clock: c.Clock, done: make(chan struct{}),
	}
	if p.clock == nil {
		p.clock = realClock{}
	}
	if strings.Contains(c.Path, "/") {
		// A relative path is meant from here, not from Dir.
		if p.cmd.Path, err = filepath.Abs(c.Path); err != nil {
			return nil, nil, fmt.Errorf("start %s: %w", c.Path, err)
		}
	}
	p.cmd.Dir, p.cmd.Env, p.cmd.ExtraFiles = c.Dir, c.Env, c.ExtraFiles
	if c.Stdout != nil {
		p.cmd.Stdout = c.Stdout
	}
	// A process group of its own keeps the terminal's Ctrl-C away from the
	// child and lets Stop reach its children too; a new session is one as well.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !c.Detach, Setsid: c.Detach}
	if !c.Detach {
		p.cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	pipe, err := p.openStderr(c)
	if err != nil {
		return nil, nil, err
	}
	p.cmd.Stderr = pipe
	return p, pipe, nil
}

// openStderr begins to record the child's stderr, and returns its end of it.
func (p *Process) openStderr(c Command) (*os.File, error) {
	opts := console.Options{MaxBytes: c.StderrBytes, MemoryBytes: 4 * console.MaxLine}
	if opts.MaxBytes == 0 {
		opts.MaxBytes = 1 << 20
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make stderr pipe: %w", err)
	}
	var log console.File
	if c.StderrPath != "" {
		f, err := os.OpenFile(c.StderrPath, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			closeAll([]*os.File{r, w})
			return nil, fmt.Errorf("open stderr file: %w", err)
		}
		log = f
	}
	p.stderr, err = console.Record(r, log, opts)
	if err != nil {
		closeAll([]*os.File{r, w})
		if log != nil {
			err = errors.Join(err, log.Close())
		}
		return nil, fmt.Errorf("record stderr: %w", err)
	}
	return w, nil
}

// run starts the child and is the one goroutine that waits for it.
//
// It keeps its operating-system thread for as long as the child lives:
// PR_SET_PDEATHSIG fires when the *thread* that forked the child ends
// (prctl(2)), and the Go runtime ends threads at will. Were the child started
// from an ordinary goroutine it could be killed in the middle of a run.
func (p *Process) run(started chan<- error, handedOver []*os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	closeAll(handedOver)
	if err != nil {
		_ = p.stderr.Close() // empty
		close(p.done)
		started <- err
		return
	}
	pid := p.cmd.Process.Pid
	p.mu.Lock()
	p.pid = pid
	if p.doom {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
	p.mu.Unlock()
	started <- nil

	awaitEnd(pid)
	p.mu.Lock()
	// The child is a zombie, so its number and group cannot be anyone
	// else's yet: the last chance to kill what it left behind.
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	p.dead = true
	p.mu.Unlock()

	err = p.cmd.Wait()
	select {
	case <-p.stderr.Done():
	case <-time.After(drainWait):
	}
	_ = p.stderr.Close() // its error is in StderrErr
	p.finish(err)
}

// awaitEnd waits until the child has ended and leaves it a zombie.
func awaitEnd(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return // any other error shows again in cmd.Wait
		}
	}
}

func (p *Process) finish(err error) {
	var status *exec.ExitError
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && !errors.As(err, &status) {
		p.waitE = fmt.Errorf("wait for %s: %w", p.name, err)
	}
	p.exit = newExit(p.name, p.cmd.ProcessState, p.Stderr())
	close(p.done)
}

// Pid is the child's process number, and that of its group.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

// Done is closed when the child has ended and its stderr is complete.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the child's end; any number of callers may. The error is the
// context's, or the host's when it could not tell how the child ended; a
// child that failed is no error of Wait's: see Exit.Err.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-p.done:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.exit, p.waitE
	case <-ctx.Done():
		return Exit{}, fmt.Errorf("wait for %s: %w", p.name, context.Cause(ctx))
	}
}

// Stderr returns the newest lines of the child's stderr, raw: QEMU quotes the
// guest in places, so sanitise them before they are shown.
func (p *Process) Stderr() []string {
	lines := p.stderr.Tail(stderrLines)
	if l, ok := p.stderr.Partial(); ok {
		lines = append(lines, l)
	}
	out := make([]string, len(lines))
	for i, l := range lines {
		out[i] = string(l.Text)
	}
	return out
}

// StderrErr is what went wrong with the file at StderrPath, so far.
func (p *Process) StderrErr() error { return p.stderr.Err() }

// Signal sends sig to the child's process group; ErrEnded when it has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead || p.pid == 0 {
		return ErrEnded
	}
	if err := syscall.Kill(-p.pid, sig); err != nil {
		return fmt.Errorf("send %v to %s: %w", sig, p.name, err)
	}
	return nil
}

// Kill sends SIGKILL to the child's process group and does not wait.
func (p *Process) Kill() error { return p.Signal(syscall.SIGKILL) }

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // handed over or unused: nothing to lose
	}
}
