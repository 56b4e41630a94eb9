package boottime

import (
	"cmp"
	"slices"

	"github.com/unwedge/unwedge/harness/history/store"
)

// Floor is what an initcall took at most that a boot does not list, in seconds; it is also
// the smallest change that is told.
const Floor = 0.001

// MaxInitcallBoots bounds the boots of one side whose initcalls are compared, the latest.
const MaxInitcallBoots = 60

// Initcalls compares how long initcalls took in two sets of boots with initcall_debug, as
// Compare does stages. It returns those that changed, and how many it compared. There are
// hundreds of them, so the p-value must be below Alpha divided by how many are compared in
// the cell on that kind of host (Bonferroni): one comparison of two kernels in a hundred,
// at most, tells a change of any that is none.
func Initcalls(a, b []store.InitcallTime) (changes []Change, compared int) {
	before, after := byPlace(a), byPlace(b)
	for p, now := range after {
		was := before[p]
		if was == nil || len(now.runs) < MinBoots || len(was.runs) < MinBoots {
			continue
		}
		list := was.shared(now)
		compared += len(list)
		for _, name := range list {
			c := at(Alpha/float64(len(list)), was.times(name), now.times(name))
			if c.Verdict == "" || -Floor < c.Shift && c.Shift < Floor {
				continue
			}
			c.Cell, c.Host, c.Initcall = p.cell.Name, p.host.String(), name
			changes = append(changes, c)
		}
	}
	slices.SortFunc(changes, func(x, y Change) int {
		return cmp.Or(cmp.Compare(x.Cell, y.Cell), cmp.Compare(x.Host, y.Host), cmp.Compare(y.Shift, x.Shift), cmp.Compare(x.Initcall, y.Initcall))
	})
	return changes, compared
}

// initcallPlace is where boots are alike.
type initcallPlace struct {
	cell store.Cell
	host store.Host
}

// initcallBoots are the boots of one place: how long each initcall took, by run.
type initcallBoots struct {
	runs []int64
	took map[string]map[int64]float64
}

// byPlace sorts the times.
func byPlace(list []store.InitcallTime) map[initcallPlace]*initcallBoots {
	out := map[initcallPlace]*initcallBoots{}
	for _, t := range list {
		p := initcallPlace{t.Cell, t.Host}
		if out[p] == nil {
			out[p] = &initcallBoots{took: map[string]map[int64]float64{}}
		}
		b := out[p]
		if !slices.Contains(b.runs, t.Run) {
			b.runs = append(b.runs, t.Run)
		}
		if b.took[t.Name] == nil {
			b.took[t.Name] = map[int64]float64{}
		}
		b.took[t.Name][t.Run] = t.Took
	}
	return out
}

// shared are the initcalls that half of the boots of either set list.
func (b *initcallBoots) shared(other *initcallBoots) (names []string) {
	for _, x := range []*initcallBoots{b, other} {
		for name, in := range x.took {
			if 2*len(in) >= len(x.runs) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// times are how long an initcall took in each boot.
func (b *initcallBoots) times(name string) (out []float64) {
	for _, run := range b.runs {
		out = append(out, max(Floor, b.took[name][run]))
	}
	return out
}
