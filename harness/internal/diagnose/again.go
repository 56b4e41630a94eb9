package diagnose

import (
	"slices"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// initcallDebug are the arguments with which the kernel prints each initcall before it
// calls it, whatever the log level (init/main.c, initcall_debug; kernel/printk/printk.c,
// ignore_loglevel).
var initcallDebug = []string{"initcall_debug", "ignore_loglevel"}

// addAgain says with which arguments another boot would tell more: the kernel came up,
// did not get to user space, and nothing names what it does there.
func addAgain(f facts, out *result.Diagnosis) {
	if initcallsWouldTell(f, out) {
		out.Again = slices.Clone(initcallDebug)
	}
}

func initcallsWouldTell(f facts, out *result.Diagnosis) bool {
	switch out.Kind {
	case result.KindHang, result.KindLockup, result.KindEarlyDeath, result.KindUnknown:
	default:
		return false
	}
	switch {
	case out.Confidence == result.Certain, out.Cause == result.CauseWrongConsole:
		return false
	case out.Task != nil || f.end != nil: // its stack says more than the last initcall's name
		return false
	case len(f.in.Agent) > 0 || asksInitcalls(f) || f.log.has(dump.EventInitcall):
		return false
	}
	switch f.log.Boot.Stage {
	case dump.StageEarly, dump.StageInitcalls:
		return true
	case dump.StageNone: // a kernel that runs is there, and its log level may hide its words
		return slices.ContainsFunc(f.cpus, func(c VCPU) bool { return c.Symbol != "" })
	default:
		return false
	}
}

// asksInitcalls says that the kernel was told to print its initcalls.
func asksInitcalls(f facts) bool {
	return f.cmdline.has(initcallDebug[0]) || f.in.Scenario != nil && cmdline(f.in.Scenario.Cmdline).has(initcallDebug[0])
}
