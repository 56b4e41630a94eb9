package result

import (
	"fmt"
	"strings"
)

// Compared says how far the guest's memory and what its kernel printed (sysrq-t)
// agree on the tasks. Both are looks at the same hang, made one after the other:
// what differs because the guest ran in between is told apart.
type Compared struct {
	// Tasks are those that both show and that can be compared, Agree how many
	// of them are alike.
	Tasks int `json:"tasks"`
	Agree int `json:"agree"`
	// Frames are the functions on their stacks that are the same.
	Frames int `json:"frames"`
	// Owners are the holders of locks that both name, and name alike.
	Owners int `json:"owners,omitempty"`
	// Moved are the tasks that ran, began or ended between the two looks.
	Moved int `json:"moved,omitempty"`
	// Differences are what is not explained by that, the first of them; More is
	// how many there are beside.
	Differences []Difference `json:"differences,omitempty"`
	More        int          `json:"more,omitempty"`
}

// Difference is one fact on which memory and the printed dump differ.
type Difference struct {
	PID  int    `json:"pid"`
	Comm string `json:"comm"`
	// What is "task", "state", "stack" or "owner".
	What    string `json:"what"`
	Memory  string `json:"memory"`
	Printed string `json:"printed"`
}

func (d Difference) String() string {
	return fmt.Sprintf("%s of %s (PID %d): %s in memory, %s as printed", d.What, d.Comm, d.PID, d.Memory, d.Printed)
}

// String is the outcome in one line.
func (c *Compared) String() string {
	moved := ""
	if c.Moved > 0 {
		moved = fmt.Sprintf("; %s between the two looks", plural(c.Moved, "task ran, began or ended", "tasks ran, began or ended"))
	}
	if len(c.Differences) == 0 {
		return fmt.Sprintf("memory and sysrq-t agree on %s, %s%s", plural(c.Agree, "task", "tasks"), plural(c.Frames, "frame", "frames"), moved)
	}
	var said []string
	for _, d := range c.Differences[:min(len(c.Differences), 3)] {
		said = append(said, d.String())
	}
	s := fmt.Sprintf("memory and sysrq-t differ (%d of %s agree): %s", c.Agree, plural(c.Tasks, "task", "tasks"), strings.Join(said, "; "))
	if n := len(c.Differences) + c.More - len(said); n > 0 {
		s += fmt.Sprintf("; %d more", n)
	}
	return s + moved
}

// Kind is how the boot ended, or did not.
type Kind string

// The kinds.
const (
	KindHang       Kind = "hang"        // alive, but the boot does not go on
	KindPanic      Kind = "panic"       // the kernel gave up
	KindOops       Kind = "oops"        // the kernel crashed and went on
	KindLockup     Kind = "lockup"      // a CPU spins
	KindRebootLoop Kind = "reboot-loop" // the machine resets again and again
	KindReset      Kind = "reset"       // the machine reset without a word
	KindEarlyDeath Kind = "early-death" // the kernel never spoke
	KindShutdown   Kind = "shutdown"    // user space turned the machine off
	KindHalted     Kind = "halted"      // user space stopped the boot on purpose
	KindBooted     Kind = "booted"      // nothing is wrong that the facts would show
	KindUnknown    Kind = "unknown"
)

// kinds are all of them.
var Kinds = []Kind{
	KindHang, KindPanic, KindOops, KindLockup, KindRebootLoop, KindReset, KindEarlyDeath, KindShutdown, KindHalted, KindBooted, KindUnknown,
}

// Cause is why.
type Cause string

// The causes.
const (
	CauseEntropy        Cause = "entropy-starvation"
	CauseRootDevice     Cause = "root-device-missing"
	CauseRootMount      Cause = "root-mount-failed"
	CauseMount          Cause = "mount-stuck"
	CauseModule         Cause = "module-load-stuck"
	CauseProbe          Cause = "driver-probe-stuck"
	CauseInitcall       Cause = "initcall-stuck"
	CauseMutex          Cause = "mutex"
	CauseRWSem          Cause = "rwsem"
	CauseSemaphore      Cause = "semaphore"
	CauseDeadlock       Cause = "deadlock"
	CauseIO             Cause = "io-stuck"
	CauseRCU            Cause = "rcu-grace-period"
	CauseKernelWait     Cause = "kernel-wait"  // D state, nothing more is known
	CauseUserLock       Cause = "user-lock"    // flock or fcntl lock
	CauseUserService    Cause = "user-service" // a service, job or program waits
	CauseEmergency      Cause = "emergency-shell"
	CauseFIPS           Cause = "fips-check-failed"
	CauseSelfTest       Cause = "crypto-self-test-failed"
	CauseNoInit         Cause = "init-missing"
	CauseInitDied       Cause = "init-died"
	CauseInitramfs      Cause = "initramfs-bad"
	CausePanic          Cause = "panic"
	CauseOops           Cause = "oops"
	CauseSoftLockup     Cause = "soft-lockup"
	CauseHardLockup     Cause = "hard-lockup"
	CauseRCUStall       Cause = "rcu-stall"
	CauseSpin           Cause = "cpu-spin"
	CauseHungTask       Cause = "hung-task"
	CauseOOM            Cause = "out-of-memory"
	CauseForkBomb       Cause = "fork-bomb" // one program fills the process table
	CauseRebootLoop     Cause = "reboot-loop"
	CauseTripleFault    Cause = "triple-fault"
	CauseShutdown       Cause = "ordered-shutdown"
	CauseSilent         Cause = "silent-early-death"
	CauseFirmware       Cause = "firmware-stopped"
	CauseFlood          Cause = "console-flood" // one message over and over
	CauseWrongConsole   Cause = "console-elsewhere"
	CauseSystemdFreezes Cause = "pid1-crashed"
	CauseNone           Cause = "none"
	CauseUnknown        Cause = "unknown"
)

