package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/qmp"
)

// printer is real-mode code that prints the characters from '0' to 'z' and a
// newline, 2,000 times, on the first UART, waiting for LSR.THRE (0x3fd, bit 5)
// before each byte as every driver does, and then writes 0x2a to
// isa-debug-exit.
var printer = []byte{
	0xb9, 0xd0, 0x07, 0xb3, 0x30, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74,
	0xfb, 0xba, 0xf8, 0x03, 0x88, 0xd8, 0xee, 0xfe, 0xc3, 0x80, 0xfb, 0x7b,
	0x72, 0xeb, 0x77, 0x06, 0xb3, 0x09, 0xfe, 0xc3, 0xeb, 0x02, 0xeb, 0x0e,
	0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74, 0xfb, 0xba, 0xf8, 0x03, 0xb0,
	0x0a, 0xee, 0x49, 0x75, 0xce, 0xb0, 0x2a, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd,
}

// What the guest prints is what is recorded, from its first byte on, in both
// ways of starting: QEMU waits for the connection, or the guest for `cont`.
func TestConsoleOfARealQEMUIsLossless(t *testing.T) {
	path, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("qemu-system-x86_64 is not installed")
	}
	for _, tt := range []struct {
		name   string
		paused bool
	}{{"dialled", false}, {"paused", true}} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			got := printed(ctx, t, path, tt.paused)
			var line strings.Builder
			for b := byte('0'); b <= 'z'; b++ {
				line.WriteByte(b)
			}
			want := strings.Repeat(line.String()+"\n", 2000)
			if !bytes.Equal(got, []byte(want)) {
				t.Errorf("recorded %d bytes, the guest printed %d", len(got), len(want))
			}
		})
	}
}

// printed runs the printer to its end and returns console.log.
func printed(ctx context.Context, t *testing.T, path string, paused bool) []byte {
	t.Helper()
	dir := t.TempDir()
	rom := make([]byte, 64<<10)
	copy(rom, printer)
	copy(rom[len(rom)-16:], []byte{0xea, 0x00, 0x00, 0x00, 0xf0}) // reset: jump to f000:0000
	if err := os.WriteFile(filepath.Join(dir, "rom"), rom, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := NewSocketDir(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Remove()
	c := Command{Path: path}
	c.Args = []string{
		"-M", "q35", "-accel", "tcg", "-m", "16", "-nodefaults", "-no-user-config", "-display", "none",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-bios", filepath.Join(dir, "rom"), "-serial", "chardev:console",
	}
	conn, fd := dialled(ctx, t, d, &c, "console")
	var control net.Conn
	if paused {
		c.Args = append(c.Args, "-chardev", chardev("console", fd))
		control, fd = dialled(ctx, t, d, &c, "qmp")
		c.Args = append(c.Args, "-S", "-chardev", chardev("qmp", fd), "-mon", "mode=control,chardev=qmp")
	} else {
		c.Args = append(c.Args, "-chardev", chardevDialled("console", fd))
	}
	p := start(t, c)
	log, err := os.Create(filepath.Join(dir, "console.log"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := console.Record(conn, log, console.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if paused {
		m, err := qmp.New(ctx, control, qmp.Options{Timeout: 10 * time.Minute})
		if err != nil {
			t.Fatalf("%v; %v", err, p.Stderr())
		}
		defer m.Close()
		if err := m.Execute(ctx, "cont", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if exit, err := p.Wait(ctx); err != nil || exit.Code != 2*0x2a+1 {
		t.Errorf("exit = %v, %v", exit, err)
	}
	<-r.Done()
	got, err := os.ReadFile(log.Name())
	if err = errors.Join(err, r.Close()); err != nil {
		t.Error(err)
	}
	return got
}

func dialled(ctx context.Context, t *testing.T, d *SocketDir, c *Command, name string) (net.Conn, int) {
	t.Helper()
	sock, err := d.Listen(name)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := sock.Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return conn, c.Pass(sock.File())
}

// chardev is the value of QEMU's -chardev option for a socket that QEMU
// inherits as fd and that the harness may dial at any time, or never.
//
// QEMU accepts a connection only once its main loop runs, and throws away what
// the guest prints before: for a console use chardevDialled, or start the
// guest paused (-S).
func chardev(id string, fd int) string {
	return fmt.Sprintf("socket,id=%s,fd=%d,server=on,wait=off", id, fd)
}

// chardevDialled is chardev for a socket that the harness has dialled before
// it starts QEMU: QEMU accepts that connection before it goes on, so that not
// a byte is lost. Without a connection QEMU waits for one.
func chardevDialled(id string, fd int) string {
	return fmt.Sprintf("socket,id=%s,fd=%d,server=on,wait=on", id, fd)
}
