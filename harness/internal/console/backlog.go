package console

import (
	"iter"
	"sync"
)

// backlog is what was read and is not yet in the log file. However small the
// pieces come, it holds up to its limit in bytes.
type backlog struct {
	limit   int
	mu      *sync.Mutex
	changed *sync.Cond
	pending []byte
	ended   bool
}

func newBacklog(limit int) backlog {
	mu := &sync.Mutex{}
	return backlog{limit: limit, mu: mu, changed: sync.NewCond(mu)}
}

// put appends a copy of p, which is shorter than the limit. It waits while
// there is no room, and says whether it had to.
func (b *backlog) put(p []byte) (waited bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.pending)+len(p) > b.limit {
		waited = true
		b.changed.Wait()
	}
	b.pending = append(b.pending, p...)
	b.changed.Broadcast()
	return waited
}

// end says that there will be no more.
func (b *backlog) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.changed.Broadcast()
}

// all gives what was put, in order, until the end. A piece is valid until the
// next one is asked for.
func (b *backlog) all() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var piece []byte
		for {
			b.mu.Lock()
			for len(b.pending) == 0 && !b.ended {
				b.changed.Wait()
			}
			piece, b.pending = b.pending, piece[:0]
			b.changed.Broadcast()
			b.mu.Unlock()
			if len(piece) == 0 || !yield(piece) {
				return
			}
		}
	}
}
