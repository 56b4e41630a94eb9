package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// burn computes until the process is killed.
func burn() {
	for n := uint64(1); ; n = n*6364136223846793005 + 1 {
		if n == 0 {
			fmt.Fprintln(os.Stderr, "seeded: burn: unreachable, the generator has no zero from 1")
		}
	}
}

// loaded keeps n of the host's CPUs busy, with processes of their own at the
// usual priority, until the returned function is called.
func loaded(ctx context.Context, n int) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var running []*exec.Cmd
	stop = func() {
		cancel()
		for _, c := range running {
			_ = c.Wait() // killed, as it must be
		}
	}
	self, err := os.Executable()
	if err != nil {
		cancel()
		return nil, fmt.Errorf("load the host: %w", err)
	}
	for range n {
		c := exec.CommandContext(ctx, self, "--burn")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			stop()
			return nil, fmt.Errorf("load the host: %w", err)
		}
		running = append(running, c)
	}
	return stop, nil
}
