package diagnose

import (
	"fmt"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// runaway: a virtual CPU is at full load in the kernel, and memory shows the task
// that runs there. Everything else waits for that task or for its CPU.
func runaway(f facts) *result.Diagnosis {
	for i := range f.cpus {
		c := &f.cpus[i]
		if c.Idle || c.User || c.BusyFraction < 0.9 {
			continue
		}
		t, at := runsIn(f.in.Memory, functionOf(c.Symbol))
		if c.Symbol == "" {
			t, at = runsInModule(f.in.Memory), 0
		}
		if t == nil {
			if t = onlyRunning(f.in.Memory); t == nil || c.Symbol == "" {
				continue
			}
			fn := functionOf(c.Symbol)
			if at := beginsToLock(t); dump.TakesLock(fn) && at >= 0 {
				return spins(f.cpus, t, at)
			}
			return spinsIn(f.cpus, t, fn, fn)
		}
		if met := crashedAt(t, at); met >= 0 {
			return dies(f.cpus, t, met)
		}
		return spins(f.cpus, t, at)
	}
	return nil
}

// onlyRunning is the one task that runs, nil if several do. Its stack need not show
// where it is: memory is read at one moment, and an interrupt may just have begun.
func onlyRunning(memory []model.Task) (found *model.Task) {
	for i := range memory {
		if t := &memory[i]; t.Running {
			if found != nil {
				return nil
			}
			found = t
		}
	}
	return found
}

// beginsToLock is the frame of a lock's routine that an interrupt has just hidden the
// innermost one of, -1 for none: nothing but the interrupt's entry is above it.
func beginsToLock(t *model.Task) int {
	for i, fr := range t.Frames {
		switch {
		case !fr.Reliable || i > 1:
			return -1
		case dump.TakesLock(fr.Base()):
			return i
		}
	}
	return -1
}

// runsInModule finds the task that runs in a module, where a CPU is in none of the
// kernel's own functions; nil if several do.
func runsInModule(memory []model.Task) (found *model.Task) {
	for i := range memory {
		t := &memory[i]
		if !t.Running || len(t.Frames) == 0 || t.Frames[0].Module == "" {
			continue
		}
		if found != nil {
			return nil
		}
		found = t
	}
	return found
}

// runsIn finds the running task that has the function on its stack, and the frame.
func runsIn(memory []model.Task, fn string) (t *model.Task, at int) {
	for i := range memory {
		t := &memory[i]
		if !t.Running {
			continue
		}
		for at, fr := range t.Frames {
			if fr.Base() == fn {
				return t, at
			}
		}
	}
	return nil, 0
}

// crashedAt is the frame that hit an exception whose report never completes, -1 for
// none: the frames above it are making the report.
func crashedAt(t *model.Task, from int) int {
	dying := false
	for i := from; i < len(t.Frames); i++ {
		switch b := t.Frames[i].Base(); {
		case b == "die" || b == "oops_begin" || b == "panic" || b == "vpanic" || b == "die_addr" || b == "die_kernel_fault" || b == "page_fault_oops" || b == "arm64_notify_die":
			dying = true
		case dying && !dump.IsGeneric(b) && t.Frames[i].Reliable && i > 0 && isExceptionEntry(t.Frames[i-1].Base()):
			return i
		}
	}
	return -1
}

// isExceptionEntry recognises the functions by which the kernel enters an exception
// (arch/x86/include/asm/idtentry.h, arch/arm64/kernel/entry.S).
func isExceptionEntry(fn string) bool {
	return strings.HasPrefix(fn, "asm_exc_") || fn == "el1h_64_sync" || fn == "el1_sync" || fn == "el1h_64_error"
}

// dies is the Diagnosis of a task that hit an exception in its frame at and never
// finishes reporting it, often because the reporting itself is broken.
func dies(cpus cpus, t *model.Task, at int) *result.Diagnosis {
	fn := t.Frames[at].Base()
	return &result.Diagnosis{
		Kind: result.KindOops, Cause: result.CauseOops, Where: result.WhereKernel, Confidence: result.Certain,
		Title: "exception in " + fn + ", and no end of its report", Function: fn,
		Task:     blockedTask(t),
		Summary:  "the kernel hit an exception in " + fn + " and is stuck reporting it",
		Remedy:   "look at " + fn + ": the report never completes, so the stack and the registers in the evidence are all there is",
		Evidence: append([]result.Evidence{memoryEvidence("the stack of "+t.String()+", which reports its own crash", t)}, cpus.evidence()...),
	}
}

// spins is the Diagnosis of a task that runs in its frame at. Only where it waits for a
// lock is the caller named: whoever else does not return is to blame itself.
func spins(cpus cpus, t *model.Task, at int) *result.Diagnosis {
	inner := t.Frames[at].Base()
	fn := inner
	for _, fr := range t.Frames[at:] {
		if b := fr.Base(); fr.Reliable && !dump.TakesLock(b) {
			fn = b
			break
		}
	}
	if inner == fn {
		return spinsIn(cpus, t, fn, fn)
	}
	out := spinsIn(cpus, t, fn, inner+", called from "+fn)
	out.Title = "a virtual CPU spins for a lock that " + fn + " takes"
	out.Summary += "; it does not get the lock that " + fn + " takes"
	out.Remedy = "find who took the lock of " + fn + " last and did not release it; lockdep (CONFIG_PROVE_LOCKING) and CONFIG_DEBUG_SPINLOCK name the owner"
	return out
}

// spinsIn is the Diagnosis of a task that runs in a function; what names the
// place in words.
func spinsIn(cpus cpus, t *model.Task, fn, what string) *result.Diagnosis {
	w := classify(t)
	out := &result.Diagnosis{
		Kind: result.KindLockup, Cause: result.CauseSpin, Where: result.WhereKernel, Confidence: cpus.spin(),
		Title: "a virtual CPU spins in " + fn, Function: fn,
		Task:     blockedTask(t),
		Chain:    []result.Link{{Comm: t.Comm, PID: t.PID, State: t.State, Waits: "nothing", Func: fn, Why: "runs", Source: sourceMemory}},
		Remedy:   "look for an endless loop in " + fn + ", or for a condition that it polls without sleeping",
		Evidence: append([]result.Evidence{memoryEvidence("the stack of "+t.String()+", which runs", t)}, cpus.evidence()...),
	}
	where := ""
	switch {
	case w.inInitcall && w.initcall != "" && w.initcall != fn:
		where = ", in the initcall " + w.initcall
		out.Remedy = "skip the initcall to see whether the boot goes on: initcall_blacklist=" + w.initcall
	case w.inProbe && w.probe != "" && w.probe != fn:
		where = ", in the probe " + w.probe
	case w.inModule && w.module != "":
		where = ", in the module " + w.module
	}
	if t.Syscall != nil {
		out.Syscall = t.Syscall.Name
	}
	out.Summary = fmt.Sprintf("%s keeps a vCPU busy in %s%s, and the console shows nothing new", t.String(), what, where)
	return out
}
