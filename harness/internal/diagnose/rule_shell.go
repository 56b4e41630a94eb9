package diagnose

import (
	"slices"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// shells are the programs that the kernel (init/main.c, kernel_init) and systemd
// (src/core/main.c, do_reexecute) start where no init can be run.
var shells = []string{"sh", "bash", "dash", "ash", "busybox"}

// shellInstead: init could not be run, and PID 1 is the shell of last resort, which
// waits for input.
func shellInstead(f facts) *result.Diagnosis {
	failed := f.log.Boot.All(dump.EventNoInit)
	if f.end == nil {
		return shellByLog(f, failed)
	}
	if len(failed) == 0 || f.end.PID != 1 || !slices.Contains(shells, f.end.Comm) {
		return nil
	}
	switch f.wait.mech {
	case onTTY, onPoll: // bash waits with select
	default:
		return nil // it does something else
	}
	out := hang(f, result.CauseNoInit, f.log.userWhere(), result.Certain)
	out.Title = "hang: no working init: a shell was started in its place"
	out.Summary = "init could not be run (" + failed[0].Text + "), so " + f.end.String() + " was started in its place and waits for input"
	out.Remedy = "check that init= (or rdinit=, or /init in the initramfs, or /sbin/init) names an executable for this architecture, and that its interpreter exists"
	for _, e := range failed {
		out.Evidence = append(out.Evidence, f.log.eventEvidence("why init did not run", e))
	}
	return out
}

// shellByLog: the same by the log alone. The kernel says what it runs as init since
// 4.19, and tries /bin/sh last.
func shellByLog(f facts, failed []dump.Event) *result.Diagnosis {
	x := notExecuted(failed)
	run, ok := f.log.Boot.Event(dump.EventShellRun)
	if x == nil || !ok || run.Offset < failed[0].Offset || f.log.Boot.Stage.Rank() > dump.StageInitramfs.Rank() {
		return nil
	}
	out := &result.Diagnosis{
		Kind: result.KindHalted, Cause: result.CauseNoInit, Where: f.log.userWhere(), Confidence: result.Likely,
		Evidence: []result.Evidence{f.log.eventEvidence("the shell of last resort", run)},
	}
	x.explain(f, out)
	out.Title = "no working init: a shell was started in its place"
	out.Summary += "; /bin/sh was started in its place and waits for input"
	return out
}
