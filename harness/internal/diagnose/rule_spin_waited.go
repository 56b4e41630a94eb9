package diagnose

import (
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// keepsCPU: the task that the boot waits for is runnable, and a CPU was sampled in
// one kernel function both by sysrq-l and in the task dump before it, or in the
// registers. Another task may hold that CPU: a runnable task is in state R as well.
// An RCU grace period does not end either while a task keeps its CPU.
func keepsCPU(f facts) *result.Diagnosis {
	if f.end == nil || f.end.State != "R" && f.wait.mech != onRCU || f.cpus.inUserMode() {
		return nil
	}
	t, fn, look := foundOnCPU(f)
	if t == nil || t.State != "R" {
		return nil
	}
	out := hang(f, result.CauseSpin, result.WhereKernel, result.Likely)
	out.Kind, out.Function, out.Syscall = result.KindLockup, fn, ""
	out.Task = blockedTask(t)
	if t.Syscall != nil {
		out.Syscall = t.Syscall.Name
	}
	out.Title = "a virtual CPU spins in " + fn
	module := ""
	if w := f.tasks.waits[t]; w.inModule && w.module != "" {
		module = " of module " + w.module
	}
	out.Summary = t.String() + " runs in the kernel: sampled in " + fn + module + " every time"
	if t != f.end {
		lacks := "does not get the CPU"
		if f.end.State != "R" {
			lacks = "waits for " + f.wait.why
		}
		out.Summary += "; " + f.end.String() + " " + lacks
		out.Evidence = append(out.Evidence, f.tasks.evidence(t))
	}
	out.Remedy = "look for an endless loop in " + fn + ", or for a condition that it polls without sleeping"
	if look != nil {
		out.Evidence = append(out.Evidence, result.Evidence{
			What: "the CPU's backtrace (sysrq-l)", Offset: look.Offset, Source: sourceConsole,
			Lines: f.log.Evidence(look.Offset, look.End, look.Caller, maxTaskLines),
		})
	}
	return out
}

// foundOnCPU finds the task that was sampled twice in one kernel function, and what
// sysrq-l shows of it; the end of the chain first.
func foundOnCPU(f facts) (t *model.Task, fn string, look *model.Task) {
	if s, ok := f.log.Last(dump.SectionCPUs); ok && s.Offset >= f.log.start() {
		for i := range s.Tasks {
			cpu := &s.Tasks[i]
			at := cpuAt(cpu)
			if at == "" || cpu.PID == 0 {
				continue
			}
			if c := f.tasks.byPID[cpu.PID]; c != nil && c.State == "R" && f.tasks.has(c, at) && (t == nil || c == f.end) {
				t, fn, look = c, at, cpu
			}
		}
	}
	if t == nil && f.wait.fn != "" {
		for _, c := range f.cpus {
			if !c.User && !c.Idle && functionOf(c.Symbol) == f.wait.fn {
				return f.end, f.wait.fn, nil
			}
		}
	}
	return t, fn, look
}

// cpuAt is the function that sysrq-l found a CPU in: below the key's interrupt
// (x86), or as the registers show it (arm64).
func cpuAt(cpu *model.Task) string {
	chain := cpu.Chain()
	if at := interruptedIn(chain); at != "" && !strings.HasPrefix(at, "irqentry_exit") {
		return at
	}
	if cpu.Has(irqFrames...) || dumpsItself(cpu) {
		return "" // it was in user space
	}
	for _, f := range chain {
		if b := f.Base(); !dump.IsGeneric(b) {
			return b
		}
	}
	return ""
}
