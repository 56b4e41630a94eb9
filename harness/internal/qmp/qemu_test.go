package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A real QEMU with no machine: its greeting, its largest reply, its errors,
// its events and its end.
func TestRealQEMU(t *testing.T) {
	path, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("qemu-system-x86_64 is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	sock := filepath.Join(t.TempDir(), "qmp.sock")
	// wait=on: QEMU goes on only when we have connected.
	cmd := exec.CommandContext(ctx, path, "-M", "none", "-S", "-display", "none", "-nodefaults",
		"-qmp", "unix:"+sock+",server=on,wait=on")
	said := make(chan error, 1)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cmd.Wait(); err != nil {
			t.Errorf("QEMU: %v", err)
		}
	}()
	// QEMU says "info: QEMU waiting for connection on: ..." once it listens.
	go func() {
		_, err := stderr.Read(make([]byte, 256))
		said <- err
		_, _ = io.Copy(io.Discard, stderr)
	}()
	if err := <-said; err != nil {
		t.Fatal(err)
	}
	c, err := Dial(ctx, sock, Options{Timeout: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	checkRealQEMU(ctx, t, c)
	sub := c.Subscribe(0)
	if err := c.Execute(ctx, "quit", nil, nil); err != nil {
		t.Fatal(err)
	}
	var last Event
	for e := range sub.C {
		last = e
	}
	if last.Name != "SHUTDOWN" || last.Time.IsZero() {
		t.Errorf("last event = %+v", last)
	}
	if !errors.Is(c.Err(), io.EOF) {
		t.Errorf("ended by %v", c.Err())
	}
}

func checkRealQEMU(ctx context.Context, t *testing.T, c *Conn) {
	t.Helper()
	var version struct{ QEMU struct{ Major int } }
	if err := c.Execute(ctx, "query-version", nil, &version); err != nil || version.QEMU.Major != c.Version().Major {
		t.Errorf("version = %+v, greeting %v, %v", version, c.Version(), err)
	}
	var schema json.RawMessage
	if err := c.Execute(ctx, "query-qmp-schema", nil, &schema); err != nil || len(schema) < 100<<10 {
		t.Errorf("schema of %d bytes, %v", len(schema), err)
	}
	var refused *CommandError
	if err := c.Execute(ctx, "no-such-command", nil, nil); !errors.As(err, &refused) || refused.Class != "CommandNotFound" {
		t.Errorf("no-such-command: %v", err)
	}
	if out, err := c.HMP(ctx, "info version"); err != nil || out == "" {
		t.Errorf("HMP: %q, %v", out, err)
	}
}
