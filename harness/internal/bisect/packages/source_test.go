package packages_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/internal/bisect/packages"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel"
)

// Only a kernel's own faults are a reason to go on without it.
func TestPrepare(t *testing.T) {
	var answer error
	s := &packages.Source{
		Range: &packages.Range{
			Good:       candidate.PackageVersion{Version: "1-1", Release: "1-cloud", Arg: "deb:a=1-1@x", Suite: "x"},
			Candidates: []candidate.PackageVersion{{Version: "2-1", Arg: "deb:a=2-1@x", Suite: "x"}, {Arg: "/k/linux-3", Size: 7, Changed: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}},
		},
		Resolve: func(context.Context, string) (*candidate.Candidate, error) {
			return &candidate.Candidate{Kernel: &kernel.Kernel{SHA256: "abc"}}, answer
		},
	}
	if g := s.Good(); len(g) != 1 || g[0] != (bisect.Candidate{ID: "deb:a=1-1@x", Name: "1-1", About: "1-cloud"}) {
		t.Errorf("good ends %+v", g)
	}
	all := s.Candidates()
	if len(all) != 2 || all[0].Name != "2-1" || all[1].Name != "linux-3" {
		t.Errorf("candidates %+v", all)
	}
	if all[0].Stamp != "" || all[1].Stamp != "7 bytes of 2026-01-02T03:04:05Z" {
		t.Errorf("stamps %q %q: only a file can change", all[0].Stamp, all[1].Stamp)
	}
	if k, err := s.Prepare(t.Context(), all[0], nil); err != nil || k.Arg != all[0].ID || k.Image != "sha256:abc" {
		t.Errorf("%+v, %v", k, err)
	}
	for _, c := range []struct {
		err  error
		skip bool
	}{
		{&candidate.NotFoundError{Arg: "a", Reason: "gone"}, true},
		{&kernel.BadKernelError{Path: "a", Reason: "torn"}, true},
		{&plan.UnsupportedError{Scenario: "fips", Release: "1", Reason: "no FIPS"}, true},
		{errors.New("no space left on device"), false},
	} {
		answer = c.err
		_, err := s.Prepare(t.Context(), all[0], make(chan struct{}))
		if got := errors.As(err, new(*bisect.UnbuildableError)); got != c.skip || err == nil {
			t.Errorf("%v: %v", c.err, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	answer = &candidate.NotFoundError{Arg: "a", Reason: "gone"}
	if _, err := s.Prepare(ctx, all[0], nil); !errors.Is(err, stop) {
		t.Errorf("after the end of ctx: %v", err)
	}
}
