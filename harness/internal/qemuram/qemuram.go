// Package qemuram finds the memory of a guest that was left paused: the file that
// its QEMU has it in, by the process's own list of files. Nothing is changed.
package qemuram

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// ErrGone says that the QEMU of a kept guest is no more.
var ErrGone = errors.New("its QEMU has ended")

// memfd is how /proc shows the file that the harness makes for a guest's memory.
const memfd = "/memfd:unwedge-ram"

// maxFiles and maxArgs bound what is read of a process.
const (
	maxFiles = 1 << 16
	maxArgs  = 1 << 20 // bytes
)

// Open opens the memory of the guest whose QEMU has the process number pid and was
// started with args, the program's name left out, read-only. size is the memory's,
// in bytes. An error that is ErrGone says that there is no such QEMU: none has
// the number, or another program has it by now.
func Open(pid int, args []string, size int64) (*os.File, error) {
	// An open /proc/PID stays the same process's, and is empty when that is gone.
	dir, err := os.Open(fmt.Sprintf("/proc/%d", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("look at QEMU (pid %d): %w", pid, err)
	}
	defer dir.Close()
	proc := fmt.Sprintf("/proc/self/fd/%d", dir.Fd())
	if err := check(proc, pid, args); err != nil {
		return nil, err
	}
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return nil, gone(pid, err)
	}
	for _, e := range fds[:min(len(fds), maxFiles)] {
		path := filepath.Join(proc, "fd", e.Name())
		if name, err := os.Readlink(path); err != nil || !strings.HasPrefix(name, memfd) {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, gone(pid, err)
		}
		if st, err := f.Stat(); err == nil && st.Size() == size {
			return f, nil
		}
		f.Close()
	}
	return nil, fmt.Errorf("find the guest's memory: QEMU (pid %d) has no file %s of %d MiB: was it started by this version of unwedge?", pid, memfd, size>>20)
}

// check makes sure that the process is the QEMU that was started: its arguments
// name the run's own sockets and files.
func check(proc string, pid int, args []string) error {
	f, err := os.Open(filepath.Join(proc, "cmdline"))
	if err != nil {
		return gone(pid, err)
	}
	defer f.Close()
	b := make([]byte, maxArgs)
	n := 0
	for n < len(b) {
		k, err := f.Read(b[n:])
		if n += k; err != nil || k == 0 {
			break
		}
	}
	got := strings.Split(string(bytes.TrimSuffix(b[:n], []byte{0})), "\x00")
	if len(args) == 0 || len(got) != len(args)+1 || !slices.Equal(got[1:], args) {
		return fmt.Errorf("%w: the process with its number, %d, is another one", ErrGone, pid)
	}
	return nil
}

// gone tells a process that ended while it was looked at from other errors.
func gone(pid int, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return ErrGone
	}
	return fmt.Errorf("look at QEMU (pid %d): %w", pid, err)
}
