package packages

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/images/kernel"
)

// Source makes a Range the candidates of a bisection.
type Source struct {
	Range *Range
	// Resolve fetches and unpacks the kernel that an argument names, and says
	// with an error whether it can be booted as is wanted.
	Resolve func(ctx context.Context, arg string) (*candidate.Candidate, error)
}

// Good implements bisect.Source.
func (s *Source) Good() []bisect.Candidate { return []bisect.Candidate{named(s.Range.Good)} }

// Candidates implements bisect.Source.
func (s *Source) Candidates() []bisect.Candidate {
	var out []bisect.Candidate
	for _, p := range s.Range.Candidates {
		out = append(out, named(p))
	}
	return out
}

// Parents implements bisect.Source.
func (s *Source) Parents() [][]int { return s.Range.Parents() }

func named(p candidate.PackageVersion) bisect.Candidate {
	c := bisect.Candidate{ID: p.Arg, Name: label(p)}
	if !p.Changed.IsZero() {
		c.Stamp = fmt.Sprintf("%d bytes of %s", p.Size, p.Changed.UTC().Format(time.RFC3339Nano))
	}
	if p.Release != "" && p.Release != c.Name {
		c.About = p.Release
	}
	return c
}

// Prepare implements bisect.Source. A kernel that cannot be read, is gone, or
// cannot run the scenario is left out; an archive that does not answer ends the
// bisection.
func (s *Source) Prepare(ctx context.Context, c bisect.Candidate, _ <-chan struct{}) (bisect.Kernel, error) {
	start := time.Now()
	k, err := s.Resolve(ctx, c.ID)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return bisect.Kernel{}, context.Cause(ctx)
	case errors.As(err, new(*candidate.NotFoundError)), errors.As(err, new(*candidate.PackageError)),
		errors.As(err, new(*kernel.BadKernelError)), errors.As(err, new(*plan.UnsupportedError)):
		return bisect.Kernel{}, &bisect.UnbuildableError{Candidate: c, Reason: err.Error()}
	default:
		return bisect.Kernel{}, err
	}
	// Not the build ID: a file that was changed after it was built keeps that.
	return bisect.Kernel{Arg: c.ID, Image: "sha256:" + k.Kernel.SHA256, Took: time.Since(start)}, nil
}
