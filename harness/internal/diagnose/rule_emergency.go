package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// emergency: user space gave up and waits for a person.
func emergency(f facts) *result.Diagnosis {
	e, ok := f.log.Boot.Event(dump.EventEmergency)
	if !ok || !f.log.lasts(e) { // somebody left the shell, and the boot went on
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindHalted, Cause: result.CauseEmergency, Where: f.log.userWhere(), Confidence: result.Certain,
		Title:    "emergency shell",
		Summary:  "user space gave up and offers an emergency shell",
		Remedy:   "read what failed before the shell started",
		Evidence: []result.Evidence{f.log.eventEvidence("the emergency shell", e)},
	}
	for _, k := range []dump.EventKind{dump.EventSwitchFailed, dump.EventUnitFailed, dump.EventDependency, dump.EventNoInit} {
		all := f.log.Boot.All(k)
		if len(all) == 0 {
			continue
		}
		first := all[0]
		if out.Title == "emergency shell" {
			out.Title += ": " + oneLine(dump.Normalise(orFail(first)))
			out.Summary += " after: " + first.Text
		}
		out.Evidence = append(out.Evidence, f.log.eventEvidence("what failed first", first))
	}
	return out
}
