package page

import (
	"strings"

	"github.com/unwedge/unwedge/harness/report/summary"
)

// grid is a matrix: a row for each kernel and architecture, a column for each other set
// of conditions. Cells that meet in one field stand in it together.
type grid struct {
	Columns []column
	Rows    []row
}

type column struct{ Scenario, Entropy, Initramfs string }

type row struct {
	Arch, Release string
	Fields        []field
}

type field []entry

type entry struct {
	ID, Word, Title, Seconds string
	Status                   summary.Status
	Unclean                  bool
}

func gridOf(cells []cell) *grid {
	g := &grid{}
	at := map[column]int{}
	rows := map[[2]string]int{}
	for _, c := range cells {
		if c.Bisection != nil {
			continue
		}
		col := columnOf(c)
		if _, ok := at[col]; !ok {
			at[col] = len(g.Columns)
			g.Columns = append(g.Columns, col)
		}
		key := [2]string{string(c.Scenario.Arch), c.Release}
		if _, ok := rows[key]; !ok {
			rows[key] = len(g.Rows)
			g.Rows = append(g.Rows, row{Arch: key[0], Release: key[1]})
		}
	}
	for i := range g.Rows {
		g.Rows[i].Fields = make([]field, len(g.Columns))
	}
	for _, c := range cells {
		if c.Bisection != nil {
			continue
		}
		f := &g.Rows[rows[[2]string{string(c.Scenario.Arch), c.Release}]].Fields[at[columnOf(c)]]
		e := entry{ID: c.ID, Word: c.Word(), Title: c.Title(), Status: c.Status, Unclean: c.Unclean()}
		if c.Result != nil {
			e.Seconds = seconds(c.Result.Times.Verdict)
		}
		*f = append(*f, e)
	}
	if len(g.Rows) == 0 {
		return nil
	}
	return g
}

func columnOf(c cell) column {
	name, _, _ := strings.Cut(c.Scenario.Name, "/")
	return column{name, string(c.Scenario.Entropy), string(c.Scenario.Initramfs)}
}
