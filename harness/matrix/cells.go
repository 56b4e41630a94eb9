package matrix

import (
	"context"
	"fmt"
	"slices"

	"github.com/unwedge/unwedge/harness/internal/usage"
	"github.com/unwedge/unwedge/harness/plan"
	"github.com/unwedge/unwedge/images/candidate"
	"github.com/unwedge/unwedge/scenarios"
	"github.com/unwedge/unwedge/scenarios/arch"
	"github.com/unwedge/unwedge/scenarios/release"
)

// Boot is one cell of a matrix: a kernel and the scenario that it boots in.
type Boot struct {
	Scenario scenarios.Scenario
	Kernel   *candidate.Candidate
	// Label tells it from the other cells; all labels have the same width.
	Label string
}

// Selection says which cells to boot. An empty list selects everything.
type Selection struct {
	Kernels   []string // as `unwedge boot` takes them; by default a Debian kernel for each architecture
	Scenarios []string // names; must not be empty
	Arch      []arch.Arch
	Entropy   []string
	Initramfs []string
	// ImageReleases replace those of the scenarios that boot a distribution's images.
	ImageReleases []release.Release
}

// Boots expands a selection: each kernel in each cell of the scenarios that is for its
// architecture, in the selection's order.
func Boots(ctx context.Context, p *plan.Planner, all scenarios.Catalogue, s Selection) ([]Boot, error) {
	if len(s.Arch) == 0 {
		s.Arch = arch.All()
	}
	if len(s.Kernels) == 0 {
		for _, a := range s.Arch {
			s.Kernels = append(s.Kernels, plan.DefaultKernel(a))
		}
	}
	var out []Boot
	for _, arg := range s.Kernels {
		c, err := p.Candidate(ctx, arg, "")
		if err != nil {
			return nil, err
		}
		for _, name := range s.Scenarios {
			t, err := all.Find(name)
			if err != nil {
				return nil, usage.Wrap(err)
			}
			for _, sc := range s.releases(t).Cells() {
				if err := sc.Validate(); err != nil {
					return nil, usage.Wrap(err)
				}
				if sc.Arch == c.Kernel.Arch && s.has(sc) {
					out = append(out, Boot{Scenario: sc, Kernel: c})
				}
			}
		}
	}
	if len(out) == 0 {
		return nil, usage.Errorf("no cell is left: the kernels' architectures and the filters exclude them all")
	}
	label(out)
	return out, nil
}

// releases gives a template the selection's releases, where its cells differ by them.
func (s Selection) releases(t scenarios.Template) scenarios.Template {
	if len(s.ImageReleases) > 0 && slices.ContainsFunc(t.Cells(), scenarios.Scenario.OfRelease) {
		t.ImageRelease = s.ImageReleases
	}
	return t
}

func (s Selection) has(sc scenarios.Scenario) bool {
	return slices.Contains(s.Arch, sc.Arch) &&
		(len(s.Entropy) == 0 || slices.Contains(s.Entropy, string(sc.Entropy))) &&
		(len(s.Initramfs) == 0 || slices.Contains(s.Initramfs, string(sc.Initramfs)))
}

// label names each cell by its scenario, and by its kernel where several kernels
// boot the same one.
func label(cells []Boot) {
	kernels := map[string]map[string]bool{}
	for _, c := range cells {
		if kernels[c.Scenario.Name] == nil {
			kernels[c.Scenario.Name] = map[string]bool{}
		}
		kernels[c.Scenario.Name][c.Kernel.Kernel.Release] = true
	}
	width := 0
	for i, c := range cells {
		cells[i].Label = c.Scenario.Name
		if len(kernels[c.Scenario.Name]) > 1 {
			cells[i].Label = c.Kernel.Kernel.Release + " " + c.Scenario.Name
		}
		width = max(width, len(cells[i].Label))
	}
	for i := range cells {
		cells[i].Label = fmt.Sprintf("%-*s", width, cells[i].Label)
	}
}
