package qemu_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/qemu"
)

// What the guest prints while nobody reads must fit, byte by byte: on a socket
// some 300 single bytes already fill the buffer.
func TestPipeHoldsAUARTsBytes(t *testing.T) {
	d, err := qemu.NewSocketDir(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Remove() // the test's own directory
	p, err := d.Pipe("console")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Open(); err == nil {
		t.Fatal("a pipe that no QEMU listens on was opened")
	}
	guest := map[string]*os.File{}
	for _, end := range []string{".in", ".out"} { // as chardev/char-pipe.c does
		if guest[end], err = os.OpenFile(p.Path()+end, os.O_RDWR, 0); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := p.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const n = 60 << 10 // fits where the host allows no larger pipe, too
	var sent bytes.Buffer
	for i := range n {
		sent.WriteByte(byte(i))
		if _, err := guest[".out"].Write([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if came := conn.Came(); came != n {
		t.Errorf("%d bytes have come, of %d", came, n)
	}
	if _, err := conn.Write([]byte("t")); err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 1)
	if _, err := io.ReadFull(guest[".in"], key); err != nil || key[0] != 't' {
		t.Errorf("the guest got %q, %v", key, err)
	}
	for _, f := range guest {
		f.Close()
	}
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, sent.Bytes()) {
		t.Errorf("read %d bytes of %d, %v", len(got), n, err)
	}
}

// A Read that waits ends by what comes first: bytes, the deadline, or Close.
func TestPipeEndsARead(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(c *qemu.PipeConn, guest *os.File) error
		want error
	}{
		{"bytes", func(_ *qemu.PipeConn, guest *os.File) error { _, err := guest.WriteString("x"); return err }, nil},
		{"deadline", func(c *qemu.PipeConn, _ *os.File) error { return c.SetReadDeadline(time.Now()) }, os.ErrDeadlineExceeded},
		{"close", func(c *qemu.PipeConn, _ *os.File) error { go c.Close(); return nil }, os.ErrClosed},
		{"end", func(_ *qemu.PipeConn, guest *os.File) error { return guest.Close() }, io.EOF},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := qemu.NewSocketDir(filepath.Join(t.TempDir(), "s"))
			if err != nil {
				t.Fatal(err)
			}
			defer d.Remove() // the test's own directory
			p, err := d.Pipe("console")
			if err != nil {
				t.Fatal(err)
			}
			in, err := os.OpenFile(p.Path()+".in", os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			out, err := os.OpenFile(p.Path()+".out", os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			conn, err := p.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			got := make(chan error)
			go func() {
				_, err := conn.Read(make([]byte, 1))
				got <- err
			}()
			if err := tc.do(conn, out); err != nil {
				t.Fatal(err)
			}
			if err := <-got; !errors.Is(err, tc.want) {
				t.Errorf("Read ended with %v, want %v", err, tc.want)
			}
		})
	}
}
