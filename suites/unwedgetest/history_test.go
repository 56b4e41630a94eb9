package unwedgetest

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/scenarios"
)

func TestRemember(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	boot := func(release string) *result.Result {
		return &result.Result{
			Schema: result.Schema, Expected: true, Outcome: scenarios.Booted, Scenario: scenarios.Scenario{Name: "tiny/x86_64/none/tiny"},
			Kernel: result.Kernel{Release: release}, Times: result.Times{Started: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		}
	}
	good, bad := boot("6.9"), boot("7.0")
	bad.Expected, bad.Outcome = false, scenarios.Hung
	bad.Times.Wall = time.Second
	bad.Diagnosis = &result.Diagnosis{Title: "hang: demo", Signature: "hang/demo", Cause: result.CauseMutex}
	for i, c := range []struct {
		boot   int
		record bool
		want   string
	}{
		{1, false, ""}, // there is no history, and none is made
		{0, true, ""},
		{1, false, "none of 1 earlier runs of this cell showed it"},
		{1, true, "none of 1 earlier runs of this cell showed it"},
		{1, false, "seen in 1 of 2 earlier runs of this cell, first on 2026-01-01"},
	} {
		r := good
		if c.boot == 1 {
			r = bad
		}
		got, err := rememberIn(t.Context(), path, r, c.record)
		if err != nil || got != c.want {
			t.Errorf("%d: %q, %v", i, got, err)
		}
	}
	a := artifacts(bad)
	a.History = "none of 1 earlier runs of this cell showed it"
	if s := a.String(); !strings.Contains(s, "hang: demo") || !strings.Contains(s, "none of 1") {
		t.Error(s)
	}
}
