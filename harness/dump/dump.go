package dump

import (
	"strconv"
	"strings"
)

// The limits of what one Dump keeps. What is beyond them is counted, not kept.
const (
	MaxTasks    = 1 << 16 // over all sections
	MaxFrames   = 128     // of one trace
	MaxSections = 256
	MaxReports  = 512
	MaxEvents   = 2048
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
	// Torn says that the trace has no end that is known to be one.
	Torn bool `json:"torn,omitempty"`
}

// Chain gives the call chain, innermost first: the reliable frames, or all of
// them where the kernel marked every frame unreliable (some 4.9 builds).
func (t *Task) Chain() []Frame { return Trusted(t.Frames) }

// Trusted gives the reliable frames, or all of them if none is.
func Trusted(frames []Frame) []Frame {
	n := 0
	for i := range frames {
		if frames[i].Reliable {
			n++
		}
	}
	if n == 0 || n == len(frames) {
		return frames
	}
	out := make([]Frame, 0, n)
	for i := range frames {
		if frames[i].Reliable {
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
func (t *Task) String() string { return t.Comm + " (PID " + strconv.Itoa(t.PID) + ")" }

// SectionKind is what a sysrq key asks for.
type SectionKind string

// The sections that are told apart.
const (
	SectionState     SectionKind = "state"     // t: all tasks
	SectionBlocked   SectionKind = "blocked"   // w: tasks in D
	SectionCPUs      SectionKind = "cpus"      // l: backtrace of the CPUs
	SectionLocks     SectionKind = "locks"     // d: held locks (lockdep)
	SectionMemory    SectionKind = "memory"    // m
	SectionRegisters SectionKind = "registers" // p
	SectionLogLevel  SectionKind = "loglevel"  // 0..9
	SectionTimers    SectionKind = "timers"    // q
	SectionHelp      SectionKind = "help"      // an unknown key
	SectionDisabled  SectionKind = "disabled"  // "This sysrq operation is disabled."
	SectionCrash     SectionKind = "crash"     // c
	SectionReset     SectionKind = "reset"     // b
	SectionOther     SectionKind = "other"
)

// Section is what the kernel printed for one sysrq key.
type Section struct {
	Kind SectionKind `json:"kind"`
	// Banner is the kernel's first line.
	Banner  string  `json:"banner"`
	Offset  int64   `json:"offset"`
	End     int64   `json:"end"`
	Time    float64 `json:"time,omitempty"`
	Tasks   []Task  `json:"tasks,omitempty"`
	Dropped int     `json:"dropped,omitempty"` // tasks beyond MaxTasks
	// Records counts what was printed in it; a dump of zero records was
	// swallowed by the console log level.
	Records int `json:"records"`
	// Complete says that the dump is known to have reached its end: the
	// scheduler or workqueue part that follows the tasks, or the next sysrq
	// after a closed trace.
	Complete bool `json:"complete"`
	// Ending is the evidence for Complete.
	Ending string `json:"ending,omitempty"`
}

// Ownership is a lock owner that the kernel named in a hung-task report
// (CONFIG_DETECT_HUNG_TASK_BLOCKER, 6.15).
type Ownership struct {
	WaiterComm string `json:"waiter_comm"`
	WaiterPID  int    `json:"waiter_pid"`
	Lock       string `json:"lock"` // "mutex", "semaphore", "rw-semaphore"
	// OwnerComm is "" and OwnerPID 0 where the kernel did not find it.
	OwnerComm string `json:"owner_comm,omitempty"`
	OwnerPID  int    `json:"owner_pid,omitempty"`
	Offset    int64  `json:"offset"`
	End       int64  `json:"end"`
}

// Wait is what a task waits for, and who could end that, as memory shows it: no
// kernel prints it.
type Wait struct {
	PID  int    `json:"pid"`
	Comm string `json:"comm"`
	// Kind is "mutex", "semaphore", "rw-semaphore", "completion", "wait queue",
	// "futex", "flock", "POSIX lock", "pipe", "FIFO", "socket", "child", "I/O",
	// "poll", "select" or "epoll".
	Kind string `json:"kind"`
	// Object names it: a symbol, a file, a device, a user address; "" where it
	// has no name. Addr is where it is in the kernel, 0 where that says nothing.
	Object string `json:"object,omitempty"`
	Addr   uint64 `json:"addr,omitempty"`
	// Holders are the tasks that hold it or are at its other end, the first of
	// them; More is how many there are beside. None are known where it is
	// empty.
	Holders []Holder `json:"holders,omitempty"`
	More    int      `json:"more,omitempty"`
	// Watches are the files of a poll, a select or an epoll.
	Watches []string `json:"watches,omitempty"`
	// Detail is what else is known, and how.
	Detail string `json:"detail,omitempty"`
}

// Holder is a task that a Wait is for.
type Holder struct {
	PID   int    `json:"pid"`
	Comm  string `json:"comm,omitempty"` // "" for one that has gone
	State string `json:"state,omitempty"`
	// Role says what it has to do with the object: "holds it", "can write".
	Role string `json:"role"`
}

// The bounds of one Wait.
const (
	MaxHolders = 16
	MaxWatches = 32
)

// Hold adds a holder, within the bound.
func (w *Wait) Hold(h Holder) {
	if len(w.Holders) == MaxHolders {
		w.More++
		return
	}
	w.Holders = append(w.Holders, h)
}

// Name is the object by kind and name: "flock /run/x.lock", "pipe:[123]".
func (w *Wait) Name() string {
	if strings.HasPrefix(w.Object, w.Kind+":") {
		return w.Object
	}
	return strings.TrimSpace(w.Kind + " " + w.Object)
}

// String is the wait in words, without who waits: "pipe:[123]: sh (PID 7,
// state S) can write".
func (w *Wait) String() string {
	s := w.Name()
	if w.Detail != "" {
		s += " (" + w.Detail + ")"
	}
	var who []string
	for _, h := range w.Holders {
		name := "PID " + strconv.Itoa(h.PID) + ", which has gone,"
		if h.Comm != "" {
			name = h.Comm + " (PID " + strconv.Itoa(h.PID) + ", state " + h.State + ")"
		}
		who = append(who, name+" "+h.Role)
	}
	if w.More > 0 {
		who = append(who, strconv.Itoa(w.More)+" more")
	}
	if len(who) > 0 {
		s += ": " + strings.Join(who, ", ")
	}
	if len(w.Watches) > 0 {
		s += ": " + strings.Join(w.Watches, ", ")
	}
	return s
}

// Held is the list of locks that lockdep says one task holds; the last may be
// the one it waits for.
type Held struct {
	Comm   string     `json:"comm"`
	PID    int        `json:"pid"`
	Locks  []HeldLock `json:"locks"`
	Offset int64      `json:"offset"`
	End    int64      `json:"end"`
}

// HeldLock is one line of it.
type HeldLock struct {
	Addr string `json:"addr"`
	Name string `json:"name"`
	At   string `json:"at"` // the function that took it
}

// Dump is everything that Parse found in a log.
type Dump struct {
	// Arch is "x86_64", "aarch64" or "" where the log does not tell.
	Arch string `json:"arch,omitempty"`
	// Sections are in the order of the log.
	Sections []Section `json:"sections,omitempty"`
	// Loose are tasks printed outside of a sysrq dump.
	Loose   []Task      `json:"loose,omitempty"`
	Reports []Report    `json:"reports,omitempty"`
	Owners  []Ownership `json:"owners,omitempty"`
	Held    []Held      `json:"held,omitempty"`
	Boot    Boot        `json:"boot"`
	// Bytes and Records are what was read; Dropped counts what a limit kept
	// out.
	Bytes   int64 `json:"bytes"`
	Records int   `json:"records"`
	Dropped int   `json:"dropped,omitempty"`

	log []byte
}

// Last returns the last complete section of a kind, else the last one that has
// any task, else the last one.
func (d *Dump) Last(kind SectionKind) (*Section, bool) {
	var complete, full, last *Section
	for i := range d.Sections {
		s := &d.Sections[i]
		if s.Kind != kind {
			continue
		}
		last = s
		if len(s.Tasks) > 0 || s.Records > 1 {
			full = s
		}
		if s.Complete && (len(s.Tasks) > 0 || kind != SectionState) {
			complete = s
		}
	}
	for _, s := range []*Section{complete, full, last} {
		if s != nil {
			return s, true
		}
	}
	return nil, false
}

// Evidence returns the lines of a range of the log as printed, at most limit.
// With a caller, lines of other callers are left out. It returns nothing when
// the Dump was not made by Parse.
func (d *Dump) Evidence(off, end int64, c Caller, limit int) []string {
	if d.log == nil || off < 0 || end > int64(len(d.log)) || off >= end {
		return nil
	}
	var out []string
	for r := range Records(d.log[off:end]) {
		if c.Kind != 0 && r.Caller.Kind != 0 && r.Caller != c {
			continue
		}
		raw := d.log[off+r.Offset : off+r.End]
		if len(raw) > 400 {
			raw = raw[:400]
		}
		out = append(out, string(StripANSI(trimEnd(raw))))
		if len(out) == limit {
			break
		}
	}
	return out
}
