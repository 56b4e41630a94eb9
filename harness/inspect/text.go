package inspect

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/foreign"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/report"
)

// Summary writes what there is to know first.
func (r *Report) Summary(w io.Writer, s report.Style) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%s  %s  %s%d tasks\n", r.Kernel.Release, r.Kernel.Arch, r.uptime(), len(r.Tasks))
	if w := r.Source.words(); w != "" {
		field(b, "guest", w)
	}
	field(b, "memory", fmt.Sprintf("kernel at physical %#x, moved by %#x (KASLR)", r.PhysBase, r.Offset))
	if r.Unwinder != "" {
		field(b, "stacks", "by "+r.Unwinder)
	}
	for _, c := range r.CPUs {
		field(b, fmt.Sprintf("CPU %d", c.Index), c.text())
	}
	report.Diagnosis(b, r.Diagnosis, s)
	if len(r.Modules) > 0 {
		field(b, "modules", list(r.Modules, 12))
	}
	for _, p := range r.Problems {
		field(b, "problem", p)
	}
	r.byHand(b)
	_, err := io.WriteString(w, b.String())
	return err
}

// words say what became of a guest that somebody else started.
func (s Source) words() string {
	switch {
	case s.Status == "":
		return ""
	case s.Stopped > 0:
		return fmt.Sprintf("QEMU (pid %d) was stopped for %.2f s, and runs again", s.PID, s.Stopped)
	case s.Status == foreign.Running:
		return fmt.Sprintf("QEMU (pid %d) ran while it was read", s.PID)
	default:
		return fmt.Sprintf("QEMU (pid %d) is left as it was: %s", s.PID, s.Status)
	}
}

func (r *Report) uptime() string {
	switch u := r.Uptime; {
	case u == nil:
		return ""
	case u.From == "log":
		return fmt.Sprintf("up %.1f s or more  ", u.Seconds)
	default:
		return fmt.Sprintf("up %.1f s  ", u.Seconds)
	}
}

func (c CPU) text() string {
	who := "an unknown task"
	if c.PID >= 0 {
		who = fmt.Sprintf("%s (PID %d)", c.Comm, c.PID)
	}
	switch {
	case c.User:
		return fmt.Sprintf("%s in user mode at %#x", who, c.PC)
	case len(c.Stack) > 0:
		who += " in " + strings.TrimPrefix(c.Stack[0].line(), "? ")
	default:
		who += fmt.Sprintf(" at %#x", c.PC)
	}
	if c.Halted {
		who += ", halted"
	}
	return who
}

func list(words []string, most int) string {
	if n := len(words); n > most {
		return fmt.Sprintf("%s … %d more", strings.Join(words[:most], " "), n-most)
	}
	return strings.Join(words, " ")
}

// byHand writes the commands.
func (r *Report) byHand(b *strings.Builder) {
	var lines []string
	said := map[string]bool{}
	for _, c := range r.Commands {
		lines = append(lines, c.Line)
		if c.Note != "" && !said[c.Note] {
			lines = append(lines, "  ("+c.Note+")")
			said[c.Note] = true
		}
	}
	if len(lines) > 0 {
		field(b, "by hand", strings.Join(lines, "\n"))
	}
}

// field writes a name and its text, further lines indented, as the report on a
// boot does.
func field(b *strings.Builder, name, text string) {
	lines := strings.Split(text, "\n")
	fmt.Fprintf(b, "  %-9s %s\n", name+":", lines[0])
	for _, l := range lines[1:] {
		fmt.Fprintf(b, "  %-9s %s\n", "", l)
	}
}

// Table writes a line for each task.
func (r *Report) Table(w io.Writer) error {
	b := &strings.Builder{}
	fmt.Fprintf(b, "%7s %7s S %3s %-15s %s\n", "PID", "PPID", "CPU", "COMM", "WAITS IN")
	for _, t := range r.Tasks {
		cpu := "-"
		if t.CPU >= 0 {
			cpu = fmt.Sprint(t.CPU)
		}
		line := fmt.Sprintf("%7d %7d %-1s %3s %-15s %s", t.PID, t.PPID, t.State, cpu, t.Comm, r.waits(t))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// waits says what a task does: where it waits, for whom, in which system call.
func (r *Report) waits(t Task) string {
	s := t.WaitsIn
	if t.Running {
		s = strings.TrimRight("(runs) "+s, " ")
	}
	if t.Syscall != "" {
		call := t.Syscall
		if t.User != nil && t.User.CalledFrom != "" {
			call += ", called from " + t.User.CalledFrom
		}
		s += " (" + call + ")"
	}
	if t.Workqueue != "" {
		s += " [" + t.Workqueue + "]"
	}
	if t.Waits != nil {
		s += ": " + t.Waits.Text
	} else if i := slices.IndexFunc(r.Locks, func(l Lock) bool { return l.WaiterPID == t.PID }); i >= 0 {
		s += ": " + r.Locks[i].Kind
		if l := r.Locks[i]; l.OwnerPID != 0 {
			s += fmt.Sprintf(" held by %s (PID %d)", l.OwnerComm, l.OwnerPID)
		}
	}
	for _, d := range r.due(t.PID) {
		s += ", due " + d
	}
	return strings.TrimSpace(s)
}

// due says when the timers of a task go off.
func (r *Report) due(pid int) []string {
	var out []string
	for _, t := range r.Timers {
		if t.PID != pid || r.hz == 0 {
			continue
		}
		in := float64(int64(t.Jiffies-r.Jiffies)) / float64(r.hz)
		if t.Nanoseconds > 0 {
			if r.Uptime == nil || r.Uptime.From != "jiffies" {
				continue
			}
			in = float64(t.Nanoseconds)/1e9 - r.Uptime.Seconds
		}
		switch {
		case in > -1 && in < 0: // the clocks are not the same
			in = 0
			fallthrough
		case in >= 0 && in < 1e9:
			out = append(out, fmt.Sprintf("in %.1f s", in))
		}
	}
	return out
}

// Stacks writes each task as sysrq-t prints it, so that what reads a console log
// reads this as well.
func (r *Report) Stacks(w io.Writer) error {
	b := &strings.Builder{}
	for _, t := range r.Tasks {
		printed := model.Task{
			Comm: t.Comm, PID: t.PID, TGID: t.TGID, PPID: t.PPID, State: t.State, Running: t.Running, Flags: t.Flags, Workqueue: t.Workqueue,
		}
		for _, f := range t.Stack {
			printed.Frames = append(printed.Frames, f.frame())
		}
		for _, l := range printed.Lines() {
			b.WriteString(console.Sanitize(l) + "\n")
		}
	}
	r.userStacks(b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (f Frame) frame() model.Frame {
	return model.Frame{Func: f.Func, Off: f.Offset, Size: f.Size, Module: f.Module, Reliable: !f.Guess}
}

func (f Frame) line() string { return f.frame().Line() }

// Lines writes lines, of the log or of names.
func Lines(w io.Writer, lines []string) error {
	for _, l := range lines {
		if _, err := io.WriteString(w, l+"\n"); err != nil {
			return err
		}
	}
	return nil
}
