package dump

import (
	"fmt"
	"strings"
)

// Lines renders a task as sysrq-t prints it since 6.7 (kernel/sched/core.c,
// sched_show_task), so that one that was read elsewhere looks, and parses, like
// those of the console. What is not known is left out.
func (t *Task) Lines() []string {
	state := t.State
	if t.Running {
		state = "R  running task    "
	}
	lines := make([]string, 0, len(t.Frames)+3)
	lines = append(lines, fmt.Sprintf("task:%-15.15s state:%s stack:0     pid:%-5d tgid:%-5d ppid:%-6d flags:0x%08x", t.Comm, state, t.PID, t.TGID, t.PPID, t.Flags))
	if t.Workqueue != "" {
		lines = append(lines, "Workqueue: "+t.Workqueue)
	}
	if len(t.Frames) > 0 {
		lines = append(lines, "Call Trace:")
	}
	for _, f := range t.Frames {
		lines = append(lines, " "+f.Line())
	}
	return lines
}

// Line renders a frame as the kernel does: "? " marks a guess.
func (f Frame) Line() string {
	var b strings.Builder
	if !f.Reliable {
		b.WriteString("? ")
	}
	fmt.Fprintf(&b, "%s+%#x/%#x", f.Func, f.Off, f.Size)
	if f.Module != "" {
		b.WriteString(" [" + f.Module + "]")
	}
	return b.String()
}
