package run

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"syscall"
)

// guard ends a QEMU that is to outlive the harness (Options.Keep) when the
// harness dies before it has decided to keep it. Such a QEMU cannot carry the
// death signal that others do, because the signal could not be taken off again.
// The guard is a shell that waits on a pipe: a line lets QEMU live, the pipe's
// end without one kills it.
type guard struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

func startGuard(pid int) (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", `read -r _ || kill -KILL "$1"`, "unwedge-guard", strconv.Itoa(pid)) //nolint:noctx // release ends it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("guard QEMU: %w", err)
	}
	return &guard{cmd, pipe}, nil
}

// release lets QEMU be: it has ended, or is to be kept.
func (g *guard) release() error {
	if g == nil {
		return nil
	}
	_, werr := io.WriteString(g.pipe, "keep\n")
	err := errors.Join(werr, g.pipe.Close(), g.cmd.Wait())
	if err != nil {
		return fmt.Errorf("release QEMU's guard: %w", err)
	}
	return nil
}
