// Command bench measures the history with many made-up runs: `go run
// ./harness/history/bench`. See RESULTS.md beside it.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unwedge/unwedge/harness/history/compare"
	"github.com/unwedge/unwedge/harness/history/pages"
	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/internal/sample"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
)

func main() {
	runs := flag.Int("runs", 100_000, "how many runs to make up")
	flag.Parse()
	if err := measure(context.Background(), *runs); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, runs int) error {
	dir, err := os.MkdirTemp("", "unwedge-history-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	n := 0
	if err := sample.Many(runs, func(r *result.Result) error {
		n++
		r.Dir = filepath.Join(dir, "runs", fmt.Sprintf("%03d", n/1000), fmt.Sprint(n))
		if err := os.MkdirAll(r.Dir, 0o755); err != nil {
			return err
		}
		return r.Write(rundir.Result)
	}); err != nil {
		return err
	}
	path := filepath.Join(dir, rundir.History)
	s, err := store.Open(ctx, path)
	if err != nil {
		return err
	}
	defer s.Close()
	began, before := time.Now(), processor()
	im, err := s.Import(ctx, filepath.Join(dir, "runs"))
	if err != nil {
		return err
	}
	fmt.Printf("import of %d runs      %8.1f s, processor %.1f\n", im.Added, time.Since(began).Seconds(), (processor() - before).Seconds())
	size := int64(0)
	for _, end := range []string{"", "-wal"} {
		if st, err := os.Stat(path + end); err == nil {
			size += st.Size()
		}
	}
	fmt.Printf("size of the files         %8.1f MB\n", float64(size)/1e6)
	if err := ask(ctx, s); err != nil {
		return err
	}
	return views(ctx, s)
}

// ask measures what the commands do, each several times; the median counts.
func ask(ctx context.Context, s *store.Store) error {
	kernels, err := s.Kernels(ctx)
	if err != nil || len(kernels) < 2 {
		return fmt.Errorf("kernels: %d: %w", len(kernels), err)
	}
	middle := kernels[len(kernels)/2]
	one := sample.Boot{Release: "9.9", Cell: "tiny/x86_64/none/tiny", At: time.Now()}
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"compare last last", func() error { _, err := compare.Kernels(ctx, s, compare.Last, compare.Last, 0.95); return err }},
		{"compare, an old kernel", func() error { _, err := compare.Kernels(ctx, s, middle.Release, compare.Last, 0.95); return err }},
		{"history", func() error { _, err := s.Runs(ctx, store.Filter{Limit: 50}); return err }},
		{"history --failed", func() error { _, err := s.Runs(ctx, store.Filter{Limit: 50, Failed: true}); return err }},
		{"history --by signature", func() error { _, err := s.Groups(ctx, store.BySignature, store.Filter{}); return err }},
		{"history --by kernel", func() error { _, err := s.Groups(ctx, store.ByKernel, store.Filter{}); return err }},
		{"record one run", func() error { one.At = one.At.Add(time.Second); _, err := s.Record(ctx, one.Result()); return err }},
	} {
		if err := timed(c.name, c.do); err != nil {
			return err
		}
	}
	return nil
}

// views measures the pages.
func views(ctx context.Context, s *store.Store) error {
	kernels, err := s.Kernels(ctx)
	if err != nil {
		return err
	}
	middle := kernels[len(kernels)/2].ID
	h := pages.Pages{History: s, Version: "bench"}.Handler(pages.Guard{})
	for _, path := range []string{"/", "/?skip=300", "/failures", "/failure/1", "/failure/5", "/runs", fmt.Sprintf("/runs?kernel=%d", middle), "/runs?cell=3", "/times/3", "/compare", "/run/1000"} {
		if err := timed("page "+path, func() error {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil))
			if w.Code != http.StatusOK {
				return fmt.Errorf("%s: %d", path, w.Code)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

const repeats = 9

// timed prints the median of several times, and of the processor times that this program
// took, which other programs of a busy host disturb less.
func timed(name string, do func() error) error {
	var took, used []time.Duration
	for range repeats {
		began, before := time.Now(), processor()
		if err := do(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		took, used = append(took, time.Since(began)), append(used, processor()-before)
	}
	slices.Sort(took)
	slices.Sort(used)
	fmt.Printf("%-25s %8.1f ms (slowest %.1f), processor %.1f\n", name, took[repeats/2].Seconds()*1e3, took[repeats-1].Seconds()*1e3, used[repeats/2].Seconds()*1e3)
	return nil
}

// processor is how much processor time this program has used.
func processor() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
