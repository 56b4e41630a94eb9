package diagnose

import (
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/result"
)

// finish adds, in this order, what every Diagnosis has.
func finish(f facts, out *result.Diagnosis, also []string) {
	addStage(f, out)
	addChain(f, out)
	addWaitFacts(f, out)
	addComparison(f, out)
	weighChain(f, out)
	weighEarlierDumps(f, out)
	addUserStack(f, out)
	addRegisters(f, out)
	noteRefusals(f, out)
	noteOldLockup(f, out)
	noteImitation(f, out)
	notePanicArgument(f, out)
	noteAttempts(f, out)
	out.Notes = append(out.Notes, also...)
	noteComplaint(f, out)
	addAgain(f, out)
	clean(out)
	out.Signature = signature(out)
}

// addStage: the agent knows the stage better than the console.
func addStage(f facts, out *result.Diagnosis) {
	out.Stage = string(f.log.Boot.Stage)
	if n := len(f.agent); n > 0 {
		out.Stage = string(f.agent[n-1].Stage)
	}
}

func addChain(f facts, out *result.Diagnosis) {
	switch out.Kind {
	case result.KindHang, result.KindLockup, result.KindUnknown, result.KindHalted:
		if out.Chain == nil {
			out.Chain = f.chain.links(f.tasks)
		}
	}
}

// mayHang says whether the wait chain bears on the Diagnosis.
func mayHang(out *result.Diagnosis) bool {
	return out.Kind == result.KindHang || out.Kind == result.KindUnknown
}

// weighChain notes where the chain had to choose, and lowers the confidence.
func weighChain(f facts, out *result.Diagnosis) {
	if !mayHang(out) {
		return
	}
	out.Notes = append(out.Notes, f.chain.notes...)
	if f.chain.torn && len(f.chain.tasks) > 0 {
		if f.tasks.source == sourceMemory {
			out.Notes = append(out.Notes, "memory did not show all tasks")
		} else {
			out.Notes = append(out.Notes, "the task dump is torn: tasks may be missing")
		}
		lessCertain(out)
	}
	if len(f.chain.notes) > 0 && len(out.Chain) > 0 {
		lessCertain(out)
	}
	if out.Kind == result.KindHang && f.end != nil && f.end.State == stateUnknown && len(f.end.Frames) > 0 {
		out.Notes = append(out.Notes, "the stack shows one moment: take it twice to know that the task waits there for good")
		lessCertain(out)
	}
}

func addRegisters(f facts, out *result.Diagnosis) {
	told := slices.ContainsFunc(out.Evidence, func(e result.Evidence) bool { return e.Source == sourceRegs })
	if out.Kind == result.KindHang && out.Task != nil && !told {
		out.Evidence = append(out.Evidence, f.cpus.evidence()...)
	}
	out.Evidence = out.Evidence[:min(len(out.Evidence), maxEvidence)]
}

// noteRefusals notes sysrq keys that the kernel took and did not answer.
func noteRefusals(f facts, out *result.Diagnosis) {
	if f.tasks.swallowed {
		out.Notes = append(out.Notes, "a task dump was requested, but only its header came: the console log level was too low (sysrq-9 first)")
	}
	if _, ok := f.log.Last(dump.SectionDisabled); ok {
		out.Notes = append(out.Notes, "the kernel refused a sysrq key: boot with sysrq_always_enabled")
	}
}

func noteOldLockup(f facts, out *result.Diagnosis) {
	if r := f.log.report(dump.ReportSoft, dump.ReportHard); r != nil && allRest(f) && r.Title != out.Title {
		out.Notes = append(out.Notes, "a CPU was locked up earlier, but is idle now: "+r.Title)
	}
}

func noteImitation(f facts, out *result.Diagnosis) {
	if e, ok := f.log.Boot.Event(dump.EventImitation); ok {
		out.Notes = append(out.Notes, "user space printed text that only looks like a kernel report: "+e.Text)
	}
}

// notePanicArgument: initramfs-tools offers no shell where the command line has
// panic= (scripts/functions, panic).
func notePanicArgument(f facts, out *result.Diagnosis) {
	if e, ok := f.log.Boot.Event(dump.EventEmergency); ok && strings.Contains(e.Text, "Rebooting automatically due to panic=") {
		out.Notes = append(out.Notes, "the initramfs reboots instead of offering a shell because of panic= on the kernel command line")
	}
}

func noteAttempts(f facts, out *result.Diagnosis) {
	for _, a := range f.in.Attempts {
		if !a.Yielded && a.Detail != "" {
			out.Notes = append(out.Notes, "sysrq-"+a.Key+" by "+a.Route+" yielded nothing: "+a.Detail)
		}
	}
}

// noteComplaint notes a report that did not stop the kernel.
func noteComplaint(f facts, out *result.Diagnosis) {
	r := f.log.report(dump.ReportBug, dump.ReportKASAN, dump.ReportLockdep, dump.ReportWarning)
	if r != nil && r.Title != out.Title && out.Cause != result.CauseNone {
		out.Notes = append(out.Notes, "the kernel complained: "+r.Title)
	}
}

// addComparison compares memory with the dump of the same hang, and notes the
// differences that concern the blocked task or the chain to it.
func addComparison(f facts, out *result.Diagnosis) {
	if f.tasks.printed == nil || len(f.in.Memory) == 0 {
		return
	}
	out.Compared = compareSources(f)
	for _, d := range out.Compared.Differences {
		if out.Task != nil && out.Task.PID == d.PID || slices.ContainsFunc(out.Chain, func(l result.Link) bool { return l.PID == d.PID }) {
			out.Notes = append(out.Notes, "memory and sysrq-t differ on this: "+d.String())
			lessCertain(out)
		}
	}
}
