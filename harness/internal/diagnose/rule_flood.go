package diagnose

import (
	"fmt"

	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
)

// How much repetition of a living guest is a flood, in bytes: of lines that are seen
// to repeat, and where only the watch saw nothing new.
const (
	minFlood  = 4 << 10
	longFlood = 64 << 10
)

// consoleFlood: the guest prints the same lines over and over. What they say, and who
// prints them, is the answer: all else that the guest does serves the printing.
func consoleFlood(f facts) *result.Diagnosis {
	rep, ok := f.log.Repetition()
	if b := &f.log.Boot; !ok && f.in.Repeated >= longFlood && f.end == nil { // a round longer than the tail
		rep = dump.Repetition{Text: b.LastText, Offset: b.LastOffset, End: b.LastEnd, Kernel: b.LastSource == dump.SourceKernel, PID: -1}
	} else if !ok || !floods(f, rep) {
		return nil
	}
	by, where := "the kernel", result.WhereKernel
	switch {
	case !rep.Kernel:
		by, where = "a program", f.log.userWhere()
		if t := printer(f.in.Memory); t != nil {
			by = t.String()
		}
	case rep.PID >= 0:
		by = fmt.Sprintf("the kernel, in %s (PID %d),", rep.Comm, rep.PID)
	}
	in := ""
	if rep.Func != "" {
		in = " in " + rep.Func
	}
	out := &result.Diagnosis{
		Kind: result.KindHang, Cause: result.CauseFlood, Where: where, Confidence: result.Likely, Function: rep.Func,
		Title:   "hang: console flood: " + dump.Normalise(rep.Text),
		Summary: fmt.Sprintf("%s prints the same over and over%s: %q", by, in, rep.Text),
		Remedy:  "find why it never stops: what it says is the fault, and what waits meanwhile is not",
		Evidence: append([]result.Evidence{{
			What: "the last of the repeated lines", Offset: max(rep.Offset, rep.End-2048), Source: sourceConsole,
			Lines: f.log.Evidence(max(rep.Offset, rep.End-2048), rep.End, model.Caller{}, maxReportLines),
		}}, f.cpus.evidence()...),
	}
	if rep.Count > 0 {
		out.Summary += fmt.Sprintf(", %d times at the end of the console", rep.Count)
	}
	if rep.Kernel && rep.PID >= 0 {
		out.Task = &result.Blocked{Comm: rep.Comm, PID: rep.PID, State: "R"}
	} else if t := printer(f.in.Memory); t != nil && !rep.Kernel {
		out.Task = blockedTask(t)
	}
	return out
}

// floods says that a repetition goes on for ever: of a living guest, all that it has
// printed since it last made progress; of a log, what it ends with.
func floods(f facts, rep dump.Repetition) bool {
	if f.in.Ending != "" && f.in.Ending != EndingSilent && f.in.Ending != EndingDeadline {
		return false
	}
	if f.in.Ending != "" || len(f.in.VCPUs) > 0 {
		return f.in.Repeated >= minFlood
	}
	return f.log.panicReport() == nil && f.tasks.section == nil && (rep.Kernel || f.log.Boot.Stage.Rank() < dump.StageSystem.Rank())
}

// printer is the task that writes to the console, nil if memory shows none.
func printer(memory []model.Task) *model.Task {
	for i := range memory {
		if t := &memory[i]; t.Has("tty_write", "file_tty_write", "redirected_tty_write", "n_tty_write", "do_output_char", "uart_write", "devkmsg_write") {
			return t
		}
	}
	return nil
}
