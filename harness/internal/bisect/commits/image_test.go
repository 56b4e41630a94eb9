package commits_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/images/progress"
)

// A kernel's image is more than the vmlinux in it: what unpacks it may be what hangs.
// Two commits that make the same bytes make the same image.
func TestImageIsAllThatBoots(t *testing.T) {
	w := newWorld(t)
	same := kernelFiles("one")
	w.commit("0", same)
	w.commit("1", same.with(files{"image": "image one, unpacked otherwise"}))
	w.commit("2", same.with(files{"README": "read me"}))
	s := w.source(t.TempDir())
	zero, one, two := w.must(s, "0"), w.must(s, "1"), w.must(s, "2")
	if zero.Image == one.Image {
		t.Error("another image with the same vmlinux is taken for the same")
	}
	if zero.Image != two.Image {
		t.Errorf("images %q and %q of the same bytes", zero.Image, two.Image)
	}
}

// waits tells of the first task.
type waits struct {
	progress.Reporter
	once sync.Once
	seen chan string
}

func (w *waits) Task(name string, total int64) progress.Task {
	w.once.Do(func() { w.seen <- name })
	return w.Reporter.Task(name, total)
}

// While something still builds in the bisection's directory, as what is left of a
// killed one does, its source stays as it is.
func TestSourceStaysWhileSomethingBuilds(t *testing.T) {
	w := newWorld(t)
	w.commit("0", kernelFiles("0"))
	w.commit("1", kernelFiles("1"))
	s := w.source(t.TempDir())
	w.must(s, "0")
	locks, err := filepath.Glob(filepath.Join(s.Dir, "build", ".*lock"))
	if err != nil || len(locks) != 1 {
		t.Fatalf("the build directory's locks: %q, %v", locks, err)
	}
	f, err := os.OpenFile(locks[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // gives the lock up
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	p := &waits{Reporter: progress.From(t.Context()), seen: make(chan string, 1)}
	ctx, cancel := context.WithCancelCause(progress.With(t.Context(), p))
	done := make(chan error, 1)
	go func() {
		_, err := s.Prepare(ctx, w.candidate(s, "1"), nil)
		done <- err
	}()
	name := <-p.seen
	if got := read(t, filepath.Join(s.Dir, "tree", "image")); got != "image 0" {
		t.Errorf("the source has %q while %q", got, name)
	}
	if !strings.HasPrefix(name, w.candidate(s, "1").Name+": ") {
		t.Errorf("task %q does not name the commit", name)
	}
	cause := errors.New("enough")
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
}
