package store

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/internal/sample"
)

// A disk that is full costs the run that does not fit, and nothing of what was there.
func TestFullDisk(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.db.SetMaxOpenConns(1)
	if _, err := s.db.ExecContext(t.Context(), "PRAGMA max_page_count = 60"); err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		_, err := s.Record(t.Context(), sample.Boot{Release: fmt.Sprint("7.", i), Cell: "tiny", At: sample.Begin.Add(time.Duration(i) * time.Second)}.Result())
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), "is the disk full?") {
			t.Errorf("%v", err)
		}
		runs, err := s.Runs(t.Context(), Filter{})
		if err != nil || len(runs) != i || i == 0 {
			t.Errorf("%d runs of %d: %v", len(runs), i, err)
		}
		return
	}
	t.Error("the disk was never full")
}

// A history that cannot be written can be read.
func TestReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Record(t.Context(), sample.Boot{Release: "7.0", Cell: "tiny", At: sample.Begin}.Result()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	ro, err := open(path, "mode=ro&immutable=1") // what Read does where it may not write; root may always
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if err := ro.check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if runs, err := ro.Runs(t.Context(), Filter{}); err != nil || len(runs) != 1 {
		t.Errorf("%v, %v", runs, err)
	}
	if _, err := ro.Record(t.Context(), sample.Boot{Release: "7.1", Cell: "tiny", At: sample.Begin}.Result()); err == nil {
		t.Error("it was written")
	}
}

func TestLaterVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.ExecContext(t.Context(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "use a later unwedge") {
		t.Errorf("%v", err)
	}
}

// A history that an earlier unwedge has written is taken over with what is in it.
func TestEarlierVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s, err := open(path, "mode=rwc")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.ExecContext(t.Context(), schema+"PRAGMA user_version = 1;"); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s, err = Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := sample.Boot{Release: "7.0", Cell: "tiny", At: sample.Begin, Initcalls: map[string]time.Duration{"demo_init": time.Second}}
	if _, err := s.Record(t.Context(), b.Result()); err != nil {
		t.Fatal(err)
	}
	kernels, err := s.Kernels(t.Context())
	if err != nil || len(kernels) != 1 {
		t.Fatalf("%v, %v", kernels, err)
	}
	times, err := s.InitcallTimes(t.Context(), 10, kernels[0].ID)
	if err != nil || len(times) != 1 || times[0].Name != "demo_init" || times[0].Took != 1 {
		t.Errorf("%v, %v", times, err)
	}
}
