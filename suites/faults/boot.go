package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// marker names the trial in the environment of all that it starts.
const marker = "UNWEDGE_FAULTS_TRIAL="

// boot is one unwedge that boots a guest.
type boot struct {
	t        *trial
	cmd      *exec.Cmd
	terminal *os.File // the other end of its standard input and output
	stdout   bytes.Buffer
	stderr   bytes.Buffer
	come     chan struct{} // closed when the phase has come
	reads    sync.WaitGroup
}

// start boots the trial's guest with a cache, in a directory for the run; seen is the phase
// that is waited for.
func (t *trial) start(ctx context.Context, cache, run string, seen phase, flags ...string) (*boot, error) {
	args := []string{"boot", "--arch", string(t.arch), "--entropy", "none", "--once", "--no-history", "--out", t.path(run)}
	args = append(args, flags...)
	b := &boot{t: t, come: make(chan struct{})}
	b.cmd = exec.CommandContext(ctx, t.unwedge, append(args, t.kernels[t.arch])...)
	b.cmd.Env = append(os.Environ(), marker+t.dir, "UNWEDGE_CACHE="+cache, "UNWEDGE_STATE="+t.path("state"), "TMPDIR="+t.path("tmp"))
	terminal, err := openTerminal()
	if err != nil {
		return nil, err
	}
	b.terminal = terminal.master
	b.cmd.Stdin, b.cmd.Stdout = terminal.slave, terminal.slave
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	progress, err := b.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	err = b.cmd.Start()
	terminal.slave.Close()
	if err != nil {
		b.terminal.Close()
		return nil, err
	}
	b.reads.Go(func() { _, _ = io.Copy(&b.stdout, b.terminal) }) // it ends with an error when the program does
	b.reads.Go(func() { b.watch(progress, seen) })
	return b, nil
}

// watch waits for the phase in what the program says of its progress.
func (b *boot) watch(progress io.Reader, seen phase) {
	if seen == atStart {
		close(b.come)
	}
	lines := bufio.NewScanner(io.TeeReader(progress, &b.stderr))
	for come := seen == atStart; lines.Scan(); {
		if !come && strings.Contains(lines.Text(), string(seen)) {
			come = true
			close(b.come)
		}
	}
}

// end waits for the end of the program and returns its exit code, -1 for a signal.
func (b *boot) end() int {
	b.reads.Wait()
	err := b.cmd.Wait()
	b.terminal.Close()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return fine
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return broken
}

func (b *boot) signal(s syscall.Signal) error {
	if err := b.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// hangUp takes the program's terminal away.
func (b *boot) hangUp() error { return b.terminal.Close() }

// signalQEMU sends a signal to the trial's QEMU. One that has just ended needs none.
func (b *boot) signalQEMU(s syscall.Signal) error {
	for _, p := range alive(b.t.dir) {
		if strings.HasPrefix(filepath.Base(p.name), "qemu-system-") {
			_ = syscall.Kill(p.pid, s)
		}
	}
	return nil
}

// process is one of the host's.
type process struct {
	pid  int
	name string
}

// alive lists the processes of a trial.
func alive(trial string) []process {
	var out []process
	all, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is valid
	for _, path := range all {
		env, err := os.ReadFile(path)
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), marker+trial) {
			continue
		}
		var p process
		if _, err := fmt.Sscanf(path, "/proc/%d/environ", &p.pid); err != nil {
			continue
		}
		p.name, _ = os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid)) // "" for one that has ended
		out = append(out, p)
	}
	return out
}

// terminal is a pseudo-terminal.
type terminal struct{ master, slave *os.File }

func openTerminal() (t terminal, err error) {
	if t.master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return t, err
	}
	fd := int(t.master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		t.slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.master.Close()
		return t, fmt.Errorf("open a terminal: %w", err)
	}
	return t, nil
}

// trialTime bounds one boot of a trial.
const trialTime = 8 * time.Minute
