package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/notice"
	"github.com/unwedge/unwedge/harness/result"
)

// pid1Crashed: systemd caught its own crash and stays there.
func pid1Crashed(f facts) *result.Diagnosis {
	e, ok := f.log.Boot.Event(dump.EventFreezing)
	// A systemd that waits for events, with epoll, is not frozen. A frozen one calls
	// pause(), which is an empty ppoll on an arch without that system call.
	if t := f.tasks.byPID[1]; !ok || t != nil && t.Has("ep_poll", "do_epoll_wait") {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindHalted, Cause: result.CauseSystemdFreezes, Where: result.WhereUserspace, Confidence: result.Certain,
		Title:    "systemd gave up: freezing execution",
		Summary:  "systemd (PID 1) hit a fatal error and froze",
		Remedy:   "read systemd's lines before 'Freezing execution'; boot with systemd.log_level=debug systemd.log_target=console for more",
		Task:     &result.Blocked{Comm: "systemd", PID: 1, State: "S"},
		Evidence: []result.Evidence{f.log.eventEvidence("systemd's last words", e)},
	}
	for _, name := range []dump.EventKind{"systemd-gave-up", "systemd-freezes"} {
		why, ok := f.log.Boot.Event(name)
		if !ok {
			continue
		}
		out.Title = "systemd gave up: " + dump.Normalise(why.Subject)
		out.Summary = "systemd (PID 1) hit a fatal error and froze: " + why.Subject
		out.Evidence = append(out.Evidence, f.log.eventEvidence("what it gave up for", why))
	}
	if why, ok := f.log.Boot.Event("systemd-no-target"); ok {
		n, _ := notice.Named("systemd-no-target")
		out.Title, out.Summary, out.Remedy = n.Title, n.Means, n.Fix
		out.Evidence = append(out.Evidence, f.log.eventEvidence("what it gave up for", why))
	}
	return out
}
