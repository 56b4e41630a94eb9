package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios/stage"
)

// report sends one report: over virtio-serial where the guest has the port, and
// over the kernel log otherwise. A virtio-serial that takes nothing within two
// seconds is given up for the kernel log, because some kernels lose its
// wake-ups.
func report(stage stage.Stage) error {
	return send(gather(stage))
}

func send(r agentproto.Report) error {
	if port := findPort("/sys/class/virtio-ports", "/dev"); port != "" {
		r.Via = "virtio-serial"
		line, err := r.Line()
		if err != nil {
			return err
		}
		if writeBounded(port, append(line, '\n')) == nil {
			return nil
		}
	}
	r.Via = "console"
	line, err := r.Line()
	if err != nil {
		return err
	}
	// Level 1 (alert) passes the console's level even with `quiet`. Without
	// the newline the kernel keeps the record open for a continuation, and
	// shows it only when something else is printed (kernel/printk/printk.c,
	// vprintk_store: LOG_NEWLINE).
	return writeLog(append([]byte("<1>"+agentproto.Prefix), append(line, '\n')...))
}

func writeLog(line []byte) error {
	f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		f, err = os.OpenFile("/dev/console", os.O_WRONLY, 0)
	}
	if err != nil {
		return fmt.Errorf("report to the kernel log: %w", err)
	}
	defer f.Close()
	if _, err := f.Write(line); err != nil {
		return fmt.Errorf("report to the kernel log: %w", err)
	}
	return nil
}

// findPort returns the device of the agent's virtio-serial port, "" if the
// guest has none (or not the driver).
func findPort(class, dev string) string {
	names, _ := filepath.Glob(filepath.Join(class, "*", "name")) // the pattern is valid
	for _, n := range names {
		if word(n) == agentproto.Port {
			return filepath.Join(dev, filepath.Base(filepath.Dir(n)))
		}
	}
	return ""
}

func writeBounded(path string, line []byte) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	for len(line) > 0 {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		n, err := unix.Poll(fds, 2000)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for %s: %w", path, err)
		}
		if n == 0 || fds[0].Revents&unix.POLLOUT == 0 {
			return fmt.Errorf("wait for %s: takes no data", path)
		}
		wrote, err := unix.Write(fd, line)
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("write %s: %w", path, err)
		}
		line = line[max(wrote, 0):]
	}
	return nil
}
