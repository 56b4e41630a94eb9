// Package inspect makes the answer of `unwedge inspect` from what was read of a
// guest's memory. It is pure: facts in, a Report out, and text drawn from it.
//
// All of a Report that comes from a guest is safe to show: valid UTF-8, bounded,
// without control or invisible characters.
package inspect

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/unwedge/unwedge/harness/internal/console"
	"github.com/unwedge/unwedge/harness/internal/diagnose"
	"github.com/unwedge/unwedge/harness/internal/dump"
	"github.com/unwedge/unwedge/harness/internal/guestmem"
	"github.com/unwedge/unwedge/harness/internal/model"
	"github.com/unwedge/unwedge/harness/result"
	"github.com/unwedge/unwedge/images/agentproto"
	"github.com/unwedge/unwedge/scenarios/arch"
)

// Schema is the version of the document that a Report is as JSON. Fields are
// added, never changed.
const Schema = "unwedge/inspect/1"

// Facts are what a Report is made of. View is needed, the rest is as known.
type Facts struct {
	View *guestmem.View
	// Users are the user-space stacks of its tasks.
	Users  []guestmem.UserStack
	Source Source
	Kernel Kernel
	// Version is unwedge's own.
	Version string
	// HZ is how many jiffies a second the kernel counts, 0 where not known.
	HZ int
	// Run is what is known of the guest's run; nil for a dump alone.
	Run *Run
	// Problems are those from before memory was read.
	Problems []string
	// Hand is for the commands that are printed.
	Hand Hand
}

// Run is what is known of a guest beside its memory.
type Run struct {
	// Busy says that its vCPUs were seen busy, not only at one moment.
	Busy     bool
	Agent    []agentproto.Report
	Scenario *diagnose.Scenario
}

// Report is what one look at a guest's memory showed.
type Report struct {
	// Schema is the version of this document.
	Schema string `json:"schema"`
	// Version is the version of unwedge that wrote it.
	Version string `json:"unwedge_version"`
	// Source is where the memory was read.
	Source Source `json:"source"`
	// Kernel is the image that says what the memory means.
	Kernel Kernel `json:"kernel"`
	// Offset is how far KASLR moved the kernel, in bytes.
	Offset uint64 `json:"kaslr_offset"`
	// PhysBase is the physical address of the kernel's first byte.
	PhysBase uint64 `json:"phys_base"`
	// Uptime is how long the guest's kernel has run; nil if neither jiffies nor
	// the log show it.
	Uptime *Uptime `json:"uptime,omitempty"`
	// Jiffies is jiffies_64, 0 if it could not be read.
	Jiffies uint64 `json:"jiffies,omitempty"`
	// CPUs are the vCPUs whose registers are known and that were in 64-bit mode.
	CPUs []CPU `json:"cpus"`
	// Tasks are all threads, or those that were asked for.
	Tasks []Task `json:"tasks"`
	// Complete says that the list of tasks was read to its end.
	Complete bool `json:"complete"`
	// Locks are the locks that tasks wait for.
	Locks []Lock `json:"locks,omitempty"`
	// Timers are the timers that will wake tasks.
	Timers []model.Timer `json:"timers,omitempty"`
	// Events are all timers of the kernel, of tasks, work items and drivers.
	Events []model.Event `json:"events,omitempty"`
	// Modules are the loaded modules, newest first.
	Modules []string `json:"modules"`
	// Log is the kernel's log, line by line.
	Log []string `json:"log"`
	// Unwinder says how stacks were unwound.
	Unwinder string `json:"unwinder,omitempty"`
	// Diagnosis says where the guest is blocked and why, as in result.json.
	Diagnosis result.Diagnosis `json:"diagnosis"`
	// Commands are command lines for going on by hand.
	Commands []Command `json:"commands,omitempty"`
	// Problems say what could not be read, and why.
	Problems []string `json:"problems,omitempty"`

	hz int // jiffies a second, 0 where not known
}

