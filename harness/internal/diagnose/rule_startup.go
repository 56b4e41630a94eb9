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
	out := &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseKernelWait, Where: result.WhereKernel, Confidence: result.Likely,
		Title:    "hang: the kernel's start-up sleeps at stage " + string(b.Stage),
		Summary:  "every virtual CPU idles and /init was not started: kernel start-up waits for something that never happens; which function waits is not known",
		Remedy:   "boot again with initcall_debug ignore_loglevel: the last initcall that was called and did not return is the one that waits",
		Evidence: append(f.cpus.evidence(), f.log.lastLine("the last line of the console")...),
	}
	if asksInitcalls(f) { // one that has not returned is the answer of an earlier rule
		out.Summary = "every virtual CPU idles and /init was not started: no initcall is seen that was called and has not returned, so kernel start-up waits outside them, or before them"
		out.Remedy = "let unwedge read the kernel's types: build it with CONFIG_DEBUG_INFO_BTF=y, or boot it from its build tree"
	}
	return out
}
