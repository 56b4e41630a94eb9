package compare_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/history/compare"
	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/internal/sample"
)

// retried is a retry of a history in which B failed once and A did not, with kernels that
// fail at a rate.
func retried(t *testing.T, r *rand.Rand, rateA, rateB float64, most int) compare.Report {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	at := sample.Begin
	record := func(release string, fails bool) error {
		at = at.Add(time.Minute)
		b := sample.Boot{Release: release, Cell: tiny, At: at}
		if fails {
			b.Hang = "hang/demo"
		}
		_, err := s.Record(t.Context(), b.Result())
		return err
	}
	if err := record("A", false); err != nil {
		t.Fatal(err)
	}
	if err := record("B", true); err != nil {
		t.Fatal(err)
	}
	report, err := compare.Retry{
		History: s, A: "A", B: "last", Confidence: 0.95, Boots: most, Say: func(string) {},
		Boot: func(_ context.Context, run store.Run) error {
			rate := map[string]float64{"A": rateA, "B": rateB}[run.Kernel.Release]
			return record(run.Kernel.Release, r.Float64() < rate)
		},
	}.Until(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestRetry(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		name         string
		rateA, rateB float64
		most         int
		want         compare.State
		boots        int
	}{
		{"always", 0, 1, 100, compare.New, 8},
		{"both", 1, 1, 100, compare.Flaky, 8},
		{"too few allowed", 0, 1, 5, compare.MaybeNew, 4},
		{"none allowed", 0, 1, 1, compare.MaybeNew, 0},
	} {
		got := retried(t, r, c.rateA, c.rateB, c.most)
		if len(got.Entries) != 1 || got.Entries[0].State != c.want || got.Retried != c.boots {
			t.Errorf("%s: %d boots, %+v", c.name, got.Retried, got.Entries)
		}
	}
	var b strings.Builder
	if err := compare.Text(&b, retried(t, r, 0, 1, 100)); err != nil || !strings.Contains(b.String(), "8 boots were made for this") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// A kernel that fails no more often than the other is seldom called new, although the
// question is asked again and again; one that fails half of the time is found.
func TestRetryDoesNotAskUntilItIsTold(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	const times = 8
	for _, c := range []struct {
		rateA, rateB float64
		low, high    int
	}{{0.2, 0.2, 0, 1}, {0, 0.5, 7, times}} {
		fresh, boots := 0, 0
		for range times {
			got := retried(t, r, c.rateA, c.rateB, 200)
			if boots += got.Retried; got.Entries[0].State == compare.New {
				fresh++
			}
		}
		t.Logf("A fails %.0f %%, B %.0f %%: new in %d of %d, by %.1f boots each", 100*c.rateA, 100*c.rateB, fresh, times, float64(boots)/times)
		if fresh < c.low || fresh > c.high {
			t.Errorf("%+v: %d", c, fresh)
		}
	}
}
