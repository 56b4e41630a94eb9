package pages

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/unwedge/unwedge/harness/history/store"
)

// grid is kernels against cells.
type grid struct {
	Cells []store.Cell
	Rows  []row
	// Older is how many kernels the next page skips, 0 where there are no more; Skipped
	// how many this one did.
	Older, Skipped int
}

type row struct {
	store.Kernel
	Fields []field
}

// field are the boots of one kernel in one cell.
type field struct {
	Kernel, Cell int64
	Runs, Failed int
}

// Word is what a field says.
func (f field) Word() string {
	if f.Failed == 0 {
		return fmt.Sprintf("%d ok", f.Runs)
	}
	return fmt.Sprintf("%d of %d fail", f.Failed, f.Runs)
}

// Status is its colour.
func (f field) Status() string {
	switch f.Failed {
	case 0:
		return "pass"
	case f.Runs:
		return "fail"
	}
	return "error"
}

func (p Pages) grid(r *http.Request) (view, error) {
	skip := 0
	if s := r.URL.Query().Get("skip"); s != "" {
		n, err := number(s)
		if err != nil || n > 1<<30 {
			return view{}, errNotFound
		}
		skip = int(n)
	}
	kernels, err := p.History.Kernels(r.Context())
	if err != nil {
		return view{}, err
	}
	g := grid{Skipped: skip}
	kernels = kernels[min(skip, len(kernels)):]
	if len(kernels) > maxKernels {
		kernels, g.Older = kernels[:maxKernels], skip+maxKernels
	}
	var ids []int64
	for _, k := range kernels {
		ids = append(ids, k.ID)
	}
	tallies, err := p.History.Tallies(r.Context(), ids...)
	if err != nil {
		return view{}, err
	}
	g.fill(kernels, tallies)
	return view{"grid", "Kernels", g}, nil
}

func (g *grid) fill(kernels []store.Kernel, tallies []store.Tally) {
	cells, at := map[int64]store.Cell{}, map[[2]int64]*field{}
	for _, t := range tallies {
		cells[t.Cell.ID] = t.Cell
		key := [2]int64{t.Kernel, t.Cell.ID}
		if at[key] == nil {
			at[key] = &field{Kernel: t.Kernel, Cell: t.Cell.ID}
		}
		at[key].Runs += t.Runs
		at[key].Failed += t.Failed
	}
	g.Cells = slices.SortedFunc(maps.Values(cells), func(x, y store.Cell) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Variant, y.Variant))
	})
	for _, k := range kernels {
		r := row{Kernel: k}
		for _, c := range g.Cells {
			f := field{}
			if have := at[[2]int64{k.ID, c.ID}]; have != nil {
				f = *have
			}
			r.Fields = append(r.Fields, f)
		}
		g.Rows = append(g.Rows, r)
	}
}
