package adopted

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"regexp"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/usage"
)

// Source is a console that can be read, and written to where it is none that QEMU only
// logs to.
type Source struct {
	io.ReadCloser
	keys io.Writer // nil: none
}

// TakesKeys says that what is written goes to the guest.
func (s *Source) TakesKeys() bool { return s != nil && s.keys != nil }

// OpenSource opens a console: a file that grows, a pty, or a socket that nobody is
// connected to.
func OpenSource(path string) (*Source, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usage.Errorf("console %s: no such file", path)
	case err != nil:
		return nil, usage.Errorf("console: %w", err)
	}
	switch kind := st.Mode().Type(); {
	case kind == 0:
		return openFile(path)
	case kind == fs.ModeSocket:
		return openSocket(path)
	case kind&fs.ModeCharDevice != 0:
		return openTTY(path)
	default:
		return nil, usage.Errorf("console %s: %s: want a file that grows, a pty or a socket", path, kind)
	}
}

func openSocket(path string) (*Source, error) {
	c, err := net.Dial("unix", path) //nolint:noctx // a local socket: it answers at once or not at all
	if err != nil {
		return nil, usage.Errorf("console: %w", err)
	}
	return &Source{c, c}, nil
}

func openTTY(path string) (*Source, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, usage.Errorf("console: %w", err)
	}
	if err := terminal(f); err != nil {
		f.Close()
		return nil, usage.Errorf("console %s: not a terminal: want a file that grows, a pty or a socket", path)
	}
	return &Source{tty{f}, f}, nil
}

// terminal checks that a file is one. (os.File.Fd would make it blocking, and then Close
// could not end a Read.)
func terminal(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var no error
	err = raw.Control(func(fd uintptr) { _, no = unix.IoctlGetTermios(int(fd), unix.TCGETS) })
	return errors.Join(err, no)
}

// tty ends where its other end does.
type tty struct{ *os.File }

func (t tty) Read(p []byte) (int, error) {
	n, err := t.File.Read(p)
	if errors.Is(err, syscall.EIO) {
		err = io.EOF
	}
	return n, err
}

func openFile(path string) (*Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usage.Errorf("console: %w", err)
	}
	from, err := lastBoot(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("console %s: %w", path, err)
	}
	return &Source{&tail{f: f, at: from, closed: make(chan struct{})}, nil}, nil
}

// maxPast is how much of what a file already has is looked at, in bytes.
const maxPast = 16 << 20

// kernelsFirst is a kernel's first line.
var kernelsFirst = regexp.MustCompile(`(?m)^.{0,40}Linux version \d`)

// lastBoot is where the last boot in a file begins that has come to its kernel: the file
// may have those before it.
func lastBoot(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	from := max(0, st.Size()-maxPast)
	past, err := io.ReadAll(io.NewSectionReader(f, from, st.Size()-from))
	if err != nil {
		return 0, err
	}
	all := kernelsFirst.FindAllIndex(past, -1)
	if len(all) < 2 { // what firmware and boot loader said belongs to it
		return from, nil
	}
	return from + int64(all[len(all)-1][0]), nil
}

// tail reads a file that grows, until it is closed.
type tail struct {
	f      *os.File
	at     int64
	once   sync.Once
	closed chan struct{}
}

// tailEvery is how often a file is looked at.
const tailEvery = 50 * time.Millisecond

func (t *tail) Read(p []byte) (int, error) {
	for {
		n, err := t.f.ReadAt(p, t.at)
		if n > 0 {
			t.at += int64(n)
			return n, nil
		}
		if errors.Is(err, os.ErrClosed) {
			return 0, io.EOF
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if st, err := t.f.Stat(); err == nil && st.Size() < t.at {
			t.at = 0 // it was emptied, and begins anew
			continue
		}
		select {
		case <-t.closed:
			return 0, io.EOF
		case <-time.After(tailEvery):
		}
	}
}

func (t *tail) Close() error {
	var err error
	t.once.Do(func() {
		close(t.closed)
		err = t.f.Close()
	})
	return err
}

// feed is what a Recorder reads: the source, and lines that are written to it.
type feed struct {
	*io.PipeReader
	in     *io.PipeWriter
	source *Source
	done   chan struct{}
}

func newFeed(s *Source) *feed {
	r, w := io.Pipe()
	f := &feed{r, w, s, make(chan struct{})}
	if s == nil {
		close(f.done)
		return f
	}
	go func() {
		defer close(f.done)
		// The end of the console is not that of the guest: QEMU's monitor tells of that.
		_, _ = io.Copy(w, bufferless{s})
	}()
	return f
}

// bufferless hides all methods but Read.
type bufferless struct{ r io.Reader }

func (b bufferless) Read(p []byte) (int, error) { return b.r.Read(p) }

// Write sends keys to the guest.
func (f *feed) Write(p []byte) (int, error) {
	if !f.source.TakesKeys() {
		return 0, console.ErrReadOnly
	}
	return f.source.keys.Write(p)
}

// Close ends the reading and waits for it.
func (f *feed) Close() error {
	err := f.PipeReader.Close()
	if f.source != nil {
		err = errors.Join(err, f.source.Close())
	}
	<-f.done
	return err
}
