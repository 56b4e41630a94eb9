package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// startUpSleeps: the kernel has not started /init, every virtual CPU idles, and no
// task dump shows which wait does not end: no sysrq route reaches a kernel before
// its keyboard and console drivers are up. A kernel that turned off its boot console
// may just print elsewhere.
func startUpSleeps(f facts) *result.Diagnosis {
	b, in := &f.log.Boot, &f.in
	early := b.Stage == dump.StageEarly || b.Stage == dump.StageInitcalls
	if !allRest(f) || !early || len(in.Agent) > 0 || f.end != nil || strings.Contains(b.LastText, "bootconsole") {
		return nil
	}
	return &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseKernelWait, Where: result.WhereKernel, Confidence: result.Likely,
		Title:    "hang: the kernel's start-up sleeps at stage " + string(b.Stage),
		Summary:  "every virtual CPU idles and /init was not started: kernel start-up waits for something that never happens; which function waits is not known",
		Remedy:   "boot again with initcall_debug ignore_loglevel: the last initcall that was called and did not return is the one that waits",
		Evidence: append(f.cpus.evidence(), f.log.lastLine("the last line of the console")...),
	}
}
