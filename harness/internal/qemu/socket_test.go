package qemu

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/qmp"
)

func TestSocketDir(t *testing.T) {
	base := t.TempDir()
	for _, tt := range []struct {
		name, dir string
		linked    bool
	}{
		{"short", filepath.Join(base, "s"), false},
		{"long", filepath.Join(base, strings.Repeat("x", 120)), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !tt.linked && len(tt.dir) > 80 {
				t.Skip("the temporary directory has a long path")
			}
			d, err := NewSocketDir(tt.dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{tt.dir, d.Path()} {
				if st, err := os.Stat(path); err != nil || !st.IsDir() || st.Mode().Perm() != 0o700 {
					t.Errorf("%s: %v, %v", path, st, err)
				}
			}
			if tt.linked == (d.Path() == tt.dir) || len(d.Path())+1+maxName > maxUnixPath {
				t.Errorf("path = %s", d.Path())
			}
			if _, err := NewSocketDir(tt.dir); !errors.Is(err, fs.ErrExist) {
				t.Errorf("second directory: %v", err)
			}
			for _, bad := range []string{"", "../x", "a/b", "A", ".x", strings.Repeat("x", 17), "a,b"} {
				if _, err := d.Listen(bad); err == nil {
					t.Errorf("name %q was accepted", bad)
				}
			}
			s, err := d.Listen(strings.Repeat("x", maxName))
			if err != nil {
				t.Fatal(err)
			}
			conn, err := s.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			s.File().Close() // as QEMU's end without an answer
			if n, err := conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("read %d bytes from nobody", n)
			}
			if err := d.Remove(); err != nil {
				t.Error(err)
			}
			for _, path := range []string{tt.dir, d.Path()} {
				if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s is left: %v", path, err)
				}
			}
		})
	}
}

// The sockets, the monitor, the second seat and the ladder with a real QEMU.
func TestRealQEMU(t *testing.T) {
	path, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("qemu-system-x86_64 is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	d, err := NewSocketDir(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Remove()
	c := Command{Path: path, Clock: newHandClock(), Args: []string{
		"-M", "none", "-S", "-display", "none", "-nodefaults",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
	}}
	var seats [2]*Socket
	for i, name := range []string{"qmp", "seat"} {
		if seats[i], err = d.Listen(name); err != nil {
			t.Fatal(err)
		}
		c.Args = append(c.Args, "-chardev", chardev(name, c.Pass(seats[i].File())), "-mon", "mode=control,chardev="+name)
	}
	// Dialled before there is a QEMU.
	early, err := seats[0].Dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, c)
	first, err := qmp.New(ctx, early, qmp.Options{Timeout: 10 * time.Minute})
	if err != nil {
		t.Fatalf("%v; %v", err, p.Stderr())
	}
	defer first.Close()
	for range 2 { // a person comes, goes, and comes again
		seat, err := qmp.Dial(ctx, seats[1].Path(), qmp.Options{Timeout: 10 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if err := seat.Execute(ctx, "query-status", nil, nil); err != nil {
			t.Error(err)
		}
		seat.Close()
	}
	exit, by, err := p.Stop(ctx, func(ctx context.Context) error { return first.Execute(ctx, "quit", nil, nil) })
	if err != nil || by != Quit || exit.Err() != nil {
		t.Errorf("stop = %v, %s, %v; %v", exit, by, err, exit.Err())
	}
	if v, err := Version(ctx, path); err != nil || v.Major < 5 {
		t.Errorf("version = %v, %v", v, err)
	}
}
