package qemu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pipeSize is how much a Pipe holds, in bytes: what any user may ask for
// (fs.pipe-max-size, pipe(7)).
const pipeSize = 1 << 20

// Pipe is a pair of named pipes for a UART. QEMU hands a UART's bytes over one
// at a time; on a Unix socket each costs a whole buffer, so that some 300 bytes
// fill it, and a reader that the host keeps waiting for a millisecond makes the
// UART drop bytes. A pipe packs them, and holds a second or two of output.
type Pipe struct{ path string }

// Pipe makes the pipes called name: PATH.in and PATH.out, as QEMU's pipe
// chardev wants them (docs of -chardev pipe).
func (d *SocketDir) Pipe(name string) (*Pipe, error) {
	if !socketName.MatchString(name) {
		return nil, fmt.Errorf("pipe name %q is not 1 to %d of a-z, 0-9, dot and dash", name, maxName)
	}
	p := &Pipe{filepath.Join(d.path, name)}
	for _, end := range []string{".in", ".out"} {
		if err := unix.Mkfifo(p.path+end, 0o600); err != nil {
			return nil, fmt.Errorf("make pipe %s: %w", p.path+end, err)
		}
	}
	return p, nil
}

// Path is the value of the chardev's path option.
func (p *Pipe) Path() string { return p.path }

// Open is OpenPipe of the pipe's path.
func (p *Pipe) Open() (*PipeConn, error) { return OpenPipe(p.path) }

// PipeConn is the harness's end of a Pipe. Reading ends with io.EOF when QEMU
// has ended. One goroutine at a time may read.
type PipeConn struct {
	in  *os.File
	out *wakeable
}

// OpenPipe connects to the pipes of a QEMU that has opened them: one that has
// answered on QMP. One reader at a time gets the bytes.
func OpenPipe(path string) (*PipeConn, error) {
	out, err := openWakeable(path + ".out")
	if err != nil {
		return nil, fmt.Errorf("open console pipe: %w", err)
	}
	// Where the host allows less, the pipe stays as it is: 64 KiB.
	_, _ = unix.FcntlInt(uintptr(out.fd), unix.F_SETPIPE_SZ, pipeSize)
	in, err := os.OpenFile(path+".in", os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil { // ENXIO: nobody reads it
		return nil, errors.Join(fmt.Errorf("open console pipe: QEMU does not listen: %w", err), out.Close())
	}
	return &PipeConn{in, out}, nil
}

// Read implements io.Reader: what the guest prints.
func (c *PipeConn) Read(p []byte) (int, error) { return c.out.Read(p) }

// Write implements io.Writer: what is typed at the guest.
func (c *PipeConn) Write(p []byte) (int, error) { return c.in.Write(p) }

// Came counts the bytes that the guest has printed, read or not.
func (c *PipeConn) Came() int64 { return c.out.Came() }

// SetReadDeadline bounds Read, also one that waits.
func (c *PipeConn) SetReadDeadline(t time.Time) error { return c.out.SetReadDeadline(t) }

// SetWriteDeadline bounds Write.
func (c *PipeConn) SetWriteDeadline(t time.Time) error { return c.in.SetWriteDeadline(t) }

// Close ends a Read that waits.
func (c *PipeConn) Close() error { return errors.Join(c.in.Close(), c.out.Close()) }