// Where is whose fault it is, as far as can be told.
type Where string

// The places.
const (
	WhereFirmware  Where = "firmware"
	WhereKernel    Where = "kernel"
	WhereInitramfs Where = "initramfs"
	WhereUserspace Where = "userspace"
	WhereHarness   Where = "harness"
	WhereHost      Where = "host"
	WhereUnknown   Where = "unknown"
)

// Confidence says how sure the Diagnosis is.
type Confidence string

// The confidences.
const (
	Certain  Confidence = "certain"  // the log says so in as many words
	Likely   Confidence = "likely"   // the facts fit, but others are not ruled out
	Possible Confidence = "possible" // nothing but silence speaks for it
	Unknown  Confidence = "unknown"  // nothing is known
)

// Blocked is the task that the boot waits for in the end.
type Blocked struct {
	Comm  string `json:"comm"`
	PID   int    `json:"pid"`
	State string `json:"state"`
}

// Link is one step of the wait chain: Comm waits, in Func, for the next link.
type Link struct {
	Comm  string `json:"comm"`
	PID   int    `json:"pid"`
	State string `json:"state"`
	// Waits is what it waits with: "wait4", "epoll", "mutex", "getrandom", ...
	Waits string `json:"waits"`
	// Func is the kernel function that says most about the wait.
	Func string `json:"func,omitempty"`
	// Syscall is the system call, "" in a kernel thread.
	Syscall string `json:"syscall,omitempty"`
	// Why says in words what it waits for.
	Why string `json:"why,omitempty"`
	// Object is what it waits for, by kind and name, where memory shows it:
	// "flock /run/x.lock".
	Object string `json:"object,omitempty"`
	// Source is where the task and its stack are known from, as in Evidence.
	Source string `json:"source,omitempty"`
}

// Evidence is a piece of the log or another observation that a Diagnosis rests
// on.
type Evidence struct {
	What string `json:"what"`
	// Lines are text as printed, made safe to show (console.Sanitize) but for
	// their tabs.
	Lines []string `json:"lines,omitempty"`
	// Offset is where they stand in the log, in bytes, -1 if not in the log.
	Offset int64 `json:"offset"`
	// Source is "console", "sysrq-t", "sysrq-w", "memory",
	// "registers", "agent" or "qmp".
	Source string `json:"source"`
}

// Diagnosis is the answer. Its texts are safe to show whatever the guest
// printed: valid UTF-8, bounded, without control or invisible characters.
type Diagnosis struct {
	Kind  Kind  `json:"kind"`
	Cause Cause `json:"cause"`
	// Title is one line that stays the same from boot to boot: no addresses,
	// process IDs or times. Titles of the kernel's own reports are syzbot's,
	// see package dump.
	Title string `json:"title"`
	// Signature is for de-duplication: kind, cause and what the title names,
	// of letters, digits and "-._/" only, 160 at most. It is the same on
	// every arch and for every build, as far as the kernel's functions keep
	// their names.
	Signature string `json:"signature"`
	// Summary is one sentence in plain words.
	Summary string `json:"summary"`
	// Task is the task that blocks the boot, nil if none is known.
	Task *Blocked `json:"task,omitempty"`
	// Chain is the wait chain from PID 1 to Task, and on to the tasks that hold
	// what Task waits for in user space, where memory shows them.
	Chain []Link `json:"chain,omitempty"`
	// Function is the kernel function, Syscall the system call, of Task.
	Function string `json:"function,omitempty"`
	Syscall  string `json:"syscall,omitempty"`
	Remedy   string `json:"remedy,omitempty"`
	Where    Where  `json:"where"`
	// Stage is the last stage of the boot that the console shows.
	Stage      string     `json:"stage"`
	Evidence   []Evidence `json:"evidence,omitempty"`
	Confidence Confidence `json:"confidence"`
	// Notes are doubts and side facts: other candidates, a torn dump.
	Notes []string `json:"notes,omitempty"`
	// References are upstream commits and documents.
	References []string `json:"references,omitempty"`
	// Compared says how far memory and the printed dump agree; nil where one of
	// them is missing.
	Compared *Compared `json:"compared,omitempty"`
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
