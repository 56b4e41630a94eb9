package diagnose

import (
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// log is what the console shows: all that was parsed from it, and questions
// about its last boot.
type log struct{ *dump.Dump }

// newLog is the log with the owners of locks that memory names: the latest word
// counts.
func newLog(d *dump.Dump, owners []model.Owner) log {
	if len(owners) > 0 {
		with := *d
		with.Owners = append(slices.Clone(d.Owners), owners...)
		d = &with
	}
	return log{d}
}

// start is where the last boot begins.
func (l log) start() int64 {
	if n := len(l.Boot.Kernels); n > 0 {
		return l.Boot.Kernels[n-1].Offset
	}
	return 0
}

// end is where the console first shows that the boot came to its end, -1 if it does
// not.
func (l log) end() int64 {
	at := int64(-1)
	if l.Boot.Stage == dump.StageLogin {
		at = l.Boot.StageOffset
	} else if l.atPrompt() {
		at = l.Boot.PromptOffset
	}
	for _, e := range l.Boot.All(dump.EventTarget) {
		for _, last := range []string{"multi-user.target", "Multi-User", "graphical.target"} {
			if strings.HasPrefix(e.Subject, last) && (at < 0 || e.Offset < at) {
				at = e.Offset
			}
		}
	}
	return at
}

// atPrompt says that the log ends at the prompt of a shell, after an init that found
// what it needs.
func (l log) atPrompt() bool {
	if !l.Boot.Prompt || l.Boot.Stage.Rank() < dump.StageInit.Rank() {
		return false
	}
	for _, k := range []dump.EventKind{
		dump.EventEmergency, dump.EventNoInit, dump.EventNoDevice, dump.EventSwitchFailed, dump.EventInitramfsBad, dump.EventDracutTimeout, dump.EventFatal,
	} {
		if l.has(k) {
			return false
		}
	}
	return true
}

// ours says whether a report belongs to the last boot.
func (l log) ours(r *dump.Report) bool { return r.Boot == max(0, l.Boot.KernelCount-1) }

// report returns the first report of a kind in the last boot.
func (l log) report(kinds ...dump.ReportKind) *dump.Report {
	return l.firstReport(func(r *dump.Report) bool { return slices.Contains(kinds, r.Kind) })
}

// firstReport returns the first report of the last boot that fits.
func (l log) firstReport(fits func(*dump.Report) bool) *dump.Report {
	for i := range l.Reports {
		if r := &l.Reports[i]; l.ours(r) && fits(r) {
			return r
		}
	}
	return nil
}

// panicReport returns the first panic whose reason holds one of the words.
func (l log) panicReport(words ...string) *dump.Report {
	for i := range l.Reports {
		r := &l.Reports[i]
		if r.Kind != dump.ReportPanic || !l.ours(r) {
			continue
		}
		if len(words) == 0 {
			return r
		}
		for _, w := range words {
			if strings.Contains(r.Text, w) {
				return r
			}
		}
	}
	return nil
}

// lastCrash is the last crash of the last boot before an offset.
func (l log) lastCrash(before int64) (last *dump.Report) {
	for i := range l.Reports {
		if r := &l.Reports[i]; l.ours(r) && r.Offset < before && (r.Kind == dump.ReportOops || r.Kind == dump.ReportBug && isCrash(r)) {
			last = r
		}
	}
	return last
}

func (l log) has(k dump.EventKind) bool {
	_, ok := l.Boot.Event(k)
	return ok
}

// lasts says that the boot got no further since an event; an earlier one did not
// hold it up. The stage initramfs may be recognised late, by its shell's prompt.
func (l log) lasts(e dump.Event) bool {
	b := &l.Boot
	return (e.Offset >= b.StageOffset || b.Stage.Rank() <= dump.StageInitramfs.Rank()) && l.latestJob(e)
}

// latestJob says whether an event, such as a start job, is among the last: no target
// was reached after it, other than the emergency and rescue targets.
func (l log) latestJob(e dump.Event) bool {
	for _, o := range l.Boot.All(dump.EventTarget) {
		if o.Offset > e.Offset && !strings.Contains(o.Subject, "mergency") && !strings.Contains(o.Subject, "escue") {
			return false
		}
	}
	return true
}

// lastJob is the start job that systemd printed last.
func (l log) lastJob() (dump.Event, bool) {
	e, ok := l.Boot.Event(dump.EventStartJob)
	if !ok || !l.latestJob(e) {
		return dump.Event{}, false
	}
	return e, true
}

// lastLine is the last line of the console, nil if there is none.
func (l log) lastLine(what string) []result.Evidence {
	b := &l.Boot
	if b.LastText == "" {
		return nil
	}
	return []result.Evidence{{What: what, Lines: []string{b.LastText}, Offset: b.LastOffset, Source: sourceConsole}}
}

func (l log) reportEvidence(what string, r *dump.Report) result.Evidence {
	return result.Evidence{What: what, Lines: l.Evidence(r.Offset, r.End, r.Caller, maxReportLines), Offset: r.Offset, Source: sourceConsole}
}

func (l log) eventEvidence(what string, e dump.Event) result.Evidence {
	lines := l.Evidence(e.Offset, e.End, model.Caller{}, 1)
	if lines == nil {
		lines = []string{e.Text}
	}
	return result.Evidence{What: what, Lines: lines, Offset: e.Offset, Source: sourceConsole}
}

// lastEvent is the evidence of the last event of a kind, nil if there is none.
func (l log) lastEvent(what string, k dump.EventKind) []result.Evidence {
	e, ok := l.Boot.Event(k)
	if !ok {
		return nil
	}
	return []result.Evidence{l.eventEvidence(what, e)}
}

// userWhere is the part of user space that the boot has reached.
func (l log) userWhere() result.Where {
	if l.Boot.Stage.Rank() < dump.StageSwitchRoot.Rank() {
		return result.WhereInitramfs
	}
	return result.WhereUserspace
}
