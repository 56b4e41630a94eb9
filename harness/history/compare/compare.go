// Package compare says what is new with one kernel against another, by what the history
// has of both: which failures and findings are new, fixed or still there, how sure that
// is, and how many boots more would make it sure.
package compare

import (
	"cmp"
	"slices"

	"github.com/unwedge/unwedge/harness/history/boottime"
	"github.com/unwedge/unwedge/harness/history/stats"
	"github.com/unwedge/unwedge/harness/history/store"
)

// Side is one of the two that are compared.
type Side struct {
	// Word is what the user named it by.
	Word string `json:"word"`
	// Kernels are what it names.
	Kernels []store.Kernel `json:"kernels"`
	// Runs and Failed count its runs.
	Runs   int `json:"runs"`
	Failed int `json:"failed"`
}

// IDs are the history's numbers of its kernels.
func (s Side) IDs() (ids []int64) {
	for _, k := range s.Kernels {
		ids = append(ids, k.ID)
	}
	return ids
}

// State is what became of a failure or a finding.
type State string

// The states, in the order in which they are shown.
const (
	New        State = "new"           // B has it, and A had enough boots to show it, and no kernel before
	MaybeNew   State = "may-be-new"    // B has it and A does not, but with so few boots that chance may explain it
	SeenBefore State = "seen-before"   // B has it and A does not, but another kernel had it earlier
	Still      State = "still-failing" // both have it, in every boot
	Flaky      State = "flaky"         // both have it, in some boots and not in others
	MaybeFixed State = "may-be-fixed"  // A has it and B does not, but with so few boots that chance may explain it
	Fixed      State = "fixed"         // A has it, and B had enough boots to show it
)

var states = []State{New, MaybeNew, SeenBefore, Still, Flaky, MaybeFixed, Fixed}

// Rate is how often it was seen.
type Rate struct {
	// Seen is in how many of the Boots.
	Seen  int `json:"seen"`
	Boots int `json:"boots"`
	// Low and High are the Wilson interval of the rate.
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// OnHost is what one kind of host shows.
type OnHost struct {
	Host string `json:"host"`
	A    Rate   `json:"a"`
	B    Rate   `json:"b"`
}

// Entry is what became of one failure or finding in one cell.
type Entry struct {
	// State is what became of it.
	State State `json:"state"`
	// Cell is where, Signature and Title what: of a finding both are its title.
	Cell      string `json:"cell"`
	Signature string `json:"signature"`
	Title     string `json:"title"`
	cell      int64
	// Severity is a finding's, empty of a failure.
	Severity string `json:"severity,omitempty"`
	// A and B are how often each side showed it.
	A Rate `json:"a"`
	B Rate `json:"b"`
	// P is the probability of such a difference, or a greater one, by chance (Fisher's
	// exact test, one-sided); 0 where there is none to be explained.
	P float64 `json:"p,omitempty"`
	// More is how many more boots of each side would make it sure, if they go on as they
	// did; -1 says that no reasonable number would.
	More int `json:"more_boots,omitempty"`
	// Before is where another kernel showed it earlier.
	Before *store.Before `json:"before,omitempty"`
	// Known says that all runs of B that showed it knew it.
	Known bool `json:"known,omitempty"`
	// Hosts are what each kind of host shows, where they contradict each other: A and B
	// are then of Host alone.
	Hosts []OnHost `json:"hosts,omitempty"`
	// Host is the kind of host that the entry is about, where they contradict each other.
	Host string `json:"host,omitempty"`
	// Apart says that A and B never ran on the same kind of host, so that the host may
	// be the difference.
	Apart bool `json:"apart,omitempty"`
}

// Bad says that B fails, or may fail, where A did not, for a reason that is not known.
func (e Entry) Bad() bool {
	return (e.State == New || e.State == MaybeNew) && e.Severity == "" && !e.Known
}

// unsure says that more boots may turn a new or fixed that may be into one that is.
func (e Entry) unsure() bool {
	return (e.State == MaybeNew || e.State == MaybeFixed) && (e.More > 0 || e.Apart) && !e.Known
}

// Schema is the version of a Report as JSON.
const Schema = "unwedge/compare/1"

// Report is a comparison.
type Report struct {
	// Schema is the version of this document.
	Schema string `json:"schema"`
	// A and B are what was compared.
	A Side `json:"a"`
	B Side `json:"b"`
	// Confidence is that of the intervals, and of what is called new or fixed.
	Confidence float64 `json:"confidence"`
	// Retried is how many boots were made to be surer; Confidence is then greater than what
	// was asked, see Retry.
	Retried int `json:"retried,omitempty"`
	// Entries are in the order of their states, then of the cells.
	Entries []Entry `json:"entries"`
	// Missing are cells that A was booted in and B was not, Added the others.
	Missing []string `json:"missing,omitempty"`
	Added   []string `json:"added,omitempty"`
	// Times are the changes of boot times, of stages that both reached often enough.
	Times []boottime.Change `json:"times,omitempty"`
	// Initcalls are those whose time changed, of InitcallsCompared, where both kernels were
	// booted with initcall_debug.
	Initcalls         []boottime.Change `json:"initcalls,omitempty"`
	InitcallsCompared int               `json:"initcalls_compared,omitempty"`
}

// Bad says that there is a failure that is new, or may be.
func (r Report) Bad() bool { return slices.ContainsFunc(r.Entries, Entry.Bad) }

// Data is what the history has of both sides.
type Data struct {
	TalliesA, TalliesB []store.Tally
	CountsA, CountsB   []store.Count
	Before             []store.Before
	TimesA, TimesB     []store.StageTime
	CallsA, CallsB     []store.InitcallTime
}

// Of compares two sides at a confidence such as 0.95.
func Of(a, b Side, d Data, confidence float64) Report {
	r := Report{Schema: Schema, A: a, B: b, Confidence: confidence, Entries: []Entry{}}
	cells := cellsOf(d)
	for _, c := range cells {
		switch {
		case len(c.boots[1]) == 0:
			r.Missing = append(r.Missing, c.name)
			continue
		case len(c.boots[0]) == 0:
			r.Added = append(r.Added, c.name)
		}
		r.Entries = append(r.Entries, c.entries(d.Before, confidence)...)
	}
	for _, t := range d.TalliesA {
		r.A.Runs, r.A.Failed = r.A.Runs+t.Runs, r.A.Failed+t.Failed
	}
	for _, t := range d.TalliesB {
		r.B.Runs, r.B.Failed = r.B.Runs+t.Runs, r.B.Failed+t.Failed
	}
	slices.SortStableFunc(r.Entries, func(x, y Entry) int {
		return cmp.Or(cmp.Compare(x.Severity, y.Severity), cmp.Compare(slices.Index(states, x.State), slices.Index(states, y.State)))
	})
	r.Times = boottime.Compare(d.TimesA, d.TimesB)
	r.Initcalls, r.InitcallsCompared = boottime.Initcalls(d.CallsA, d.CallsB)
	return r
}

// rateOf is a rate with its interval.
func rateOf(seen, boots int, confidence float64) Rate {
	low, high := stats.Wilson(seen, boots, confidence)
	return Rate{seen, boots, low, high}
}