// Source is where the memory was read.
type Source struct {
	// Run is the run's directory.
	Run string `json:"run,omitempty"`
	// PID is the process ID of the QEMU whose memory it is.
	PID int `json:"qemu_pid,omitempty"`
	// Dump is the dump's file.
	Dump string `json:"dump,omitempty"`
	// QMP is the socket of the monitor of a guest that somebody else started.
	QMP string `json:"qmp,omitempty"`
	// Domain is libvirt's name of such a guest.
	Domain string `json:"domain,omitempty"`
	// Status is what QEMU said that such a guest did before it was read: running,
	// paused, prelaunch and others.
	Status string `json:"status,omitempty"`
	// Stopped is for how many seconds such a guest was stopped while it was read.
	Stopped float64 `json:"stopped_seconds,omitempty"`
}

// Kernel is the image that says what the memory means.
type Kernel struct {
	// Path is the image's file.
	Path string `json:"path"`
	// Arch is its architecture, as `uname -m` prints it.
	Arch arch.Arch `json:"arch"`
	// Release is what `uname -r` prints.
	Release string `json:"release"`
	// BuildID is the GNU build ID in lower-case hex.
	BuildID string `json:"build_id,omitempty"`
}

// Uptime is how long the guest's kernel has run.
type Uptime struct {
	// Seconds is the time in seconds of guest time.
	Seconds float64 `json:"seconds"`
	// From is jiffies, or log: the time of its last line, a lower bound.
	From string `json:"from"`
}

// CPU is what one vCPU does.
type CPU struct {
	// Index is the vCPU's index.
	Index int `json:"index"`
	// PC is the program counter.
	PC uint64 `json:"pc"`
	// User says that it is in user mode.
	User bool `json:"user"`
	// Halted is the x86 HLT state; QEMU does not show it for arm64.
	Halted bool `json:"halted"`
	// PID is the process ID of the task that it runs, -1 if not known.
	PID int `json:"pid"`
	// Comm is that task's name.
	Comm string `json:"comm,omitempty"`
	// Stack is its kernel stack, innermost function first.
	Stack []Frame `json:"stack,omitempty"`
}

// Task is one thread.
type Task struct {
	// PID is the thread's ID.
	PID int `json:"pid"`
	// TGID is the ID of its process.
	TGID int `json:"tgid"`
	// PPID is the ID of its parent process.
	PPID int `json:"ppid"`
	// Comm is its name.
	Comm string `json:"comm"`
	// State is the kernel's letter: R S D T t X Z P I.
	State string `json:"state"`
	// CPU is the CPU that it last ran on, -1 if not known.
	CPU int `json:"cpu"`
	// Running says that it is on a CPU now.
	Running bool `json:"running"`
	// KernelThread says that it is a kernel thread.
	KernelThread bool `json:"kernel_thread"`
	// Flags are those of thread_info, as printed by sysrq-t.
	Flags uint64 `json:"flags,omitempty"`
	// Workqueue is the workqueue and the function that a kworker runs.
	Workqueue string `json:"workqueue,omitempty"`
	// WaitsIn is the function on its stack that says most about what it does.
	WaitsIn string `json:"waits_in,omitempty"`
	// Syscall is its system call, empty if it is in none or that is not known.
	Syscall string `json:"syscall,omitempty"`
	// SyscallArgs are the system call's arguments.
	SyscallArgs []uint64 `json:"syscall_args,omitempty"`
	// Stack is its kernel stack, innermost function first.
	Stack []Frame `json:"stack,omitempty"`
	// Waits is what it waits for, nil if that is not known for certain.
	Waits *Wait `json:"waits,omitempty"`
	// User is its user-space stack, nil for a kernel thread and if none of it
	// could be read.
	User *UserStack `json:"user,omitempty"`
}

// Frame is one function on a stack, innermost first.
type Frame struct {
	// Func is the function's name.
	Func string `json:"func"`
	// Offset is the offset in the function, in bytes.
	Offset uint64 `json:"offset"`
	// Size is the function's size in bytes.
	Size uint64 `json:"size"`
	// Module is the function's module, empty for the kernel image.
	Module string `json:"module,omitempty"`
	// Guess says that a word on the stack looks like this return address but may
	// be left over from an earlier call.
	Guess bool `json:"guess,omitempty"`
}

