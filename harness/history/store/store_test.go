package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/internal/sample"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
)

func opened(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func record(t *testing.T, s *store.Store, boots ...sample.Boot) {
	t.Helper()
	for _, b := range boots {
		if _, err := s.Record(t.Context(), b.Result()); err != nil {
			t.Fatal(err)
		}
	}
}

func at(minutes int) time.Time { return sample.Begin.Add(time.Duration(minutes) * time.Minute) }

const tiny = "tiny/x86_64/none/tiny"

func TestWhatWasRecordedIsFound(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "new", "history.db"))
	record(t, s,
		sample.Boot{Release: "6.1.0", Cell: tiny, At: at(0)},
		sample.Boot{Release: "6.1.0", Cell: tiny, At: at(1), Warning: "WARNING in demo_init"},
		sample.Boot{Release: "6.12.0", Cell: tiny, At: at(2), Hang: "hang/mutex/demo"},
		sample.Boot{Release: "6.12.0", Cell: "distro/x86_64/none/dracut", At: at(3)},
	)
	for _, c := range []struct {
		filter store.Filter
		want   string
	}{
		{store.Filter{}, "6.12.0 distro/x86_64/none/dracut -, 6.12.0 tiny/x86_64/none/tiny hang/mutex/demo, 6.1.0 tiny/x86_64/none/tiny -, 6.1.0 tiny/x86_64/none/tiny -"},
		{store.Filter{Limit: 1}, "6.12.0 distro/x86_64/none/dracut -"},
		{store.Filter{Failed: true}, "6.12.0 tiny/x86_64/none/tiny hang/mutex/demo"},
		{store.Filter{Signature: "hang/mutex/demo"}, "6.12.0 tiny/x86_64/none/tiny hang/mutex/demo"},
		{store.Filter{Signature: "hang: hang"}, "6.12.0 tiny/x86_64/none/tiny hang/mutex/demo"},
		{store.Filter{Scenario: "tiny", Release: "6.1.0", Since: at(1)}, "6.1.0 tiny/x86_64/none/tiny -"},
		{store.Filter{Arch: "aarch64"}, ""},
	} {
		runs, err := s.Runs(t.Context(), c.filter)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range runs {
			sig := "-"
			if r.Failure != nil {
				sig = r.Failure.Signature
			}
			got = append(got, r.Kernel.Release+" "+r.Cell.Name+" "+sig)
		}
		if g := strings.Join(got, ", "); g != c.want {
			t.Errorf("%+v:\n%s\nwant\n%s", c.filter, g, c.want)
		}
	}
	for by, want := range map[store.By]string{
		store.ByKernel: "6.12.0 2/1 6.1.0 2/0", store.ByScenario: "distro/x86_64/none/dracut 1/0 tiny/x86_64/none/tiny 3/1", store.BySignature: "hang: hang/mutex/demo 1/1",
	} {
		groups, err := s.Groups(t.Context(), by, store.Filter{})
		var got []string
		for _, g := range groups {
			got = append(got, fmt.Sprintf("%s %d/%d", g.Name, g.Runs, g.Failed))
		}
		if g := strings.Join(got, " "); err != nil || g != want {
			t.Errorf("by %s: %s, want %s: %v", by, g, want, err)
		}
	}
}

