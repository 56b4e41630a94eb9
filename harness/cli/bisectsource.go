package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/unwedge/unwedge/harness/bisect"
	"github.com/unwedge/unwedge/harness/bisect/packages"
	"github.com/unwedge/unwedge/harness/diagnose"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/harness/rundir"
	"github.com/unwedge/unwedge/images/candidate"
)

// packagesQuest searches released kernels.
func (a *app) packagesQuest(ctx context.Context, p *plan.Planner, f bisectFlags) (*quest, error) {
	if f.packages == "" {
		return nil, usageError{errors.New("--packages is needed: see `unwedge bisect --help`")}
	}
	if len(f.good) != 1 {
		return nil, usageError{fmt.Errorf("--good: packages have one good end, %d are named", len(f.good))}
	}
	want, err := parseArch(f.arch)
	if err != nil {
		return nil, err
	}
	list, err := candidate.ListPackages(ctx, f.packages, candidate.Options{Arch: want, Mirror: p.Mirror, Cache: p.Store})
	if err != nil {
		return nil, err
	}
	r, err := packages.Select(list, packages.Selection{Good: f.good[0], Bad: f.bad, Flavour: f.flavour})
	if err != nil {
		return nil, usageError{err}
	}
	sc, err := a.cellOf(f.bootFlags, r.Bad().Arch)
	if err != nil {
		return nil, err
	}
	resolve := func(ctx context.Context, arg string) (*candidate.Candidate, error) {
		c, err := p.Candidate(ctx, arg, sc.Arch)
		if err != nil {
			return nil, err
		}
		return c, plan.Supported(sc, c.Kernel)
	}
	return &quest{
		source: &packages.Source{Range: r, Resolve: resolve}, name: "packages " + f.packages, cell: sc, notes: r.Notes,
	}, nil
}

// The files that a bisection leaves beside its journal.
const (
	bisectReport = "bisect.json"
	bisectLog    = "bisect.log"
)

func writeReport(dir string, rep *bisect.Report) error {
	b, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", bisectReport, err)
	}
	if err := os.WriteFile(filepath.Join(dir, bisectReport), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// diagnosisOf is that of the answer's own boot, else of the bad end's; nil where
// the run's directory is gone.
func diagnosisOf(rep *bisect.Report) *diagnose.Diagnosis {
	boot := &rep.Failure
	if rep.BadBoot != nil {
		boot = rep.BadBoot
	}
	res, err := result.Read(filepath.Join(boot.Dir, rundir.Result))
	if err != nil {
		return nil
	}
	return res.Diagnosis
}
