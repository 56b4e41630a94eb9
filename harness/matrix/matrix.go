// Package matrix boots many cells, several at a time, and says what distinguishes
// those that failed from the others.
package matrix

import (
	"context"
	"sync"

	"github.com/unwedge/unwedge/harness/result"
)

// Cell is one boot to be made. Its index is its place in the table.
type Cell[T any] struct {
	Index int
	Job   T
}

// Done is a finished cell: a Result, or the error of a harness that failed.
type Done[T any] struct {
	Cell[T]
	Result *result.Result
	Err    error
}

// Run boots the jobs in order with boot, at most parallel at a time, and calls done
// as each ends, from one goroutine at a time. When ctx ends, cells that have not
// begun get its cause as their error.
func Run[T any](ctx context.Context, jobs []T, parallel int, boot func(context.Context, Cell[T]) (*result.Result, error), done func(Done[T])) []Done[T] {
	out := make([]Done[T], len(jobs))
	todo := make(chan int)
	var wg sync.WaitGroup
	var telling sync.Mutex
	finish := func(d Done[T]) {
		telling.Lock()
		defer telling.Unlock()
		out[d.Index] = d
		done(d)
	}
	for range max(1, min(parallel, len(jobs))) {
		wg.Go(func() {
			for i := range todo {
				d := Done[T]{Cell: Cell[T]{i, jobs[i]}}
				if ctx.Err() != nil {
					d.Err = context.Cause(ctx)
				} else {
					d.Result, d.Err = boot(ctx, d.Cell)
				}
				finish(d)
			}
		})
	}
	for i := range jobs {
		todo <- i
	}
	close(todo)
	wg.Wait()
	return out
}
