package diagnose

import (
	"slices"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// weighEarlierDumps looks for the blocked task in the other task dumps of this
// boot: one stack alone does not tell a lasting wait from a passing one.
func weighEarlierDumps(f facts, out *result.Diagnosis) {
	now := f.tasks.section
	if out.Kind != result.KindHang || f.end == nil || out.Task == nil || out.Task.PID != f.end.PID || now == nil || now.Kind != dump.SectionState {
		return
	}
	if changedLater(f, now) {
		out.Notes = append(out.Notes, "a later, torn task dump shows a different stack: the boot moved between the two")
		lessCertain(out)
	}
	before := earlier(f, now)
	if before == nil {
		return
	}
	for i := range before.Tasks {
		t := &before.Tasks[i]
		if t.PID != f.end.PID || t.Comm != f.end.Comm {
			continue
		}
		if sameStack(t, f.end) || f.tasks.asPrinted[t.PID] != nil && sameStack(t, f.tasks.asPrinted[t.PID]) {
			out.Notes = append(out.Notes, "an earlier task dump shows the same task with the same stack")
			return
		}
		break
	}
	out.Notes = append(out.Notes, "an earlier task dump shows a different state: the boot moved between the two")
	lessCertain(out)
}

// earlier is the last whole task dump of this boot before the one that is used,
// nil for none.
func earlier(f facts, now *dump.Section) (before *dump.Section) {
	for i := range f.log.Sections {
		s := &f.log.Sections[i]
		if s.Kind == dump.SectionState && s.Offset < now.Offset && s.Offset >= f.log.start() && len(s.Tasks) > 0 && s.Complete {
			before = s
		}
	}
	return before
}

// changedLater says that a dump after the one that is used (because that one is
// complete) shows another stack of the blocked task.
func changedLater(f facts, now *dump.Section) bool {
	for i := range f.log.Sections {
		s := &f.log.Sections[i]
		if s.Kind != dump.SectionState || s.Offset <= now.Offset {
			continue
		}
		for j := range s.Tasks {
			if t := &s.Tasks[j]; t.PID == f.end.PID && len(t.Frames) > 0 && !sameStack(t, f.end) {
				return true
			}
		}
	}
	return false
}

// sameStack compares the functions of two call chains.
func sameStack(a, b *model.Task) bool {
	return slices.EqualFunc(a.Chain(), b.Chain(), func(x, y model.Frame) bool { return x.Func == y.Func && x.Off == y.Off })
}
