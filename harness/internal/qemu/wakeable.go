package qemu

import (
	"errors"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// wakeable reads a named pipe and sleeps while it is empty. An *os.File would be
// woken for every byte that is written, read or not, for Go's poller asks epoll for
// edges (runtime/netpoll_epoll.go): of a guest that floods its console that is
// half as much processor time as QEMU takes.
type wakeable struct {
	fd, bell int // the pipe, and an eventfd that wakes who waits for it

	reading sync.Mutex // held by Read

	mu       sync.Mutex
	deadline time.Time
	closed   bool
	got      int64 // bytes that Read gave
}

func openWakeable(path string) (*wakeable, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &wakeable{fd: fd, bell: bell}, nil
}

// Read implements io.Reader.
func (w *wakeable) Read(p []byte) (int, error) {
	w.reading.Lock()
	defer w.reading.Unlock()
	for {
		left, err := w.left()
		if err != nil {
			return 0, err
		}
		n, err := w.take(p)
		switch {
		case err == nil && n == 0 && len(p) > 0:
			return 0, io.EOF
		case err == nil:
			return n, nil
		case errors.Is(err, unix.EAGAIN):
			if err := w.wait(left); err != nil {
				return 0, err
			}
		case !errors.Is(err, unix.EINTR):
			return 0, os.NewSyscallError("read", err)
		}
	}
}

// take reads what there is.
func (w *wakeable) take(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := unix.Read(w.fd, p)
	w.got += int64(max(n, 0))
	return n, err
}

// Came counts the bytes that have come: those that Read gave, and those that wait.
func (w *wakeable) Came() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return w.got
	}
	waiting, err := unix.IoctlGetInt(w.fd, unix.TIOCINQ)
	if err != nil {
		return w.got
	}
	return w.got + int64(waiting)
}

// left is how long Read may wait, in milliseconds; -1 is without end.
func (w *wakeable) left() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, os.ErrClosed
	}
	if w.deadline.IsZero() {
		return -1, nil
	}
	left := time.Until(w.deadline)
	if left <= 0 {
		return 0, os.ErrDeadlineExceeded
	}
	return int(min(left.Milliseconds()+1, math.MaxInt32)), nil
}

// wait sleeps until there is something to read, the bell rings or the time is over.
func (w *wakeable) wait(milliseconds int) error {
	fds := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}, {Fd: int32(w.bell), Events: unix.POLLIN}}
	if _, err := unix.Poll(fds, milliseconds); err != nil && !errors.Is(err, unix.EINTR) {
		return os.NewSyscallError("poll", err)
	}
	if fds[1].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(w.bell, count[:]) // silences it
	}
	return nil
}

// ring wakes a Read that waits; it then looks at deadline and closed.
func (w *wakeable) ring() {
	one := [8]byte{1}
	_, _ = unix.Write(w.bell, one[:]) // it can only be full, and then it rings
}

// SetReadDeadline bounds Read; the zero time is no bound.
func (w *wakeable) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return os.ErrClosed
	}
	w.deadline = t
	w.ring()
	return nil
}

// Close ends a Read that waits. Closing twice is harmless.
func (w *wakeable) Close() error {
	w.mu.Lock()
	again := w.closed
	w.closed = true
	if !again {
		w.ring()
	}
	w.mu.Unlock()
	if again {
		return nil
	}
	w.reading.Lock()
	defer w.reading.Unlock()
	return errors.Join(unix.Close(w.fd), unix.Close(w.bell))
}
