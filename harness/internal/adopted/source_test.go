package adopted

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// read opens a console and has its feed give what want has, after more is done.
func read(t *testing.T, path, want string, more func(f *feed)) {
	t.Helper()
	s, err := OpenSource(path)
	if err != nil {
		t.Fatal(err)
	}
	f := newFeed(s)
	defer f.Close()
	done := make(chan struct{})
	go func() { defer close(done); more(f) }()
	defer func() { <-done }() // before the feed is closed
	got := make([]byte, len(want))
	if _, err := io.ReadFull(f, got); err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func TestFileThatGrows(t *testing.T) {
	const first, second = "[    0.000000] Linux version 6.1.0 (demo)\nold login: \n", "[    0.000000] Linux version 6.1.0 (demo)\nnew\n"
	for name, tt := range map[string]struct{ before, want string }{
		"from its beginning": {"SeaBIOS\n" + first, "SeaBIOS\n" + first},
		"from the last boot": {first + "SeaBIOS\n" + second, second},
		"empty":              {"", ""},
	} {
		path := filepath.Join(t.TempDir(), "console.log")
		if err := os.WriteFile(path, []byte(tt.before), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			read(t, path, tt.want+"more\n", func(*feed) {
				f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
				if err == nil {
					_, err = f.WriteString("more\n")
				}
				if err := errors.Join(err, f.Close()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What is written to a feed comes out of it, and keys go to the console where it takes
// them.
func TestFeedWithoutAConsole(t *testing.T) {
	f := newFeed(nil)
	go func() { _, _ = io.WriteString(f.in, "from memory\n") }()
	got := make([]byte, 12)
	if _, err := io.ReadFull(f, got); err != nil || string(got) != "from memory\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := f.Write([]byte("t")); !errors.Is(err, console.ErrReadOnly) {
		t.Errorf("%v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestPTY(t *testing.T) {
	master, path := pty(t)
	defer master.Close()
	read(t, path, "line\r\n", func(f *feed) {
		if _, err := master.WriteString("line\r\n"); err != nil {
			t.Error(err)
		}
		if _, err := f.Write([]byte("t")); err != nil {
			t.Error(err)
		}
	})
	key := make([]byte, 1)
	if _, err := io.ReadFull(master, key); err != nil || key[0] != 't' {
		t.Errorf("%q, %v", key, err)
	}
}

// pty makes a pty as QEMU does: its other end is raw.
func pty(t *testing.T) (*os.File, string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	raw.Iflag, raw.Oflag, raw.Lflag = 0, 0, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, raw); err != nil {
		t.Fatal(err)
	}
	return master, fmt.Sprintf("/dev/pts/%d", n)
}

func TestSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "sock") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	read(t, path, "line\n", func(*feed) {
		c, err := l.Accept()
		if err == nil {
			_, err = io.WriteString(c, "line\n")
		}
		if err := errors.Join(err, c.Close()); err != nil {
			t.Error(err)
		}
	})
}

func TestBadConsoles(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file", dir: "want a file", "/dev/null": "not a terminal",
	} {
		s, err := OpenSource(path)
		if s != nil || !errors.As(err, new(usage.Error)) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", path, err)
		}
	}
}
