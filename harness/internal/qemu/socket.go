package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
)

const (
	maxUnixPath = 107 // bytes in a sockaddr_un without its NUL, unix(7)
	maxName     = 16
)

var socketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,15}$`)

// SocketDir is the private directory of a run's sockets.
//
// A unix socket's path is at most 107 bytes, and run directories are often
// longer. The sockets are then in a short temporary directory and the wanted
// path is a symbolic link to it.
type SocketDir struct {
	path string
	link string // "" where path is the wanted path itself
}

// NewSocketDir creates dir, mode 0700. It must not exist; its parent must.
func NewSocketDir(dir string) (*SocketDir, error) {
	if len(dir)+1+maxName <= maxUnixPath {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make socket directory: %w", err)
		}
		return &SocketDir{path: dir}, nil
	}
	short, err := shortDir()
	if err != nil {
		return nil, fmt.Errorf("make socket directory: %w", err)
	}
	if err := os.Symlink(short, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("link socket directory: %w", err), os.Remove(short))
	}
	return &SocketDir{path: short, link: dir}, nil
}

// shortDir makes a private directory with a path that leaves room for a name.
func shortDir() (string, error) {
	var failed error
	for _, base := range []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), "/tmp"} {
		if !filepath.IsAbs(base) || len(base) > 60 {
			continue
		}
		dir, err := os.MkdirTemp(base, "unwedge-") // mode 0700
		if err == nil {
			return dir, nil
		}
		failed = err
	}
	if failed == nil {
		failed = errors.New("no temporary directory has a path short enough for sockets: set TMPDIR")
	}
	return "", failed
}

// Path is where the sockets really are; it is short enough for any of them.
func (d *SocketDir) Path() string { return d.path }

// Remove removes the directory and all that is in it.
func (d *SocketDir) Remove() error {
	err := os.RemoveAll(d.path)
	if d.link != "" {
		if e := os.Remove(d.link); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return fmt.Errorf("remove socket directory: %w", err)
	}
	return nil
}

// Socket is a named unix socket that listens already: the harness binds it
// and QEMU inherits it (`-chardev socket,fd=N,server=on`, QEMU 2.12 and
// later, as libvirt does). So it can be dialled before QEMU runs, nobody has
// to poll for it, a connection to a QEMU that never came up ends instead of
// waiting, and a person can attach to it later by its name.
type Socket struct {
	path string
	file *os.File
}

// Listen makes the socket called name: up to 16 of a-z, 0-9, dot and dash.
func (d *SocketDir) Listen(name string) (*Socket, error) {
	if !socketName.MatchString(name) {
		return nil, fmt.Errorf("socket name %q is not 1 to %d of a-z, 0-9, dot and dash", name, maxName)
	}
	path := filepath.Join(d.path, name)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make socket %s: %w", name, err)
	}
	l.SetUnlinkOnClose(false)
	file, err := l.File()
	if err = errors.Join(err, l.Close()); err != nil {
		return nil, fmt.Errorf("make socket %s: %w", name, err)
	}
	return &Socket{path: path, file: file}, nil
}

// Path is the socket's address.
func (s *Socket) Path() string { return s.path }

// File is the listening socket, to hand to Command.Pass, which takes it over.
func (s *Socket) File() *os.File { return s.file }

// Dial connects to the socket. It succeeds before QEMU has started; one
// connection at a time is served, and the next waits for its end.
func (s *Socket) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", s.path)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", s.path, err)
	}
	return conn, nil
}
