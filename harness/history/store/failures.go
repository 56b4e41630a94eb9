package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/unwedge/unwedge/harness/history/stats"
)

// Seen is a failure, and where it was seen.
type Seen struct {
	// ID is the history's own number for it.
	ID int64 `json:"id"`
	Failure
	// Runs and Kernels are in how many runs, of how many kernels.
	Runs    int `json:"runs"`
	Kernels int `json:"kernels"`
	// First and Last are when the first and the last of the runs began.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

// KernelRate is how often a kernel showed a failure, in the cells in which any kernel did.
type KernelRate struct {
	Kernel
	// Seen is in how many of the Boots.
	Seen  int `json:"seen"`
	Boots int `json:"boots"`
}

// Interval is the Wilson interval of the rate, at 95 %.
func (r KernelRate) Interval() string {
	low, high := stats.Wilson(r.Seen, r.Boots, 0.95)
	return fmt.Sprintf("%.0f to %.0f %%", 100*low, 100*high)
}

// ErrUnknown says that the history has no such failure.
var ErrUnknown = errors.New("the history has no such failure")

const seenColumns = "SELECT f.id, f.signature, f.title, f.cause, t.runs, t.kernels, t.first, t.last FROM failure f JOIN (SELECT failure, sum(runs) AS runs, count(DISTINCT kernel) AS kernels, min(first) AS first, max(last) AS last FROM tally_failure "

func (s *Store) seen(ctx context.Context, rest string, args ...any) ([]Seen, error) {
	return list(ctx, s, seenColumns+rest, func(rows *sql.Rows) (x Seen, err error) {
		return x, rows.Scan(&x.ID, &x.Signature, &x.Title, &x.Cause, &x.Runs, &x.Kernels, nanosTo{&x.First}, nanosTo{&x.Last})
	}, args...)
}

// Failures are the failures that were seen last.
func (s *Store) Failures(ctx context.Context, limit int) ([]Seen, error) {
	return s.seen(ctx, "GROUP BY failure) t ON t.failure = f.id ORDER BY t.last DESC LIMIT ?", limit)
}

// Failure is one failure. The error is ErrUnknown where there is none.
func (s *Store) Failure(ctx context.Context, id int64) (Seen, error) {
	found, err := s.seen(ctx, "WHERE failure = ? GROUP BY failure) t ON t.failure = f.id", id)
	if err == nil && len(found) == 0 {
		err = ErrUnknown
	}
	if err != nil {
		return Seen{}, err
	}
	return found[0], nil
}

// FailureByKernel is how often each kernel showed a failure, that with the latest run
// first.
func (s *Store) FailureByKernel(ctx context.Context, id int64, limit int) ([]KernelRate, error) {
	return list(ctx, s, "SELECT "+kernelColumns+`, t.seen, t.boots FROM kernel k JOIN (
SELECT t.kernel, sum(coalesce(f.runs, 0)) AS seen, sum(t.runs) AS boots FROM tally t
LEFT JOIN tally_failure f ON f.kernel = t.kernel AND f.cell = t.cell AND f.host = t.host AND f.failure = ?1
WHERE t.cell IN (SELECT cell FROM tally_failure WHERE failure = ?1) GROUP BY t.kernel) t ON t.kernel = k.id ORDER BY k.last DESC LIMIT ?2`, func(rows *sql.Rows) (r KernelRate, err error) {
		return r, rows.Scan(append(r.fields(), &r.Seen, &r.Boots)...)
	}, id, limit)
}
