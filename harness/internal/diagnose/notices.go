package diagnose

import (
	"cmp"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/notice"
	"github.com/unwedge/unwedge/harness/result"
)

// recent is how near the end of the log a thing that is tried again and again must
// stand to be what the boot waits for, in bytes: some 40 lines.
const recent = 4 << 10

// saying is a line of the log that package notice knows.
type saying struct {
	*notice.Notice
	event dump.Event
	rank  int // its place in the table
}

// sayings are what the guest says of why the boot goes no further.
type sayings struct {
	// list has the answer first.
	list []saying
	// stops says that a line shows that nothing goes on by itself; without one the
	// log may just end.
	stops bool
}

// said are the notices of a phase that still count at the end of the log.
func (l log) said(phase notice.Phase) sayings {
	var s sayings
	for _, e := range l.Boot.Events {
		n, rank := notice.Named(string(e.Kind))
		if n != nil && n.Phase == phase && e.Boot == max(0, l.Boot.KernelCount-1) && l.stands(n, e) {
			s.list = append(s.list, saying{n, e, rank})
			s.stops = s.stops || n.Role == notice.Stop || n.Role == notice.Ask
		}
	}
	s.stops = s.stops || phase == notice.EarlyUser && l.gaveUp()
	s.list = slices.DeleteFunc(s.list, func(a saying) bool {
		return !s.stops && a.Role != notice.Retry && !l.isRecent(a.event)
	})
	slices.SortStableFunc(s.list, func(a, b saying) int {
		return cmp.Or(cmp.Compare(weight(a), weight(b)), cmp.Compare(a.rank, b.rank), cmp.Compare(a.event.Offset, b.event.Offset))
	})
	return s
}

// weight sorts reasons before what follows from them.
func weight(s saying) int {
	return map[notice.Role]int{notice.Ask: 1, notice.Stop: 2, notice.Consequence: 3}[s.Role]
}

// stands says that nothing after a notice shows that the boot went on.
func (l log) stands(n *notice.Notice, e dump.Event) bool {
	if over, ok := l.Boot.Event(dump.GoesOn(n.Name)); ok && over.Offset > e.Offset {
		return false
	}
	if n.Phase == notice.BeforeKernel {
		last := l.wentOn()
		return e.Offset >= l.start() && (last == nil || last.Offset < e.Offset)
	}
	if n.Role == notice.Ask {
		return e.Offset >= l.Boot.StageOffset || l.Boot.Stage.Rank() <= dump.StageInitramfs.Rank()
	}
	return l.lasts(e) && (n.Role != notice.Retry || l.isRecent(e))
}

// wentOn is the last line by which firmware or a boot loader says that it goes on,
// nil if there is none.
func (l log) wentOn() (last *dump.Event) {
	for _, e := range l.Boot.Events {
		name, over := strings.CutSuffix(string(e.Kind), string(dump.GoesOn("")))
		if n, _ := notice.Named(name); over && n == nil && (last == nil || e.Offset > last.Offset) {
			last = &e
		}
	}
	return last
}

func (l log) isRecent(e dump.Event) bool { return l.Boot.LastEnd-e.End < recent }

// gaveUp says that an initramfs or systemd gave up, and nothing went on after it.
func (l log) gaveUp() bool {
	for _, k := range []dump.EventKind{dump.EventEmergency, dump.EventDracutTimeout} {
		if e, ok := l.Boot.Event(k); ok && l.lasts(e) {
			return true
		}
	}
	for _, e := range l.Boot.All(dump.EventDependency) {
		if isRootUnit(e.Subject) && l.lasts(e) {
			return true
		}
	}
	return false
}

// isRootUnit says whether a unit of systemd is one that the boot cannot do without.
func isRootUnit(unit string) bool {
	for _, s := range []string{"sysroot", "initrd-root", "Initrd Root", "initrd.target", "local-fs.target", "Local File Systems"} {
		if strings.Contains(unit, s) {
			return true
		}
	}
	return false
}

// answer is the Diagnosis that the first saying gives.
func (s sayings) answer(l log, kind result.Kind) *result.Diagnosis {
	first := s.list[0]
	what := first.event.Subject
	out := &result.Diagnosis{
		Kind: kind, Cause: first.Cause, Where: cmp.Or(first.Where, l.userWhere()), Confidence: asConfidence(s.stops),
		Title: first.Headline(dump.Normalise(what)), Summary: first.Says(what), Remedy: first.Fix,
	}
	for _, a := range s.list[:min(len(s.list), 6)] {
		if a.Name != first.Name && (a.Role == notice.Stop || a.Role == notice.Ask) && !strings.Contains(out.Summary, "; ") {
			out.Summary += "; " + a.Says(a.event.Subject)
		}
		out.Evidence = append(out.Evidence, l.eventEvidence(evidenceOf(a.Role), a.event))
	}
	if kind != result.KindPanic && out.Cause == result.CauseRootMount {
		sayFileSystem(l, out)
	}
	return out
}

// evidenceOf says what a notice shows.
func evidenceOf(r notice.Role) string {
	switch r {
	case notice.Stop:
		return "where the boot stopped"
	case notice.Ask:
		return "what the boot waits for"
	case notice.Retry:
		return "what is tried again and again"
	default:
		return "what went wrong"
	}
}
