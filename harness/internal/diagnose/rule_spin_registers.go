package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// spinning: there is no dump, but a virtual CPU stays busy in a kernel function.
func spinning(f facts) *result.Diagnosis {
	var v *VCPU
	for i := range f.cpus {
		c := &f.cpus[i]
		if !c.Idle && !c.User && c.Symbol != "" && c.BusyFraction >= 0.9 {
			v = c
			break
		}
	}
	if v == nil || f.end != nil {
		return nil
	}
	fn := functionOf(v.Symbol)
	if delays[fn] && f.log.Boot.Stage.Rank() < dump.StageEarly.Rank() {
		return &result.Diagnosis{
			Kind: result.KindEarlyDeath, Cause: result.CauseSilent, Where: result.WhereKernel, Confidence: result.Likely,
			Title:    "silent: the kernel waits in a delay loop before its console is up",
			Summary:  "the kernel sits in a delay loop (" + fn + ") and has printed nothing: a panic before the console is up ends like this",
			Remedy:   "boot with earlycon (arm64) or earlyprintk=serial,keep (x86); an even earlier death shows only in a debugger: -s -S and a breakpoint at panic",
			Evidence: f.cpus.evidence(),
		}
	}
	return &result.Diagnosis{
		Kind: result.KindLockup, Cause: result.CauseSpin, Where: result.WhereKernel, Confidence: f.cpus.spin(),
		Title: "a virtual CPU spins in " + fn, Function: fn,
		Summary:  "a virtual CPU is at full load, sampled most often in " + fn + ", and the console shows nothing new",
		Remedy:   "look for an endless loop in " + fn + "; more samples show whether it is there every time",
		Evidence: append(f.cpus.evidence(), f.log.lastLine("the last line of the console")...),
	}
}

// delays are the functions that udelay and mdelay spin in
// (arch/arm64/lib/delay.c, arch/x86/lib/delay.c); panic's endless loop calls mdelay
// (kernel/panic.c).
var delays = map[string]bool{
	"__delay": true, "delay_loop": true, "delay_tsc": true, "__const_udelay": true, "__udelay": true, "__ndelay": true,
	"arch_counter_get_cntvct": true, "arch_timer_read_cntvct_el0": true, "__arch_counter_get_cntvct": true,
	"arch_timer_evtstrm_available": true, "read_tsc": true,
}
