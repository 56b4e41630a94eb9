package kbuild

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/progress"
)

// A build that is told to end leaves no file half-written: it would be newer than
// its source, and the next build would take it as it is.
func TestCancelLeavesNothingHalfDone(t *testing.T) {
	s := fakeTree(t, "CONFIG_64BIT\n", `printf '%s/part.o:\n\techo half > $@; echo "  CC      part.o"; sleep 600; echo whole > $@\n' $O > $O/sub.mk; make -f $O/sub.mk`)
	n := notes{make(chan string, 1)}
	ctx, cancel := context.WithCancelCause(progress.With(t.Context(), n))
	done := make(chan error, 1)
	go func() {
		_, err := Build(ctx, s)
		done <- err
	}()
	select {
	case <-n.seen:
	case err := <-done:
		t.Fatalf("the build ended by itself: %v", err)
	}
	cause := errors.New("enough")
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Fatalf("error %v, want the context's cause", err)
	}
	if b, err := os.ReadFile(filepath.Join(s.Output, "part.o")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("part.o is %q, %v", b, err)
	}
}

// What is left of a killed program's build is waited for.
func TestSettle(t *testing.T) {
	dir := t.TempDir()
	if err := Settle(t.Context(), filepath.Join(dir, "new")); err != nil {
		t.Errorf("a directory that is not there: %v", err)
	}
	f, err := os.Create(filepath.Join(dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := Settle(ctx, dir); !errors.Is(err, cause) {
		t.Errorf("while it builds: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Settle(t.Context(), dir); err != nil {
		t.Errorf("when it has ended: %v", err)
	}
}
