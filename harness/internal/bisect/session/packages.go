package session

import (
	"context"
	"errors"

	"github.com/unwedge/unwedge/harness/internal/bisect/packages"
	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/images/candidate"
)

// packagesQuest searches released kernels.
func (s Session) packagesQuest(ctx context.Context, req Request) (*quest, error) {
	if len(req.Good) != 1 {
		return nil, usage.Errorf("--good: packages have one good end, not %d", len(req.Good))
	}
	r, err := released(ctx, req, candidate.Options{Arch: req.Arch, Mirror: s.Planner.Mirror, Cache: s.Planner.Store})
	if err != nil {
		return nil, err
	}
	sc, err := req.Cell(r.Bad().Arch)
	if err != nil {
		return nil, err
	}
	resolve := func(ctx context.Context, arg string) (*candidate.Candidate, error) {
		c, err := s.Planner.Candidate(ctx, arg, sc.Arch)
		if err != nil {
			return nil, err
		}
		return c, plan.Supported(sc, c.Kernel)
	}
	return &quest{
		source: &packages.Source{Range: r, Resolve: resolve}, name: "packages " + req.Packages, cell: sc, notes: r.Notes,
	}, nil
}

// released finds the kernels between the ends. An end that the suites named have not
// is looked for in those too that they add to.
func released(ctx context.Context, req Request, o candidate.Options) (*packages.Range, error) {
	selection := packages.Selection{Good: req.Good[0], Bad: req.Bad, Flavour: req.Flavour}
	list, err := candidate.ListPackages(ctx, req.Packages, o)
	if err != nil {
		return nil, err
	}
	r, err := packages.Select(list, selection)
	var refused *packages.SelectionError
	wider, ok := candidate.WithBase(req.Packages)
	if errors.As(err, &refused) && refused.NotThere && ok {
		if list, err = candidate.ListPackages(ctx, wider, o); err != nil {
			return nil, err
		}
		if r, err = packages.Select(list, selection); err == nil {
			r.Notes = append([]string{req.Packages + " lacks one of the ends: searching " + wider}, r.Notes...)
		}
	}
	if err != nil {
		return nil, usage.Wrap(err)
	}
	return r, nil
}
