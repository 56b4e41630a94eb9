package diagnose

import (
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// earlyException: x86 hit an exception before it had handlers, reported it on the
// early console if it had one, and halted for good with interrupts off
// (arch/x86/mm/extable.c, early_fixup_exception). Memory shows where.
func earlyException(f facts) *result.Diagnosis {
	for i := range f.in.Memory {
		t := &f.in.Memory[i]
		if at := metExceptionAt(t); t.Running && at >= 0 {
			fn := t.Frames[at].Base()
			return &result.Diagnosis{
				Kind: result.KindPanic, Cause: result.CauseOops, Where: result.WhereKernel, Confidence: result.Certain,
				Title: "PANIC: early exception in " + fn, Function: fn,
				Task:     blockedTask(t),
				Summary:  "the kernel hit an exception in " + fn + " before it had a handler, and halted",
				Remedy:   "look at the registers in the evidence; earlyprintk=serial,keep prints the kernel's own report on the console",
				Evidence: append([]result.Evidence{memoryEvidence("the stack of "+t.String()+", which halted the CPU", t)}, f.cpus.evidence()...),
			}
		}
	}
	return nil
}

// metExceptionAt is the frame that hit an early exception, -1 for none.
func metExceptionAt(t *model.Task) int {
	fixup := false
	for i, fr := range t.Frames {
		switch b := fr.Base(); {
		case b == "early_fixup_exception":
			fixup = true
		case b == "early_idt_handler_common" || b == "do_early_exception" || b == "early_idt_handler_array":
		case fixup && fr.Reliable:
			return i
		}
	}
	return -1
}
