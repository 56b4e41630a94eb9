package unwedgetest

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/onsi/ginkgo/v2"

	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/report"
	"github.com/unwedge/unwedge/harness/result"
)

// historyTime bounds how long a boot waits for the history.
const historyTime = 10 * time.Second

// remember says what the history has of a boot's failure, and records the boot where
// UNWEDGE_OUT keeps its artifacts. A history that cannot be used costs a line of the log.
func remember(ctx context.Context, r *result.Result) (before string) {
	ctx, cancel := context.WithTimeout(ctx, historyTime)
	defer cancel()
	path, err := store.Path()
	if err == nil {
		before, err = rememberIn(ctx, path, r, os.Getenv("UNWEDGE_OUT") != "")
	}
	if err != nil {
		ginkgo.GinkgoWriter.Printf("history: %v\n", err)
	}
	return before
}

func rememberIn(ctx context.Context, path string, r *result.Result, record bool) (before string, err error) {
	if _, err := os.Stat(path); err != nil && !record {
		return "", nil // nothing was ever recorded here
	}
	s, err := store.Open(ctx, path)
	if err != nil {
		return "", err
	}
	defer s.Close()
	if before, err = seenBefore(ctx, s, r); err == nil && record {
		_, err = s.Record(ctx, r)
	}
	return before, err
}

// seenBefore says in how many earlier runs of the same cell a failure was seen; "" of a
// boot that did not fail.
func seenBefore(ctx context.Context, s *store.Store, r *result.Result) (string, error) {
	if r.Expected || r.Diagnosis == nil || r.Diagnosis.Signature == "" {
		return "", nil
	}
	in := store.Filter{Scenario: r.Scenario.Name}
	all, err := s.Groups(ctx, store.ByScenario, in)
	if err != nil {
		return "", err
	}
	runs := 0
	for _, g := range all {
		runs += g.Runs
	}
	failures, err := s.Groups(ctx, store.BySignature, in)
	for _, f := range failures {
		if f.ID == report.Safe(r.Diagnosis.Signature, 300) {
			return fmt.Sprintf("seen in %d of %d earlier runs of this cell, first on %s", f.Runs, runs, f.First.Format(time.DateOnly)), err
		}
	}
	if runs == 0 {
		return "", err
	}
	return fmt.Sprintf("none of %d earlier runs of this cell showed it", runs), err
}
