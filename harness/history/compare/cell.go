package compare

import (
	"cmp"
	"maps"
	"slices"

	"github.com/unwedge/unwedge/harness/history/stats"
	"github.com/unwedge/unwedge/harness/history/store"
)

// cell is what both sides showed in one cell: index 0 is A, 1 is B.
type cell struct {
	id    int64
	name  string
	boots [2]map[store.Host]int
	seen  map[what]*sightings
}

// what is a failure or a finding.
type what struct{ signature, severity string }

// sightings are how often it was seen by each side on each kind of host.
type sightings struct {
	title string
	by    [2]map[store.Host]int
	known int // runs of B that knew it
}

// cellsOf sorts the data by cells. Cells of the same name that differ in what they boot
// have their variant behind the name.
func cellsOf(d Data) []*cell {
	byID, names := map[int64]*cell{}, map[string]int{}
	for side, tallies := range [][]store.Tally{d.TalliesA, d.TalliesB} {
		for _, t := range tallies {
			c := byID[t.Cell.ID]
			if c == nil {
				c = &cell{id: t.Cell.ID, name: t.Cell.Name, boots: [2]map[store.Host]int{{}, {}}, seen: map[what]*sightings{}}
				byID[t.Cell.ID] = c
				names[c.name]++
			}
			c.boots[side][t.Host] += t.Runs
		}
	}
	for side, counts := range [][]store.Count{d.CountsA, d.CountsB} {
		for _, n := range counts {
			c := byID[n.Cell.ID]
			if c == nil {
				continue // the run was recorded after the tallies were read
			}
			w := what{n.Signature, n.Severity}
			if c.seen[w] == nil {
				c.seen[w] = &sightings{title: n.Title, by: [2]map[store.Host]int{{}, {}}}
			}
			c.seen[w].by[side][n.Host] += n.Runs
			if side == 1 {
				c.seen[w].known += n.Known
			}
		}
	}
	for _, tallies := range [][]store.Tally{d.TalliesA, d.TalliesB} {
		for _, t := range tallies {
			if names[t.Cell.Name] > 1 {
				byID[t.Cell.ID].name = t.Cell.Name + " (" + t.Cell.Variant + ")"
			}
		}
	}
	return slices.SortedFunc(maps.Values(byID), func(x, y *cell) int { return cmp.Compare(x.name, y.name) })
}

// entries are what became of each failure and finding in the cell.
func (c *cell) entries(before []store.Before, confidence float64) (out []Entry) {
	order := slices.SortedFunc(maps.Keys(c.seen), func(x, y what) int {
		return cmp.Or(cmp.Compare(x.severity, y.severity), cmp.Compare(x.signature, y.signature))
	})
	for _, w := range order {
		s := c.seen[w]
		base := Entry{cell: c.id, Cell: c.name, Signature: w.signature, Title: s.title, Severity: w.severity}
		if all := sum(s.by[1]); all > 0 && s.known >= all {
			base.Known = true
		}
		for _, b := range before {
			if b.Cell == c.id && b.Signature == w.signature && b.Finding == (w.severity != "") {
				base.Before = &b
			}
		}
		if hosts := c.contradiction(s, confidence); hosts != nil {
			for _, h := range hosts {
				e := base
				e.Host, e.Hosts, e.A, e.B = h.Host, hosts, h.A, h.B
				if e.A.Seen+e.B.Seen > 0 {
					out = append(out, e.judged(confidence))
				}
			}
			continue
		}
		on := c.shared()
		base.Apart = len(on) == 0 && len(c.boots[0]) > 0
		base.A, base.B = c.rate(s, 0, on, confidence), c.rate(s, 1, on, confidence)
		if base.A.Seen+base.B.Seen == 0 { // it was seen on hosts that the other side does not have
			base.Apart = true
			base.A, base.B = c.rate(s, 0, nil, confidence), c.rate(s, 1, nil, confidence)
		}
		out = append(out, base.judged(confidence))
	}
	return out
}

// shared are the kinds of hosts that both sides ran on.
func (c *cell) shared() (on []store.Host) {
	for h := range c.boots[0] {
		if c.boots[1][h] > 0 {
			on = append(on, h)
		}
	}
	return on
}

// rate is a side's over some kinds of hosts; nil is all.
func (c *cell) rate(s *sightings, side int, on []store.Host, confidence float64) Rate {
	seen, boots := 0, 0
	for h, n := range c.boots[side] {
		if len(on) == 0 || slices.Contains(on, h) {
			seen, boots = seen+s.by[side][h], boots+n
		}
	}
	return rateOf(seen, boots, confidence)
}

// contradiction is what each kind of host shows, if two of them differ by more than
// chance explains with the same side; nil if they do not.
func (c *cell) contradiction(s *sightings, confidence float64) (hosts []OnHost) {
	differ := false
	for side := range 2 {
		for h, n := range c.boots[side] {
			for g, m := range c.boots[side] {
				differ = differ || stats.Fisher(s.by[side][h], n, s.by[side][g], m) <= (1-confidence)/2
			}
		}
	}
	if !differ {
		return nil
	}
	all := map[store.Host]bool{}
	for side := range 2 {
		for h := range c.boots[side] {
			all[h] = true
		}
	}
	for h := range all {
		hosts = append(hosts, OnHost{h.String(), rateOf(s.by[0][h], c.boots[0][h], confidence), rateOf(s.by[1][h], c.boots[1][h], confidence)})
	}
	slices.SortFunc(hosts, func(x, y OnHost) int { return cmp.Compare(x.Host, y.Host) })
	return hosts
}

// judged gives the entry its state.
func (e Entry) judged(confidence float64) Entry {
	alpha := 1 - confidence
	sure := func(k1, n1, k2, n2 int) bool {
		e.P = stats.Fisher(k1, n1, k2, n2)
		if e.P <= alpha*(1+1e-9) && !e.Apart {
			return true
		}
		if !e.Apart {
			e.More = stats.More(k1, n1, k2, n2, alpha)
		}
		return false
	}
	switch {
	case e.B.Seen > 0 && e.A.Seen > 0:
		e.State = Flaky
		if e.A.Seen == e.A.Boots && e.B.Seen == e.B.Boots {
			e.State = Still
		}
	case e.B.Seen > 0 && e.Before != nil:
		e.State = SeenBefore
		sure(e.A.Seen, e.A.Boots, e.B.Seen, e.B.Boots)
	case e.B.Seen > 0:
		e.State = MaybeNew
		if sure(e.A.Seen, e.A.Boots, e.B.Seen, e.B.Boots) {
			e.State = New
		}
	default:
		e.State = MaybeFixed
		if sure(e.B.Seen, e.B.Boots, e.A.Seen, e.A.Boots) {
			e.State = Fixed
		}
	}
	return e
}

func sum(m map[store.Host]int) (n int) {
	for _, x := range m {
		n += x
	}
	return n
}
