package cache_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/unwedge/unwedge/images/cache"
)

func open(t *testing.T) *cache.Store {
	t.Helper()
	s, err := cache.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var key = cache.Key{Kind: "kernel", Inputs: []string{"a", "b"}}

func fill(_ context.Context, dir string) error {
	return os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o644)
}

func TestGetBuildsOnceForManyCallers(t *testing.T) {
	s := open(t)
	var builds atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			dir, err := s.Get(t.Context(), key, func(ctx context.Context, dir string) error {
				builds.Add(1)
				return fill(ctx, dir)
			})
			if err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if builds.Load() != 1 {
		t.Errorf("built %d times, want 1", builds.Load())
	}
}

// TestGetBuildsOnceForTwoProcesses re-runs this test binary, so that the lock
// is shown to hold between processes.
func TestGetBuildsOnceForTwoProcesses(t *testing.T) {
	if dir := os.Getenv("CACHE_TEST_DIR"); dir != "" {
		s, err := cache.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Get(t.Context(), key, func(ctx context.Context, entry string) error {
			f, err := os.OpenFile(filepath.Join(dir, "builds"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := f.WriteString("x"); err != nil {
				return err
			}
			return fill(ctx, entry)
		})
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGetBuildsOnceForTwoProcesses$")
			cmd.Env = append(os.Environ(), "CACHE_TEST_DIR="+dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	if b, err := os.ReadFile(filepath.Join(dir, "builds")); err != nil || string(b) != "x" {
		t.Errorf("builds = %q, %v, want one", b, err)
	}
}

func TestGetLeavesNothingWhenTheBuildFails(t *testing.T) {
	s := open(t)
	boom := errors.New("boom")
	if _, err := s.Get(t.Context(), key, func(_ context.Context, dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "half"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		return boom
	}); !errors.Is(err, boom) {
		t.Fatalf("err = %v, want boom", err)
	}
	if _, ok := s.Lookup(key); ok {
		t.Error("a failed build left an entry")
	}
	left, err := filepath.Glob(filepath.Join(s.Dir(), "kernel", ".tmp-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := s.Get(t.Context(), key, fill); err != nil {
		t.Errorf("the next build: %v", err)
	}
}

func TestGetStopsWaitingWhenTheContextEnds(t *testing.T) {
	s := open(t)
	building, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := s.Get(t.Context(), key, func(ctx context.Context, dir string) error {
			close(building)
			<-release
			return fill(ctx, dir)
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-building
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	cancel(stop)
	if _, err := s.Get(ctx, key, fill); !errors.Is(err, stop) {
		t.Errorf("err = %v, want the context's cause", err)
	}
	close(release)
	wg.Wait()
}

func TestKeysDiffer(t *testing.T) {
	seen := map[string][]string{}
	for _, in := range [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"abc", ""}, {"1:abc\n"}, nil} {
		id := cache.Key{Kind: "k", Inputs: in}.ID()
		if other, dup := seen[id]; dup {
			t.Errorf("%q and %q share %s", in, other, id)
		}
		seen[id] = in
	}
}

func TestKindMayNotLeaveTheStore(t *testing.T) {
	for _, kind := range []string{"", "..", "a/b", ".hidden"} {
		if _, err := open(t).Get(t.Context(), cache.Key{Kind: kind}, fill); err == nil {
			t.Errorf("kind %q was taken", kind)
		}
	}
}

func TestListAndPrune(t *testing.T) {
	s := open(t)
	other := cache.Key{Kind: "root", Inputs: []string{"x"}}
	for _, k := range []cache.Key{key, other} {
		if _, err := s.Get(t.Context(), k, fill); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := s.List()
	if err != nil || len(entries) != 2 {
		t.Fatalf("List = %v, %v, want two entries", entries, err)
	}
	if dry, err := s.Prune(t.Context(), cache.PruneOptions{DryRun: true}); err != nil || len(dry) != 2 {
		t.Fatalf("dry run = %v, %v", dry, err)
	}
	gone, err := s.Prune(t.Context(), cache.PruneOptions{Kinds: []string{"root"}})
	if err != nil || len(gone) != 1 || gone[0].ID != other.ID() {
		t.Fatalf("Prune = %v, %v, want only %s", gone, err, other.ID())
	}
	if _, ok := s.Lookup(key); !ok {
		t.Error("the other kind was pruned too")
	}
	if _, ok := s.Lookup(other); ok {
		t.Error("the pruned entry is still there")
	}
}

// An entry that was changed after it was made is made anew: its files, or what it says of
// itself.
func TestGetHealsAChangedEntry(t *testing.T) {
	change := func(f func(b []byte) []byte) func(path string) error {
		return func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, f(b), 0o644)
		}
	}
	torn := change(func(b []byte) []byte { return b[:len(b)/2] })
	flipped := change(func(b []byte) []byte { b[len(b)/2] ^= 4; return b })
	for name, tt := range map[string]struct {
		file  string
		spoil func(path string) error
	}{
		"torn": {"dir/image", torn}, "flipped": {"dir/image", flipped}, "gone": {"dir/image", os.Remove},
		"torn info": {".unwedge-entry.json", torn}, "no info": {".unwedge-entry.json", os.Remove},
	} {
		s, err := cache.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		built := 0
		get := func() string {
			t.Helper()
			dir, err := s.Get(t.Context(), cache.Key{Kind: "image", Inputs: []string{"1"}}, func(_ context.Context, dir string) error {
				built++
				return errors.Join(os.Mkdir(filepath.Join(dir, "dir"), 0o755), os.WriteFile(filepath.Join(dir, "dir", "image"), bytes.Repeat([]byte("abc"), 1000), 0o644))
			})
			if err != nil {
				t.Fatal(err)
			}
			return dir
		}
		dir := get()
		if get(); built != 1 {
			t.Fatalf("%s: built %d times before anything happened", name, built)
		}
		if err := tt.spoil(filepath.Join(dir, tt.file)); err != nil {
			t.Fatal(err)
		}
		if get(); built != 2 {
			t.Errorf("%s: built %d times", name, built)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "dir", "image")); err != nil || len(b) != 3000 || b[1500] != 'a' {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}