// Lock is a lock that a task waits for.
type Lock struct {
	// Kind is mutex, semaphore or rw-semaphore.
	Kind string `json:"kind"`
	// WaiterPID is the thread ID of the task that waits.
	WaiterPID int `json:"waiter_pid"`
	// WaiterComm is its name.
	WaiterComm string `json:"waiter_comm"`
	// OwnerPID is the thread ID of the task that holds it, 0 if the kernel does
	// not record that.
	OwnerPID int `json:"owner_pid,omitempty"`
	// OwnerComm is its name.
	OwnerComm string `json:"owner_comm,omitempty"`
}

// Wait is what a task waits for, and who could end that.
type Wait struct {
	model.Wait
	// Text is all of it in one line.
	Text string `json:"text"`
}

func waitOf(w *model.Wait) *Wait {
	out := &Wait{Wait: *w, Text: safe(w.String())}
	out.Comm, out.Kind, out.Object, out.Detail = safe(w.Comm), safe(w.Kind), safe(w.Object), safe(w.Detail)
	out.Holders, out.Watches = nil, nil
	for _, h := range w.Holders {
		out.Holders = append(out.Holders, model.Holder{PID: h.PID, Comm: safe(h.Comm), State: safe(h.State), Role: safe(h.Role)})
	}
	for _, s := range w.Watches {
		out.Watches = append(out.Watches, safe(s))
	}
	return out
}

// New assembles a Report.
func New(f Facts) *Report {
	v := f.View
	if f.HZ == 0 {
		f.HZ = v.Hertz()
	}
	r := &Report{
		Schema: Schema, Version: f.Version, Source: f.Source, Kernel: f.Kernel,
		Offset: v.Offset, PhysBase: v.PhysBase, Jiffies: v.Jiffies, Timers: v.Timers, Events: events(v.Events), Complete: v.Complete, Unwinder: safe(v.Unwinder),
		CPUs: []CPU{}, Tasks: []Task{}, Modules: []string{}, Log: logLines(v.Log),
		Diagnosis: diagnosis(f), hz: f.HZ,
	}
	r.Kernel.Release = safe(r.Kernel.Release)
	r.Uptime = uptime(v, f.HZ)
	for _, c := range v.CPUs {
		r.CPUs = append(r.CPUs, CPU{Index: c.Index, PC: c.PC, User: c.User, Halted: c.Halted, PID: c.PID, Comm: safe(c.Comm), Stack: stack(c.Frames)})
	}
	users := map[int]*UserStack{}
	for i := range f.Users {
		users[f.Users[i].PID] = userStack(&f.Users[i])
	}
	waits := map[int]*Wait{}
	for i := range v.Waits {
		waits[v.Waits[i].PID] = waitOf(&v.Waits[i])
	}
	for i := range v.Tasks {
		t := task(&v.Tasks[i])
		if t.PID != 0 {
			t.Waits = waits[t.PID]
			t.User = users[t.PID]
		}
		r.Tasks = append(r.Tasks, t)
	}
	for _, o := range v.Owners {
		r.Locks = append(r.Locks, Lock{Kind: safe(o.Lock), WaiterPID: o.WaiterPID, WaiterComm: safe(o.WaiterComm), OwnerPID: o.OwnerPID, OwnerComm: safe(o.OwnerComm)})
	}
	for _, m := range v.Modules {
		r.Modules = append(r.Modules, safe(m))
	}
	for _, p := range append(slices.Clone(f.Problems), v.Problems...) {
		r.Problems = append(r.Problems, safe(p))
	}
	if v.NoEvents != "" {
		r.Problems = append(r.Problems, "the kernel's timers: "+safe(v.NoEvents))
	}
	if !v.Complete {
		r.Problems = append(r.Problems, "the list of tasks is incomplete")
	}
	r.Commands = f.Hand.commands(r)
	return r
}

// maxText bounds a text of the guest's, in characters.
const maxText = 1000

func safe(s string) string { return console.SanitizeMax(s, maxText) }