// The same run is counted once, and what an import makes is what recording made.
func TestImport(t *testing.T) {
	dir := t.TempDir()
	s := opened(t, filepath.Join(dir, "history.db"))
	for i := range 3 {
		r := sample.Boot{Release: "6.1.0", Cell: tiny, At: at(i)}.Result()
		r.Dir = filepath.Join(dir, "runs", fmt.Sprint(i))
		if err := os.MkdirAll(r.Dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := r.Write(rundir.Result); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := s.Record(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	second := sample.Boot{Release: "6.1.0", Cell: tiny, At: at(9)}.Result() // a part of the run above it
	second.Dir = filepath.Join(dir, "runs", "1", rundir.Second)
	if err := os.MkdirAll(second.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := second.Write(rundir.Result); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "runs", "torn"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "runs", "torn", rundir.Result), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	im, err := s.Import(t.Context(), filepath.Join(dir, "runs"))
	if err != nil || im.Found != 3 || im.Added != 2 || im.Unread != 1 || len(im.Skipped) != 1 {
		t.Errorf("first: %+v, %v", im, err)
	}
	if err := os.Rename(filepath.Join(dir, "runs"), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	im, err = s.Import(t.Context(), filepath.Join(dir, "moved"))
	if err != nil || im.Found != 3 || im.Added != 0 {
		t.Errorf("again: %+v, %v", im, err)
	}
	runs, err := s.Runs(t.Context(), store.Filter{})
	if err != nil || len(runs) != 3 || runs[0].Dir != filepath.Join(dir, "moved", "2") {
		t.Errorf("%+v, %v", runs, err)
	}
	if _, err := s.Import(t.Context(), filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a directory that is not there was imported")
	}
}

// What pruning leaves is what recording the remaining runs alone would have made.
func TestPrune(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "history.db"))
	record(t, s,
		sample.Boot{Release: "6.1.0", Cell: tiny, At: at(0), Hang: "hang/old", Warning: "WARNING in old"},
		sample.Boot{Release: "6.12.0", Cell: tiny, At: at(1), Hang: "hang/kept"},
		sample.Boot{Release: "6.12.0", Cell: tiny, At: at(2), Warning: "WARNING in demo"},
	)
	n, err := s.Prune(t.Context(), at(1))
	if err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	kernels, err := s.Kernels(t.Context())
	if err != nil || len(kernels) != 1 || kernels[0].Release != "6.12.0" || !kernels[0].First.Equal(at(1)) {
		t.Errorf("kernels: %+v, %v", kernels, err)
	}
	if groups, err := s.Groups(t.Context(), store.BySignature, store.Filter{}); err != nil || len(groups) != 1 || groups[0].ID != "hang/kept" {
		t.Errorf("failures: %+v, %v", groups, err)
	}
}

// TestWriter is not a test: it is the other process of TestTwoProcesses.
func TestWriter(t *testing.T) {
	path, name, _ := strings.Cut(os.Getenv("UNWEDGE_TEST_WRITER"), "\n")
	if path == "" {
		t.Skip("it is run by TestTwoProcesses")
	}
	s := opened(t, path)
	for i := range 100 {
		record(t, s, sample.Boot{Release: "7.0", Build: name, Cell: tiny, At: at(i)})
	}
}

func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	var wg sync.WaitGroup
	for _, name := range []string{"a", "b", "c"} {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWriter$")
			cmd.Env = append(os.Environ(), "UNWEDGE_TEST_WRITER="+path+"\n"+name)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	groups, err := opened(t, path).Groups(t.Context(), store.ByKernel, store.Filter{})
	if err != nil || len(groups) != 3 {
		t.Fatalf("%+v, %v", groups, err)
	}
	for _, g := range groups {
		if g.Runs != 100 {
			t.Errorf("%+v", g)
		}
	}
}

func TestWhatIsNoHistoryIsSaid(t *testing.T) {
	dir := t.TempDir()
	whole := filepath.Join(dir, "whole.db")
	s := opened(t, whole)
	for i := range 200 {
		record(t, s, sample.Boot{Release: fmt.Sprint("7.", i), Cell: tiny, At: at(i), Hang: fmt.Sprint("hang/", i)})
	}
	s.Close()
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	torn := append([]byte(nil), content[:len(content)/2]...)
	for name, c := range map[string]struct {
		content []byte
		want    string
	}{
		"text": {[]byte(strings.Repeat("this is no database\n", 300)), "history import"},
		"torn": {torn, "history import"},
	} {
		path := filepath.Join(dir, name+".db")
		if err := os.WriteFile(path, c.content, 0o644); err != nil {
			t.Fatal(err)
		}
		err := use(t.Context(), path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := store.Read(t.Context(), filepath.Join(dir, "none.db")); !errors.Is(err, store.ErrNone) {
		t.Errorf("no file: %v", err)
	}
	if _, err := store.Open(t.Context(), "/proc/nowhere/history.db"); err == nil {
		t.Error("a history was made in /proc")
	}
}

// use writes and reads.
func use(ctx context.Context, path string) error {
	s, err := store.Open(ctx, path)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := s.Record(ctx, sample.Boot{Release: "8.0", Cell: tiny, At: at(1000), Hang: "hang/new"}.Result()); err != nil {
		return err
	}
	_, err = s.Runs(ctx, store.Filter{})
	return err
}

// What a guest printed stays one line of bounded length.
func TestHostileText(t *testing.T) {
	s := opened(t, filepath.Join(t.TempDir(), "history.db"))
	r := sample.Boot{Release: "7.0\x1b[2J'; DROP TABLE run; --", Cell: tiny, At: at(0), Hang: strings.Repeat("x\n", 5000)}.Result()
	r.Kernel.Running = &result.Running{Release: "\xff"}
	if _, err := s.Record(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	runs, err := s.Runs(t.Context(), store.Filter{Release: "7.0␛[2J'; DROP TABLE run; --"})
	if err != nil || len(runs) != 1 || len(runs[0].Failure.Title) > 2000 || strings.ContainsAny(runs[0].Failure.Title, "\n\x1b") {
		t.Errorf("%+v, %v", runs, err)
	}
}
