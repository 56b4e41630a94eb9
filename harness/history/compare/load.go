package compare

import (
	"context"
	"time"

	"github.com/unwedge/unwedge/harness/history/boottime"
	"github.com/unwedge/unwedge/harness/history/store"
)

// Kernels compares what a history has of two kernels, see Select and Of.
func Kernels(ctx context.Context, s *store.Store, a, b string, confidence float64) (Report, error) {
	sideA, sideB, err := sides(ctx, s, a, b)
	if err != nil {
		return Report{}, err
	}
	return of(ctx, s, sideA, sideB, confidence)
}

// sides are Select's, of a history.
func sides(ctx context.Context, s *store.Store, a, b string) (sideA, sideB Side, err error) {
	kernels, err := s.Kernels(ctx)
	if err != nil {
		return sideA, sideB, err
	}
	return Select(kernels, a, b, func(b Side) ([]int64, error) { return s.Neighbours(ctx, b.IDs()...) })
}

// of is Of, of a history.
func of(ctx context.Context, s *store.Store, a, b Side, confidence float64) (Report, error) {
	d, err := load(ctx, s, a, b)
	if err != nil {
		return Report{}, err
	}
	return Of(a, b, d, confidence), nil
}

func load(ctx context.Context, s *store.Store, a, b Side) (d Data, err error) {
	read := func(to *error, do func() error) {
		if *to == nil {
			*to = do()
		}
	}
	var first time.Time // of B
	for _, k := range b.Kernels {
		if first.IsZero() || k.First.Before(first) {
			first = k.First
		}
	}
	read(&err, func() (e error) { d.TalliesA, e = s.Tallies(ctx, a.IDs()...); return e })
	read(&err, func() (e error) { d.TalliesB, e = s.Tallies(ctx, b.IDs()...); return e })
	read(&err, func() (e error) { d.CountsA, e = s.Counts(ctx, a.IDs()...); return e })
	read(&err, func() (e error) { d.CountsB, e = s.Counts(ctx, b.IDs()...); return e })
	read(&err, func() (e error) { d.Before, e = s.SeenBefore(ctx, b.IDs(), a.IDs(), first); return e })
	read(&err, func() (e error) { d.TimesA, e = s.StageTimes(ctx, a.IDs()...); return e })
	read(&err, func() (e error) { d.TimesB, e = s.StageTimes(ctx, b.IDs()...); return e })
	read(&err, func() (e error) { d.CallsA, e = s.InitcallTimes(ctx, boottime.MaxInitcallBoots, a.IDs()...); return e })
	read(&err, func() (e error) { d.CallsB, e = s.InitcallTimes(ctx, boottime.MaxInitcallBoots, b.IDs()...); return e })
	return d, err
}