func task(t *model.Task) Task {
	out := Task{
		PID: t.PID, TGID: t.TGID, PPID: t.PPID, Comm: safe(t.Comm), State: safe(t.State), CPU: t.CPU, Running: t.Running,
		KernelThread: t.KernelThread, Flags: t.Flags, Workqueue: safe(t.Workqueue), Stack: stack(t.Frames),
		WaitsIn: safe(dump.Guilty("", t.Frames)),
	}
	if s := t.Syscall; s != nil {
		out.Syscall, out.SyscallArgs = safe(s.Name), s.Args
		if s.Name == "" {
			out.Syscall = "syscall " + strconv.Itoa(s.Nr)
		}
	}
	return out
}

func stack(frames []model.Frame) []Frame {
	var out []Frame
	for _, f := range frames {
		out = append(out, Frame{Func: safe(f.Func), Offset: f.Off, Size: f.Size, Module: safe(f.Module), Guess: !f.Reliable})
	}
	return out
}

func logLines(log []byte) []string {
	out := []string{}
	for l := range bytes.SplitSeq(bytes.TrimSuffix(log, []byte("\n")), []byte("\n")) {
		if len(log) > 0 {
			out = append(out, safe(string(l)))
		}
	}
	return out
}

// uptime comes from jiffies, which begin five minutes before they wrap in 32 bits
// (include/linux/jiffies.h, INITIAL_JIFFIES), else by the log.
func uptime(v *guestmem.View, hz int) *Uptime {
	if hz > 0 && v.Jiffies != 0 {
		ticks := v.Jiffies - uint64(uint32(-300*hz))
		if s := float64(ticks) / float64(hz); ticks < 1<<62 && s < (100*365*24*time.Hour).Seconds() {
			return &Uptime{Seconds: s, From: "jiffies"}
		}
	}
	last := v.Log[bytes.LastIndexByte(bytes.TrimSuffix(v.Log, []byte("\n")), '\n')+1:]
	var s float64
	if _, err := fmt.Sscanf(string(last), "[%f]", &s); err != nil {
		return nil
	}
	return &Uptime{Seconds: s, From: "log"}
}

// diagnosis explains the memory: its tasks and its log. What an earlier sysrq
// printed stands in the log too, and is older than the memory.
func diagnosis(f Facts) result.Diagnosis {
	v := f.View
	d := dump.Parse(v.Log)
	if len(v.Tasks) > 0 {
		d.Sections = nil
	}
	in := diagnose.Input{Dump: d, Memory: v.Tasks, MemoryPartial: !v.Complete, Owners: v.Owners, Waits: v.Waits, User: guestmem.UserFacts(f.Users)}
	if f.Run != nil {
		in.Ending, in.Agent, in.Scenario = diagnose.EndingSilent, f.Run.Agent, f.Run.Scenario
	}
	for _, c := range v.CPUs {
		idle := c.Halted || c.PID == 0 && !c.User
		if f.Run == nil && !idle {
			continue // one look does not tell that it is there for good
		}
		fact := diagnose.VCPU{PC: c.PC, User: c.User, Idle: idle}
		if f.Run != nil && !idle && f.Run.Busy {
			fact.BusyFraction = 1
		}
		if len(c.Frames) > 0 && !c.User && c.Frames[0].Module == "" {
			fact.Symbol = strings.TrimPrefix(c.Frames[0].Line(), "? ")
		}
		in.VCPUs = append(in.VCPUs, fact)
	}
	return diagnose.Diagnose(in)
}

// Only leaves the tasks with these PIDs, or thread groups, in the order of the
// report. A PID that is none gives an error.
func (r *Report) Only(pids []int) error {
	if len(pids) == 0 {
		return nil
	}
	var kept []Task
	for _, t := range r.Tasks {
		if slices.Contains(pids, t.PID) || slices.Contains(pids, t.TGID) {
			kept = append(kept, t)
		}
	}
	for _, p := range pids {
		if !slices.ContainsFunc(kept, func(t Task) bool { return t.PID == p || t.TGID == p }) {
			return fmt.Errorf("the guest has no task with PID %d: see --tasks", p)
		}
	}
	r.Tasks = kept
	return nil
}
