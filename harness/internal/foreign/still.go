package foreign

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Stood is how a guest stood still.
type Stood struct {
	// Before is its status before.
	Before string
	// For is how long it was stopped; 0 where it did not run anyway.
	For time.Duration
	// Unsure says that the guest would have stayed stopped, had this process been
	// killed.
	Unsure bool
}

// answerTime bounds QEMU's answer when the guest is let go, which is asked for whatever
// happened before.
const answerTime = 10 * time.Second

// Still runs f while the guest stands still, for at most the given time. A guest that
// ran runs on afterwards, also if f fails, the context ends, or this process is killed
// meanwhile; one that did not is left as it is.
func (g *Guest) Still(ctx context.Context, most time.Duration, f func(context.Context) error) (s Stood, err error) {
	if s.Before, err = g.Status(ctx); err != nil {
		return s, err
	}
	if s.Before != Running {
		return s, f(ctx)
	}
	release, err := g.wire.insure()
	if err != nil {
		return s, fmt.Errorf("stop the guest: %w", err)
	}
	s.Unsure = release == nil
	// From here on the guest is let go, whatever happens.
	began := time.Now()
	defer func() {
		resumeErr := g.resume(context.WithoutCancel(ctx))
		s.For = time.Since(began)
		if release != nil {
			resumeErr = errors.Join(resumeErr, release(resumeErr == nil))
		}
		err = errors.Join(err, resumeErr)
	}()
	if err := g.QMP.Execute(ctx, "stop", nil, nil); err != nil {
		return s, fmt.Errorf("stop the guest: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("not done within %s, while the guest stood still", most))
	defer cancel()
	return s, f(ctx)
}

// resume lets a guest go on that was stopped here. One that is not merely paused, because
// it has ended or somebody has let it go, is left as it is.
func (g *Guest) resume(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	err := cont(ctx, g.QMP)
	if err == nil {
		return nil
	}
	other, again := g.wire.reopen(ctx)
	if again != nil {
		if errors.Is(again, ErrGone) {
			return again
		}
		return fmt.Errorf("the guest may still be stopped: let it go on with QMP's cont: %w", err)
	}
	defer other.Close()
	if err := cont(ctx, other); err != nil {
		return fmt.Errorf("the guest may still be stopped: let it go on with QMP's cont: %w", err)
	}
	return nil
}

type executor interface {
	Execute(ctx context.Context, cmd string, args, out any) error
}

func cont(ctx context.Context, m executor) error {
	var st struct {
		Status string `json:"status"`
	}
	if err := m.Execute(ctx, "query-status", nil, &st); err != nil {
		return err
	}
	if st.Status != Paused {
		return nil
	}
	return m.Execute(ctx, "cont", nil, nil)
}
