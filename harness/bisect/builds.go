package bisect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/unwedge/unwedge/images/progress"
)

// ErrNotNow is why a build in the background was ended that another one must not
// wait for. It goes on where it was when it is wanted.
var ErrNotNow = fmt.Errorf("%w: another candidate is wanted first", progress.ErrPutOff)

// builds prepares candidates, one at a time: the one that is asked for, and,
// while that one boots, those that are likely to be asked for next. What is
// prepared is in the journal.
type builds struct {
	source  Source
	journal *journal

	mu    sync.Mutex
	done  map[string]prepared
	early map[string]time.Duration // the part of each build that was done before anybody asked
	// In the background: what is wanted, what is being made, how to end that, and
	// a channel that is closed when nothing runs.
	want   []Candidate
	at     string
	cancel context.CancelCauseFunc
	hurry  chan struct{} // closed when what is being made is asked for
	idle   chan struct{}
	made   int
	broken int
}

type prepared struct {
	kernel Kernel
	err    error // an UnbuildableError
}

func newBuilds(s Source, j *journal) *builds {
	return &builds{source: s, journal: j, done: map[string]prepared{}, early: map[string]time.Duration{}}
}

// get returns a candidate's kernel, made now where it has not been. before is
// the time that was saved by having begun before.
func (b *builds) get(ctx context.Context, c Candidate) (k Kernel, before time.Duration, err error) {
	start := time.Now()
	b.leave(c.ID)
	waited := time.Since(start)
	p, err := b.prepare(ctx, c, nil)
	if err != nil {
		return Kernel{}, 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e, ok := b.early[c.ID]; ok {
		before = max(0, e-waited)
		delete(b.early, c.ID)
	}
	return p.kernel, before, p.err
}

// ahead prepares these in the background, in this order, until get wants
// another. It replaces what was asked for before; what is under way and still
// wanted goes on.
func (b *builds) ahead(ctx context.Context, cs []Candidate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.want = cs
	if b.idle == nil {
		b.idle = make(chan struct{})
		go b.background(ctx)
		return
	}
	if b.cancel != nil && !slices.ContainsFunc(cs, func(c Candidate) bool { return c.ID == b.at }) {
		b.cancel(ErrNotNow)
	}
}

// background prepares what is wanted until nothing is.
func (b *builds) background(ctx context.Context) {
	for {
		c, ctx, hurry, ok := b.take(ctx)
		if !ok {
			return
		}
		start := time.Now()
		_, err := b.prepare(ctx, c, hurry)
		b.mu.Lock()
		b.cancel(nil)
		switch {
		case err == nil:
			b.early[c.ID] = time.Since(start)
		case context.Cause(ctx) != ErrNotNow: //nolint:errorlint // it is set here, unwrapped
			b.want = nil // get will meet the same error, and tell it
		}
		b.mu.Unlock()
	}
}

// take finds the next candidate that is wanted, or ends the background.
func (b *builds) take(ctx context.Context) (Candidate, context.Context, <-chan struct{}, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.want {
		if _, there := b.done[c.ID]; there || ctx.Err() != nil {
			continue
		}
		ctx, b.cancel = context.WithCancelCause(ctx)
		b.at, b.hurry = c.ID, make(chan struct{})
		return c, ctx, b.hurry, true
	}
	close(b.idle)
	b.idle, b.cancel, b.hurry, b.at = nil, nil, nil, ""
	return Candidate{}, nil, nil, false
}

// leave ends what runs in the background, but for a candidate that is wanted
// now, which has to hurry, and waits for it.
func (b *builds) leave(wanted string) {
	b.mu.Lock()
	b.want = nil
	switch {
	case b.cancel == nil:
	case b.at != wanted:
		b.cancel(ErrNotNow)
	case b.hurry != nil:
		close(b.hurry)
		b.hurry = nil
	}
	idle := b.idle
	b.mu.Unlock()
	if idle != nil {
		<-idle
	}
}

// stop ends what runs in the background, and waits for it.
func (b *builds) stop() { b.leave("") }

// wasted is the time of builds that nobody asked for.
func (b *builds) wasted() (n int, sum time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.early {
		n++
		sum += d
	}
	return n, sum
}

// prepare makes one candidate, or takes it from what is there. Its error is not
// the candidate's. A kernel that is there is kept, though the build was to end: the
// word to end it may come when all is done. A failure then may be of that word.
func (b *builds) prepare(ctx context.Context, c Candidate, hurry <-chan struct{}) (prepared, error) {
	if p, ok := b.known(c); ok {
		return p, nil
	}
	k, err := b.source.Prepare(ctx, c, hurry)
	var bad *UnbuildableError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return prepared{}, context.Cause(ctx)
	case errors.As(err, &bad):
		err = bad
	default:
		return prepared{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e := entry{Candidate: c.ID, Stamp: c.Stamp}
	if bad != nil {
		e.Unbuildable = &unbuildable{bad.Reason, bad.Log}
		b.broken++
	} else {
		e.Kernel = &k
		b.made++
	}
	if err := b.journal.add(e); err != nil {
		return prepared{}, err
	}
	p := prepared{k, err}
	b.done[c.ID] = p
	return p, nil
}

// again makes a candidate anew whose files are gone: those of a bisection that
// was ended are tidied away.
func (b *builds) again(ctx context.Context, c Candidate) (Kernel, error) {
	b.leave("")
	b.mu.Lock()
	delete(b.done, c.ID)
	delete(b.journal.kernels, made{c.ID, c.Stamp})
	b.mu.Unlock()
	k, _, err := b.get(ctx, c)
	return k, err
}

// known is what was prepared before, in this run or another one.
func (b *builds) known(c Candidate) (prepared, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p, ok := b.done[c.ID]; ok {
		return p, true
	}
	var p prepared
	if u, ok := b.journal.unbuildable[made{c.ID, c.Stamp}]; ok {
		p.err = &UnbuildableError{c, u.Reason, u.Log}
	} else if k, ok := b.journal.kernels[made{c.ID, c.Stamp}]; ok {
		p.kernel = k
	} else {
		return prepared{}, false
	}
	b.done[c.ID] = p
	return p, true
}

// there says whether the files of a Kernel still exist; an Arg that is no path is
// for whoever resolves it.
func (k Kernel) there() bool {
	for _, path := range []string{k.Arg, k.ModulesDir} {
		if !filepath.IsAbs(path) {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}
