// Package progress carries the news of long work (downloads, image builds)
// from the code that does it to whoever shows it, through the context. Code
// that works never knows whether anybody looks.
package progress

import (
	"context"
	"errors"
	"io"
)

// Reporter hears of each task as it starts. It must be safe for use by
// several goroutines.
type Reporter interface {
	// Task announces a piece of work. total is its size in bytes, 0 when it
	// is not known.
	Task(name string, total int64) Task
}

// Task receives the news of one piece of work. Done is called exactly once.
type Task interface {
	// Add says that n more bytes are done.
	Add(n int64)
	// Note says in a few words what is being done at the moment.
	Note(line string)
	// Done ends the task; err is nil when it succeeded.
	Done(err error)
}

// What Done may get that is no failure.
var (
	ErrInterrupted = errors.New("interrupted") // the user ended the program
	ErrPutOff      = errors.New("put off")     // it goes on later
)

type contextKey struct{}

// With returns a context whose work is reported to r.
func With(ctx context.Context, r Reporter) context.Context {
	return context.WithValue(ctx, contextKey{}, r)
}

// From returns the context's Reporter, or one that shows nothing.
func From(ctx context.Context) Reporter {
	if r, ok := ctx.Value(contextKey{}).(Reporter); ok && r != nil {
		return r
	}
	return nop{}
}

// Reader returns r with each byte read through it added to t.
func Reader(r io.Reader, t Task) io.Reader { return &reader{r, t} }

type reader struct {
	r io.Reader
	t Task
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.t.Add(int64(n))
	return n, err
}

type nop struct{}

func (nop) Task(string, int64) Task { return nop{} }
func (nop) Add(int64)               {}
func (nop) Note(string)             {}
func (nop) Done(error)              {}
