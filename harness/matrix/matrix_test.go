package matrix_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/unwedge/unwedge/harness/matrix"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

// points makes the 8 cells, failed where fails says so.
func points(t *testing.T, outcome scenarios.Outcome, fails func(scenarios.Scenario) bool) []matrix.Point {
	t.Helper()
	distro, err := scenarios.Builtin().Find("distro")
	if err != nil {
		t.Fatal(err)
	}
	var out []matrix.Point
	for _, c := range distro.Cells() {
		p := matrix.Point{Scenario: c, Kernel: "6.1.0-" + string(c.Arch), Outcome: scenarios.Booted, Expected: true}
		if fails(c) {
			p.Outcome, p.Expected = outcome, false
		}
		out = append(out, p)
	}
	return out
}

func TestDifference(t *testing.T) {
	none := func(s scenarios.Scenario) bool { return s.Entropy == scenarios.None }
	fips := func(s scenarios.Scenario) bool { return s.Initramfs.FIPS() }
	arm := func(s scenarios.Scenario) bool { return s.Arch == "aarch64" }
	type fails = func(scenarios.Scenario) bool
	for _, tc := range []struct {
		name    string
		outcome scenarios.Outcome
		fails   fails
		want    string
	}{
		{"nothing", scenarios.Hung, func(scenarios.Scenario) bool { return false }, ""},
		{"the story", scenarios.Hung, func(s scenarios.Scenario) bool { return none(s) && fips(s) }, "hangs only without virtio-rng and with fips=1"},
		{"one axis", scenarios.Panicked, none, "panics only without virtio-rng"},
		{"arch", scenarios.Rebooting, arm, "reboots only on aarch64"},
		{"three axes", scenarios.Hung, func(s scenarios.Scenario) bool { return none(s) && fips(s) && arm(s) },
			"hangs only on aarch64 and without virtio-rng and with fips=1"},
		{"all but", scenarios.Hung, func(s scenarios.Scenario) bool { return !(none(s) && fips(s)) },
			"hangs everywhere but without virtio-rng and with fips=1"},
		{"all", scenarios.Hung, func(scenarios.Scenario) bool { return true }, "hangs in all 8 cells"},
		{"no rule", scenarios.Hung, func(s scenarios.Scenario) bool { return none(s) != fips(s) },
			"hangs in 4 of 8 cells, with no single set of conditions that tells them from the others"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := matrix.Difference(points(t, tc.outcome, tc.fails)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestDifferenceOfKernels(t *testing.T) {
	s := scenarios.Scenario{Name: "tiny/x86_64/none/tiny"}
	got := matrix.Difference([]matrix.Point{
		{Scenario: s, Kernel: "6.1.0", Outcome: scenarios.Booted, Expected: true},
		{Scenario: s, Kernel: "7.3.0-rc1", Outcome: scenarios.Hung},
	})
	if want := "hangs only with kernel 7.3.0-rc1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRunKeepsOrderAndLimit(t *testing.T) {
	var now, most atomic.Int32
	boot := func(_ context.Context, c matrix.Cell[string]) (*result.Result, error) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		return &result.Result{Why: c.Job}, nil
	}
	told := 0
	out := matrix.Run(t.Context(), []string{"a", "b", "c", "d", "e"}, 2, boot, func(matrix.Done[string]) { told++ })
	if told != 5 || most.Load() > 2 {
		t.Errorf("told of %d cells, %d at once", told, most.Load())
	}
	for i, want := range []string{"a", "b", "c", "d", "e"} {
		if out[i].Result.Why != want || out[i].Index != i {
			t.Errorf("cell %d is %+v, want %s", i, out[i], want)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	out := matrix.Run(ctx, []int{0, 1, 2}, 1, func(ctx context.Context, c matrix.Cell[int]) (*result.Result, error) {
		if c.Index == 1 {
			cancel(stop)
			return nil, context.Cause(ctx)
		}
		return &result.Result{}, nil
	}, func(matrix.Done[int]) {})
	if out[0].Err != nil || !errors.Is(out[1].Err, stop) || !errors.Is(out[2].Err, stop) {
		t.Errorf("errors %v, %v, %v", out[0].Err, out[1].Err, out[2].Err)
	}
}
