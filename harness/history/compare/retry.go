package compare

import (
	"context"
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/harness/history/store"
	"github.com/unwedge/unwedge/harness/internal/usage"
)

// Retry compares two kernels, and boots both again where that is needed to be sure.
//
// Who looks at the same question again and again, until chance gives the answer, is wrong
// more often than each look says. So the k-th look asks for a p-value of (1 - Confidence) /
// 2^k: all looks together err at most as often as Confidence allows. Between two looks as
// many boots are made as the next one needs, if they go on as they did.
type Retry struct {
	History *store.Store
	// A and B are as in Kernels.
	A, B string
	// Confidence is that of the answer, Boots how many boots it may take.
	Confidence float64
	Boots      int
	// Boot boots the guest of a run again and records it.
	Boot func(context.Context, store.Run) error
	// Say tells what is done.
	Say func(string)
}

// Until boots until each failure and each finding is new or fixed for sure, or both
// kernels show it, or Boots are made. Errors of the user's wrap usage.Error.
func (t Retry) Until(ctx context.Context) (Report, error) {
	a, b, err := sides(ctx, t.History, t.A, t.B)
	if err != nil {
		return Report{}, err
	}
	made, part := 0, (1-t.Confidence)/2
	for {
		r, err := of(ctx, t.History, a, b, 1-part)
		r.Retried = made
		switch {
		case err != nil:
			return r, err
		case !slices.ContainsFunc(r.Entries, Entry.unsure) && made == 0: // as without a retry
			return of(ctx, t.History, a, b, t.Confidence)
		case !slices.ContainsFunc(r.Entries, Entry.unsure):
			return r, nil
		}
		part /= 2
		next, err := of(ctx, t.History, a, b, 1-part)
		if err != nil {
			return r, err
		}
		n, err := t.round(ctx, next, t.Boots-made)
		if err != nil || n == 0 {
			return r, err
		}
		made += n
	}
}

// round makes the boots that a report asks for, but at most so many, and says how many
// these were.
func (t Retry) round(ctx context.Context, r Report, most int) (made int, err error) {
	type plan struct {
		cell string
		runs [2]store.Run
		left int
	}
	var plans []*plan
	byCell := map[int64]*plan{}
	for _, e := range r.Entries {
		if !e.unsure() {
			continue
		}
		p := byCell[e.cell]
		if p == nil {
			p = &plan{cell: e.Cell}
			for i, side := range []Side{r.A, r.B} {
				if p.runs[i], err = t.last(ctx, side, e); err != nil {
					return 0, err
				}
			}
			byCell[e.cell], plans = p, append(plans, p)
		}
		p.left = max(p.left, e.More, 1)
	}
	for more := true; more; { // the kernels and the cells in turns: what disturbs the host disturbs all
		more = false
		for _, p := range plans {
			if p.left == 0 || made+2 > most {
				continue
			}
			t.Say(fmt.Sprintf("boot both kernels again in %s, at most %d times more", p.cell, p.left))
			for _, run := range p.runs {
				if err := t.Boot(ctx, run); err != nil {
					return made, err
				}
				made++
			}
			p.left--
			more = true
		}
	}
	return made, nil
}

// last is the latest run of a side in the cell of an entry.
func (t Retry) last(ctx context.Context, side Side, e Entry) (store.Run, error) {
	for _, k := range side.Kernels {
		runs, err := t.History.Runs(ctx, store.Filter{Kernel: k.ID, Cell: e.cell, Limit: 1})
		if err != nil || len(runs) > 0 {
			return append(runs, store.Run{})[0], err
		}
	}
	return store.Run{}, usage.Errorf("retry %q: %s was never booted in %s: boot it there once", e.Title, side.describe(), e.Cell)
}
