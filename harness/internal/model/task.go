package model

import (
	"fmt"
	"strconv"
	"strings"
)

// Task is one task of a sysrq dump, a hung-task report or an RCU task dump, or
// what one CPU was running.
type Task struct {
	Comm string `json:"comm"`
	PID  int    `json:"pid"`
	// TGID is the thread group, 0 if not printed (before 6.7).
	TGID int `json:"tgid,omitempty"`
	PPID int `json:"ppid"`
	// State is the kernel's letter: R S D T t X Z P I.
	State string `json:"state"`
	// Running says that the task was on a CPU.
	Running bool `json:"running,omitempty"`
	// Flags are the thread_info flags, TaskFlags (6.15) the task_struct flags.
	Flags     uint64 `json:"flags,omitempty"`
	TaskFlags uint64 `json:"task_flags,omitempty"`
	// CPU is the CPU the trace was taken on, -1 if not printed.
	CPU int `json:"cpu"`
	// KernelThread is certain from 6.15 on (PF_KTHREAD) and a good guess
	// before (child of kthreadd, or a stack that ends in kthread).
	KernelThread bool `json:"kernel_thread,omitempty"`
	// Workqueue is the work item a kworker runs, as printed.
	Workqueue string   `json:"workqueue,omitempty"`
	Frames    []Frame  `json:"frames,omitempty"`
	Syscall   *Syscall `json:"syscall,omitempty"`
	// UserIP is the user-mode instruction pointer, 0 if not printed.
	UserIP uint64 `json:"user_ip,omitempty"`
	// Switches is how often it was scheduled away; 0 where not known: no kernel
	// prints it.
	Switches uint64 `json:"switches,omitempty"`
	// Offset and End are the range of the log the task was read from. Lines
	// of other writers may stand in it.
	Offset int64 `json:"offset"`
	End    int64 `json:"end"`
	// Caller is who printed it, to tell its lines from others in the range.
	Caller Caller `json:"-"`
	// Torn says that the trace has no certain end.
	Torn bool `json:"torn,omitempty"`
}

// Chain gives the call chain, innermost first: the reliable frames, or all of
// them where the kernel marked every frame unreliable (some 4.9 builds).
func (t *Task) Chain() []Frame { return Trusted(t.Frames) }

// Trusted gives the reliable frames, or all of them if none is. Functions that the
// compiler inlined are left out: only decoded traces show them.
func Trusted(frames []Frame) []Frame {
	n := 0
	for i := range frames {
		if frames[i].real() {
			n++
		}
	}
	if n == 0 || n == len(frames) {
		return frames
	}
	out := make([]Frame, 0, n)
	for i := range frames {
		if frames[i].real() {
			out = append(out, frames[i])
		}
	}
	return out
}

// Has says whether the call chain holds one of the functions (Base names).
func (t *Task) Has(fns ...string) bool {
	_, ok := t.Find(fns...)
	return ok
}

// Find returns the innermost frame of the chain that is one of the functions.
func (t *Task) Find(fns ...string) (Frame, bool) {
	for _, f := range t.Chain() {
		b := f.Base()
		for _, fn := range fns {
			if b == fn {
				return f, true
			}
		}
	}
	return Frame{}, false
}

// String names the task as "comm (PID n)".
func (t *Task) String() string {
	if t.PID == 0 && t.Comm == NoComm {
		return t.Comm
	}
	return t.Comm + " (PID " + strconv.Itoa(t.PID) + ")"
}

// NoComm is the Comm of a task whose stack came without a name.
const NoComm = "a task"

// Frame is one line of a stack trace.
type Frame struct {
	// Func is the function as printed, with suffixes such as .cold; see Base.
	Func string `json:"func"`
	// Off and Size are the two numbers of `fn+0xOff/0xSize`, 0 if not printed.
	Off  uint64 `json:"off,omitempty"`
	Size uint64 `json:"size,omitempty"`
	// Module is the module in brackets, "" for the kernel itself.
	Module string `json:"module,omitempty"`
	// Reliable is false for the `? fn` lines: words on the stack that look
	// like return addresses but are not known to be part of the call chain.
	Reliable bool `json:"reliable"`
	// Inline says that the line is no call: the compiler put the function into the
	// next frame's, and a script that decodes traces added the line.
	Inline bool `json:"inline,omitempty"`
}

func (f *Frame) real() bool { return f.Reliable && !f.Inline }

// Base is the function without the suffixes that compilers add: .cold, .part.0,
// .constprop.0, .isra.0, .llvm.123, and without arm64's and x86's __pfx_.
func (f Frame) Base() string { return BaseName(f.Func) }

// BaseName removes compiler suffixes from a symbol.
func BaseName(s string) string {
	for i := 1; i < len(s); i++ {
		if s[i] == '.' {
			return s[:i]
		}
	}
	return s
}

// Caller is the printk caller ID (CONFIG_PRINTK_CALLER, commit 15ff2069cb7f,
// 5.1): the task or, outside of task context, the CPU that printed. The zero
// value means that the record carries none.
type Caller struct {
	// Kind is 'T' for a task, 'C' for a CPU, 0 for none.
	Kind byte
	// ID is the thread ID or the CPU number.
	ID int
}

// String gives the kernel's own spelling, "T1" or "C0", and "" for none.
func (c Caller) String() string {
	if c.Kind == 0 {
		return ""
	}
	return string(c.Kind) + strconv.Itoa(c.ID)
}

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

// Syscall is the system call that a task is in.
type Syscall struct {
	// Nr is the number, -1 if only the name is known.
	Nr int `json:"nr"`
	// Name is the name without prefix, "" if the number is not in the table.
	Name string `json:"name,omitempty"`
	// Args are the six arguments from the user-mode registers; only x86
	// prints them.
	Args []uint64 `json:"args,omitempty"`
	// Compat says that it is a 32-bit call.
	Compat bool `json:"compat,omitempty"`
}
