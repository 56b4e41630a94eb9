// Package findings lists the reports of the kernel that a console shows, and says how
// bad each is. It is pure: a Dump in, values out.
package findings

import (
	"cmp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// The bounds of a list: findings, and lines of one and their length in characters.
const (
	maxFindings = 256
	maxLines    = 16
	maxLine     = 1200
	maxTitle    = 300
)

// Of lists the findings in the order in which they were first reported. Repetitions in
// the same boot are counted. A report that a panic carries out is fatal. Of more than
// 256, the worst are kept.
func Of(d *dump.Dump) []result.Finding {
	l := list{dump: d, seen: map[key]int{}}
	ended := carriedOut(d)
	for i := range d.Reports {
		if i > 0 && sameKill(&d.Reports[i-1], &d.Reports[i]) {
			continue
		}
		l.report(&d.Reports[i], ended[i])
	}
	for i := range d.Boot.Events {
		l.event(&d.Boot.Events[i])
	}
	slices.SortStableFunc(l.out, func(a, b result.Finding) int { return cmp.Compare(a.Offset, b.Offset) })
	return bounded(l.out)
}

// Boots is how many boots a log shows; text without a kernel's banner is one.
func Boots(d *dump.Dump) int { return max(1, d.Boot.KernelCount) }

// key tells findings apart.
type key struct {
	boot  int
	kind  result.FindingKind
	title string
}

// list collects findings.
type list struct {
	dump *dump.Dump
	out  []result.Finding
	seen map[key]int // index in out
}

// sameKill says that r names the process that the OOM killer of before has killed.
func sameKill(before, r *dump.Report) bool {
	return r.Kind == dump.ReportOOM && before.Kind == dump.ReportOOM && r.Boot == before.Boot &&
		strings.Contains(before.Text, " invoked oom-killer") && !strings.Contains(r.Text, " invoked oom-killer")
}

func (l *list) report(r *dump.Report, ended bool) {
	row, ok := rowOf(r)
	if !ok {
		return
	}
	f := result.Finding{
		Title: r.Title, Kind: row.kind, Severity: row.severity, Function: r.Func, Boot: r.Boot, Count: 1, Time: r.Time, Offset: r.Offset,
	}
	if ended {
		f.Severity = result.Fatal
	}
	l.add(f, func() []string { return l.dump.Evidence(r.Offset, r.End, r.Caller, maxLines) })
}

func (l *list) event(e *dump.Event) {
	row, ok := eventRows[e.Kind]
	if !ok {
		return
	}
	f := result.Finding{
		Title: row.title(e), Kind: row.kind, Severity: row.severity, Boot: e.Boot, Count: e.Count, Time: e.Time, Offset: e.Offset,
	}
	l.add(f, func() []string { return l.dump.Evidence(e.Offset, e.End, model.Caller{}, maxLines) })
}

// add appends a finding, or counts one that is there.
func (l *list) add(f result.Finding, lines func() []string) {
	f.Title = console.SanitizeMax(strings.Join(strings.Fields(f.Title), " "), maxTitle)
	f.Function = console.SanitizeMax(f.Function, maxTitle)
	k := key{f.Boot, f.Kind, f.Title}
	if i, ok := l.seen[k]; ok {
		old := &l.out[i]
		old.Count += f.Count
		if f.Severity.Rank() > old.Severity.Rank() {
			old.Severity = f.Severity
		}
		return
	}
	for _, line := range lines() {
		f.Lines = append(f.Lines, console.SanitizeLine(line, maxLine))
	}
	l.seen[k] = len(l.out)
	l.out = append(l.out, f)
}

// bounded drops the mildest of too many, the last first.
func bounded(all []result.Finding) []result.Finding {
	if len(all) <= maxFindings {
		return all
	}
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(all[b].Severity.Rank(), all[a].Severity.Rank()) })
	keep := order[:maxFindings]
	slices.Sort(keep)
	out := make([]result.Finding, 0, maxFindings)
	for _, i := range keep {
		out = append(out, all[i])
	}
	return out
}
